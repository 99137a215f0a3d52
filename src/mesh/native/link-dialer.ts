import { networkOf } from "../../core/connections.js";
import type { ErrorCode } from "../../core/errors.js";
import type { KeyedTimers } from "../../core/timers.js";
import { endpointOf } from "../../protocol/address.js";
import type { Id } from "../../protocol/directory.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import { DialQueue, dialFailureCode } from "../dial-queue.js";
import { NativeConnection, type NativeConnectionContext, type NativeConnectionOwner } from "./connection.js";
import type { Link, LinkEvents } from "./link.js";
import { highestAttemptAfter } from "./link-states.js";
import type { NativeSession } from "./session.js";

/** The member that sends hellos. */
export interface HelloSender {
  readonly mesh: string;
  /** Knows this incarnation's id. */
  readonly roster: { readonly id: Id };
}

/** The hello of a link's newest attempt. Nothing may be read any more from an older connection of the link. */
export function helloOf(
  { mesh, roster }: HelloSender,
  { attempt, peer, resumeState, batchesField }: Link,
): ControlOf<"hello"> {
  const { since, received } = resumeState;
  return { type: "hello", mesh, from: roster.id, to: peer.id, attempt, since, received, ...batchesField };
}

/** Refusals that mean: I am not, or no more, who you mean. The log will say so too. */
const rejections: ReadonlySet<string> = new Set(["WRONG_TARGET", "GONE", "WRONG_MESH", "WRONG_DIALECT"]);

/**
 * The links that this node owns, because it joined earlier: whom it dials, and what comes of it, up to the answer. One
 * attempt of a link is open at a time, and it is given up by closing our own end first.
 *
 * An attempt that the network has failed may have failed in one direction only. So the next one is granted to the other end,
 * through the server; then it is dialed again, and so on, until one of the two ways works. That one comes first next time.
 */
export class LinkDialer implements NativeConnectionOwner {
  readonly #sender: HelloSender;
  readonly #context: NativeConnectionContext;
  /** With the server, which passes grants on while it is there. */
  readonly #session: NativeSession;
  readonly #events: LinkEvents;
  readonly #queue: DialQueue<Link>;
  readonly #links = new Map<NativeConnection, Link>();
  /** By when there must be a connection, or it is tried the other way. */
  readonly #openings: KeyedTimers<Link>;

