import { networkOf } from "../../core/connections.js";
import type { ErrorCode } from "../../core/errors.js";
import { endpointOf } from "../../protocol/address.js";
import type { Id } from "../../protocol/directory.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import { DialQueue, dialFailureCode } from "../dial-queue.js";
import { NativeConnection, type NativeConnectionContext, type NativeConnectionOwner } from "./connection.js";
import type { Link } from "./link.js";
import { mostRaised } from "./link-states.js";

/** Who says hello. */
interface HelloSender {
  readonly mesh: string;
  /** Knows this incarnation's id. */
  readonly roster: { readonly id: Id };
}

/** What the rest of the member must know of attempts. */
export interface LinkDialerEvents {
  /** The later member has answered: the link is up. */
  answered(link: Link, now: number): void;
  /** An attempt has come to nothing. */
  failed(link: Link, now: number): void;
  /** The two ends do not agree on what has been delivered: the link cannot go on. */
  lost(link: Link, reason: string, now: number): void;
}

/** Refusals that mean: I am not, or no more, who you mean. The log will say so too. */
const rejections: ReadonlySet<string> = new Set(["WRONG_TARGET", "GONE", "WRONG_MESH", "WRONG_DIALECT"]);

/**
 * The links that this node owns, because it joined earlier: whom it dials, and what comes of it, up to the answer. One
 * attempt of a link is open at a time, and it is given up by closing our own end first.
 */
export class LinkDialer implements NativeConnectionOwner {
  readonly #self: HelloSender;
  readonly #ports: NativeConnectionContext;
  readonly #watch: LinkDialerEvents;
  readonly #dialing: DialQueue<Link>;
  readonly #links = new Map<NativeConnection, Link>();

  constructor(self: HelloSender, seed: number, ports: NativeConnectionContext, watch: LinkDialerEvents) {
    this.#self = self;
    this.#ports = ports;
    this.#watch = watch;
    this.#dialing = new DialQueue(
      ports.limits,
      seed,
      ports.timers,
      (link) => networkOf(endpointOf(link.peer.address).host),
      (now) => this.#giveUpOverdue(now),
    );
  }

  /** This link is to be up. */
  want(link: Link, now: number): void {
    this.#dialing.add(link, now);
  }

  /** The connection under this link is gone. */
  broken(link: Link, now: number): void {
    // The answer has proved that the other side takes this link, so what ended it is no reason to wait, unless it was that
    // one end takes nothing of what comes.
    const provenMs = link.wasInVain ? Number.POSITIVE_INFINITY : 0;
    this.#dialing.unlinked(link, now, { provenMs, pauseMs: 0 });
  }

  /** This link is to be up no longer, or not before the log says something new. */
  drop(link: Link): void {
    this.#dialing.drop(link);
    const { channel } = link;
    if (channel === undefined || !this.#links.delete(channel)) return;
    link.channel = undefined;
    channel.abort();
  }

  /** Gives up every attempt, and wants no link any more. */
  clear(now: number): void {
    this.#dialing.want(new Set(), now);
    for (const [channel, link] of this.#links) {
      link.channel = undefined;
      channel.abort();
    }
    this.#links.clear();
  }

  /** Starts the attempts that are due, as many as may be open at once. */
  dial(now: number): void {
    for (let link = this.#dialing.next(now); link !== undefined; link = this.#dialing.next(now)) {
      link.step("dial");
      link.attempt += 1;
      link.channel = NativeConnection.dial(this.#ports, endpointOf(link.peer.address), "member", this);
      this.#links.set(link.channel, link);
      this.#dialing.started(link, link.channel.connection, now);
    }
  }

  connected(channel: NativeConnection): void {
    const link = this.#links.get(channel);
    if (link === undefined) return;
    const { mesh, roster } = this.#self;
    const { attempt, peer, replay } = link;
    const { since, received } = replay;
    channel.send({ type: "hello", mesh, from: roster.id, to: peer.id, attempt, since, received });
  }

  control(channel: NativeConnection, control: Control, now: number): void {
    const link = this.#links.get(channel);
    if (link === undefined) return;
    if (control.type === "answer") this.#answered(link, channel, control, now);
    else if (control.type === "refuse") this.#refused(link, channel, control, now);
    else channel.unexpected(control.type, now);
  }

  gone(channel: NativeConnection, reason: string, now: number): void {
    const link = this.#links.get(channel);
    if (link !== undefined) this.#failed(link, channel.failure ?? dialFailureCode(reason), reason, now);
  }

  /** Gives up what has taken too long, and dials what is due. */
  #giveUpOverdue(now: number): void {
    for (let due = this.#dialing.takeOverdue(now); due !== undefined; due = this.#dialing.takeOverdue(now)) {
      due.peer.channel?.abort();
      this.#failed(due.peer, "DIAL_TIMEOUT", due.reason, now);
    }
    this.dial(now);
  }

  #answered(link: Link, channel: NativeConnection, answer: ControlOf<"answer">, now: number): void {
    this.#links.delete(channel);
    if (answer.attempt !== link.attempt || !link.replay.takeAnswer(link.attempt, answer.since, answer.received)) {
      channel.refuse("SESSION_LOST", "the answer does not fit what this end has kept", now);
      this.#end(link, "SESSION_LOST: the two ends do not agree on what has been delivered", now);
      return;
    }
    this.#dialing.linked(link, now);
    link.trouble = undefined;
    link.step("answered");
    this.#watch.answered(link, now);
  }

  #refused(link: Link, channel: NativeConnection, { code, message, highest }: ControlOf<"refuse">, now: number): void {
    channel.close(now);
    const most = mostRaised(link.attempt);
    link.attempt = Math.max(link.attempt, Math.min(highest ?? 0, most));
    if (code === "SESSION_LOST") {
      this.#links.delete(channel);
      this.#end(link, `SESSION_LOST: ${message}`, now);
    } else if (rejections.has(code)) {
      this.#links.delete(channel);
      this.#dialing.drop(link);
      link.channel = undefined;
      link.trouble = { stage: "rejected", reason: `${code} ${message}` };
      link.step("rejected");
      this.#watch.failed(link, now);
    } else if (highest !== undefined && highest > most) {
      this.#failed(link, "BAD_FRAME", `its ${code} names attempt ${highest}, and may name ${most} at most`, now);
    } else this.#failed(link, "DIAL_FAILED", `${code} ${message}`, now);
  }

  #end(link: Link, reason: string, now: number): void {
    this.#dialing.drop(link);
    link.channel = undefined;
    this.#watch.lost(link, reason, now);
  }

  #failed(link: Link, code: ErrorCode, reason: string, now: number): void {
    if (link.channel !== undefined) this.#links.delete(link.channel);
    link.channel = undefined;
    link.step("failed");
    const failures = this.#dialing.failed(link, now);
    link.trouble = { stage: "dialing", reason: `${code} ${reason} (${failures} in a row)` };
    this.#ports.note(code, `attempt ${link.attempt} to dial it failed: ${reason}`, link.peer.address);
    this.#watch.failed(link, now);
    this.dial(now);
  }
}
