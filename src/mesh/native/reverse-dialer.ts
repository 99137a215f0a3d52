import type { ErrorCode } from "../../core/errors.js";
import { printable } from "../../core/escaping.js";
import type { KeyedTimers } from "../../core/timers.js";
import { endpointOf } from "../../protocol/address.js";
import type { Control } from "../../protocol/native/control.js";
import { dialFailureCode } from "../dial-queue.js";
import { NativeConnection, type NativeConnectionContext, type NativeConnectionOwner } from "./connection.js";
import type { Link, LinkEvents } from "./link.js";
import { type HelloSender, helloOf } from "./link-dialer.js";
import type { NativeSession } from "./session.js";

/** What the owner is told of a dial that has failed. */
const longestReason = 160;

/**
 * Reverse dials: an owner that cannot reach this node has granted it an attempt. It is dialed once, and never again: the
 * numbers of attempts are the owner's.
 */
export class ReverseDialer implements NativeConnectionOwner {
  readonly #sender: HelloSender;
  readonly #context: NativeConnectionContext;
  /** With the server, which tells the owner of a link that a dial has failed. */
  readonly #session: NativeSession;
  readonly #events: LinkEvents;
  readonly #links = new Map<NativeConnection, Link>();
  /** By when the owner must have answered. */
  readonly #overdue: KeyedTimers<NativeConnection>;

  constructor(sender: HelloSender, context: NativeConnectionContext, session: NativeSession, events: LinkEvents) {
    this.#sender = sender;
    this.#context = context;
    this.#session = session;
    this.#events = events;
    this.#overdue = context.timers.keyed((connection, now) => {
      connection.abort();
      this.#failed(connection, "DIAL_TIMEOUT", `no answer within ${context.limits.dialMs} ms`, now);
    });
  }

  /** Opens this attempt of a link that has no connection. Its number is taken now, whatever comes of the dial [C3]. */
  dial(link: Link, attempt: number, now: number): void {
    link.step("granted");
    link.attempt = attempt;
    const connection = NativeConnection.dial(this.#context, endpointOf(link.peer.address), "member", this);
    link.connection = connection;
    this.#links.set(connection, link);
    this.#overdue.set(connection, now + this.#context.limits.dialMs);
  }

  /** Gives up the dial of this link, if one is open. */
  drop(link: Link): void {
    const { connection } = link;
    if (connection === undefined || this.#forget(connection) === undefined) return;
    link.connection = undefined;
    connection.abort();
  }

  connected(connection: NativeConnection): void {
    const link = this.#links.get(connection);
    if (link !== undefined) connection.send(helloOf(this.#sender, link));
  }

  control(connection: NativeConnection, control: Control, now: number): void {
    const link = this.#links.get(connection);
    if (link === undefined) return;
    if (control.type === "refuse") {
      const reason = `${control.code} ${control.message}`;
      connection.close(now);
      if (control.code === "SESSION_LOST") this.#lost(connection, reason, now);
      else this.#failed(connection, "DIAL_FAILED", reason, now);
    } else if (control.type !== "answer") connection.unexpected(control.type, now);
    else if (
      control.attempt !== link.attempt ||
      !link.resumeState.takeAnswer(link.attempt, control.since, control.received)
    ) {
      connection.refuse("SESSION_LOST", "the answer does not fit what this end has kept", now);
      this.#lost(connection, "SESSION_LOST: the two ends do not agree on what has been delivered", now);
    } else {
      this.#forget(connection);
      link.takesBatches = control.batches === true;
      link.step("answered");
      this.#events.answered(link, now);
    }
  }

  gone(connection: NativeConnection, reason: string, now: number): void {
    this.#failed(connection, connection.failure ?? dialFailureCode(reason), reason, now);
  }

  #lost(connection: NativeConnection, reason: string, now: number): void {
    const link = this.#forget(connection);
    if (link === undefined) return;
    link.connection = undefined;
    this.#events.lost(link, reason, now);
  }

  #failed(connection: NativeConnection, code: ErrorCode, reason: string, now: number): void {
    const link = this.#forget(connection);
    if (link === undefined) return;
    link.connection = undefined;
    link.step("failed");
    link.downState = { stage: "dialing", reason: `its reverse dial failed: ${code} ${reason}` };
    const { id: owner, address } = link.peer;
    const { attempt } = link;
    this.#context.note(code, `cannot reach ${address} (attempt ${attempt}, granted): ${reason}`, address);
    const failed = printable(reason, longestReason);
    this.#session.send({ type: "grant", owner, later: this.#sender.roster.id, attempt, failed });
    this.#events.failed(link, now);
  }

  #forget(connection: NativeConnection): Link | undefined {
    const link = this.#links.get(connection);
    this.#links.delete(connection);
    this.#overdue.clear(connection);
    return link;
  }
}