  constructor(
    sender: HelloSender,
    seed: number,
    ports: NativeConnectionContext,
    session: NativeSession,
    events: LinkEvents,
  ) {
    this.#sender = sender;
    this.#context = ports;
    this.#session = session;
    this.#events = events;
    this.#openings = ports.timers.keyed((link, now) => this.#openingOverdue(link, now));
    this.#queue = new DialQueue(
      ports.limits,
      seed,
      ports.timers,
      (link) => networkOf(endpointOf(link.peer.address)),
      (now) => this.#giveUpOverdue(now),
    );
  }

  /** This link is to be up. */
  want(link: Link, now: number): void {
    this.#queue.add(link, now);
  }

  /** The connection under this link is gone. */
  broken(link: Link, now: number): void {
    // The answer has proved that the other side takes this link, so what ended it is no reason to wait, unless it was that
    // one end takes nothing of what comes.
    const provenMs = link.madeNoProgress ? Number.POSITIVE_INFINITY : 0;
    this.#queue.unlinked(link, now, { provenMs, pauseMs: 0 });
  }

  /** Stop dialing this link, for good or until the log has something new. */
  drop(link: Link): void {
    this.#queue.drop(link);
    this.#openings.clear(link);
    const { connection } = link;
    if (connection === undefined || !this.#links.delete(connection)) return;
    link.connection = undefined;
    connection.abort();
  }

  /** Gives up every attempt, and wants no link any more. */
  clear(now: number): void {
    this.#queue.want(new Set(), now);
    this.#openings.clearAll();
    for (const [connection, link] of this.#links) {
      link.connection = undefined;
      connection.abort();
    }
    this.#links.clear();
  }

  /** Starts the attempts that are due, as many as may be open at once. */
  dial(now: number): void {
    for (let link = this.#queue.next(now); link !== undefined; link = this.#queue.next(now)) {
      const canGrant = this.#session.isListed;
      const isGrant = canGrant && link.isReverseDue;
      link.step(isGrant ? "grant" : "dial");
      link.attempt += 1;
      // What was in the way of the last attempt says more than that this one has no answer yet.
      const { stage, reason } = link.downState;
      link.downState = { stage: "dialing", reason: stage === "waiting" ? "no answer yet" : reason };
      const { peer, attempt } = link;
      if (isGrant) this.#session.send({ type: "grant", owner: this.#sender.roster.id, later: peer.id, attempt });
      else {
        link.connection = NativeConnection.dial(this.#context, endpointOf(peer.address), "member", this);
        this.#links.set(link.connection, link);
      }
      this.#queue.started(link, link.connection?.id, now);
      if (canGrant) this.#openings.set(link, now + this.#context.limits.openingMs);
    }
  }

  /** The later member could not open this attempt: there is nothing to wait for. */
  grantFailed(link: Link, attempt: number, reason: string, now: number): void {
    if (link.state !== "granted" || link.attempt !== attempt) return;
    link.isReverseDue = false;
    this.#failed(link, "DIAL_FAILED", `the other end dialed instead, in vain: ${reason}`, now);
  }

  /** The later member has opened the attempt that it was granted: the link is up. */
  accepted(link: Link, now: number): void {
    this.#linked(link, true, now);
  }

  connected(connection: NativeConnection): void {
    const link = this.#links.get(connection);
    if (link === undefined) return;
    this.#openings.clear(link);
    link.downState = { stage: "hello", reason: link.downState.reason };
    connection.send(helloOf(this.#sender, link));
  }

  control(connection: NativeConnection, control: Control, now: number): void {
    const link = this.#links.get(connection);
    if (link === undefined) return;
    if (control.type === "answer") this.#answered(link, connection, control, now);
    else if (control.type === "refuse") this.#refused(link, connection, control, now);
    else connection.unexpected(control.type, now);
  }

  gone(connection: NativeConnection, reason: string, now: number): void {
    const link = this.#links.get(connection);
    if (link === undefined) return;
    const code = connection.failure ?? dialFailureCode(reason);
    // Once there was a connection, this direction works, whatever has ended it.
    link.isReverseDue = code === "DIAL_FAILED" && connection.local === undefined;
    this.#failed(link, code, reason, now);
  }

  /** Gives up what has taken too long, and dials what is due. */
  #giveUpOverdue(now: number): void {
    for (let due = this.#queue.takeOverdue(now); due !== undefined; due = this.#queue.takeOverdue(now)) {
      this.#giveUp(due.peer, due.reason, now);
    }
    this.dial(now);
  }

  /** There is no connection yet. A direct dial goes on if nobody can pass a grant on. */
  #openingOverdue(link: Link, now: number): void {
    const { openingMs } = this.#context.limits;
    if (link.state === "granted")
      this.#giveUp(link, `the other end was asked to dial, and has not within ${openingMs} ms`, now);
    else if (this.#session.isListed) this.#giveUp(link, `no connection within ${openingMs} ms`, now);
  }

  #giveUp(link: Link, reason: string, now: number): void {
    link.isReverseDue = link.state === "dialing";
    link.connection?.abort();
    this.#failed(link, "DIAL_TIMEOUT", reason, now);
  }

  #linked(link: Link, isReverse: boolean, now: number): void {
    link.isReverseDue = isReverse;
    this.#openings.clear(link);
    this.#queue.linked(link, now);
  }

  #answered(link: Link, connection: NativeConnection, answer: ControlOf<"answer">, now: number): void {
    this.#links.delete(connection);
    if (answer.attempt !== link.attempt || !link.resumeState.takeAnswer(link.attempt, answer.since, answer.received)) {
      connection.refuse("SESSION_LOST", "the answer does not fit what this end has kept", now);
      this.#end(link, "SESSION_LOST: the two ends do not agree on what has been delivered", now);
      return;
    }
    link.takesBatches = answer.batches === true;
    this.#linked(link, false, now);
    link.step("answered");
    this.#events.answered(link, now);
  }

  #refused(
    link: Link,
    connection: NativeConnection,
    { code, message, highest }: ControlOf<"refuse">,
    now: number,
  ): void {
    connection.close(now);
    link.isReverseDue = false;
    const most = highestAttemptAfter(link.attempt);
    link.attempt = Math.max(link.attempt, Math.min(highest ?? 0, most));
    if (code === "SESSION_LOST") {
      this.#links.delete(connection);
      this.#end(link, `SESSION_LOST: ${message}`, now);
    } else if (rejections.has(code)) {
      this.#links.delete(connection);
      this.#queue.drop(link);
      link.connection = undefined;
      link.downState = { stage: "refused", reason: `${code} ${message}` };
      link.step("rejected");
      this.#events.failed(link, now);
    } else if (highest !== undefined && highest > most) {
      this.#failed(
        link,
        "BAD_FRAME",
        `its ${code} names attempt ${highest}, and may name ${most} at most`,
        now,
        "refused",
      );
    } else this.#failed(link, "DIAL_FAILED", `${code} ${message}`, now, "refused");
  }

  #end(link: Link, reason: string, now: number): void {
    this.#queue.drop(link);
    link.connection = undefined;
    this.#events.lost(link, reason, now);
  }

  #failed(link: Link, code: ErrorCode, reason: string, now: number, stage = link.downState.stage): void {
    if (link.connection !== undefined) this.#links.delete(link.connection);
    link.connection = undefined;
    this.#openings.clear(link);
    link.step("failed");
    const failures = this.#queue.failed(link, now);
    link.downState = { stage, reason: `${code} ${reason} (${failures} in a row)` };
    const { name, address } = link.peer;
    const who = name === undefined ? address : `${name} at ${address}`;
    this.#context.note(code, `cannot reach ${who} (attempt ${link.attempt}): ${reason}`, address);
    this.#events.failed(link, now);
    this.dial(now);
  }
}
