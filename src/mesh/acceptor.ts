import type { ConnectionId, ConnectionProgress, Endpoint, Identity } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import type { OutputSink } from "../core/machine.js";
import type { PendingConnections } from "../core/pending-connections.js";
import { type PendingRefusal, PendingRefusals } from "../core/pending-refusals.js";
import type { Timers } from "../core/timers.js";
import { formatAddress } from "../protocol/address.js";
import { callerKindOf, httpRefusal } from "../protocol/caller-kind.js";
import { canonicalIp } from "../protocol/ip.js";
import { encodeControl } from "../protocol/native/control.js";
import { firstNativeByte, withPreface } from "../protocol/native/preface.js";
import type { ConnectionListener, Connections } from "./connections.js";
import type { MemberOutput, MemberRules } from "./types.js";

/** The share of all connections that is kept for those who are told that there is no room. */
const shareOfRefusals = 1 / 8;

const noDescriptors = "no descriptors are left for another connection";

/** An accepted connection whose caller has not yet said who it is. */
export interface PendingConnection {
  readonly connection: ConnectionId;
  readonly remote: Endpoint;
  /** What the secret has proved; undefined in the open. */
  identity: Identity | undefined;
  cipher: string | undefined;
}

/** The part of a member that receives the callers of one dialect. */
export interface DialectAcceptor {
  /** Takes a visitor, whose first bytes follow. Returns who is to hear of it. */
  receive(visitor: PendingConnection): ConnectionListener;
  /** It has taken too long to say who it is. Returns false if it has not been received here. */
  overdue(connection: ConnectionId, now: number): boolean;
}

/** Who receives which dialect; one without a reception is refused. */
export interface DialectAcceptors {
  readonly classic: DialectAcceptor;
  readonly native: DialectAcceptor | undefined;
}

/**
 * Where accepted connections come in: bounds those that have not said who they are, tells by the first byte which dialect
 * they speak, and shows them to its reception. What comes in the open to a member with a secret goes no further.
 */
export class Acceptor implements ConnectionListener {
  readonly #rules: MemberRules;
  readonly #connections: Connections;
  readonly #outputs: OutputSink<MemberOutput>;
  /** Shared with the receptions, which say when a visitor is known. */
  readonly #handshakes: PendingConnections;
  readonly #receptions: DialectAcceptors;
  readonly #visitors = new Map<ConnectionId, PendingConnection>();
  readonly #refusals: PendingRefusals;
  #isClosed = false;

  constructor(
    rules: MemberRules,
    timers: Timers,
    connections: Connections,
    outputs: OutputSink<MemberOutput>,
    handshakes: PendingConnections,
    receptions: DialectAcceptors,
  ) {
    this.#rules = rules;
    this.#refusals = new PendingRefusals(rules.limits, timers, (refusal, now) => {
      const visitor = this.#visitors.get(refusal.connection);
      if (visitor !== undefined) this.#tellRefusal(visitor, refusal, now);
    });
    this.#connections = connections;
    this.#outputs = outputs;
    this.#handshakes = handshakes;
    this.#receptions = receptions;
  }

  accepted(connection: ConnectionId, remote: Endpoint, now: number): void {
    const { limits } = this.#rules;
    const room = limits.connections - this.#connections.size;
    const host = canonicalIp(remote.host) ?? remote.host;
    this.#connections.give(connection, this);
    if (room <= 0) this.#note("NO_DESCRIPTORS", noDescriptors, remote);
    if (room <= 0 || this.#isClosed) {
      this.#connections.abort(connection);
      return;
    }
    const visitor = { connection, remote: { host, port: remote.port }, identity: undefined, cipher: undefined };
    this.#visitors.set(connection, visitor);
    if (room <= Math.floor(limits.connections * shareOfRefusals)) {
      this.#refuse(visitor, { connection, code: "NO_DESCRIPTORS", message: noDescriptors }, now);
    } else if (!this.#handshakes.begin(connection, host, now)) {
      const message = "too many connections have not yet said hello";
      this.#refuse(visitor, { connection, code: "BUSY", message }, now);
    }
  }

  /** There is no room for this one. A native caller is told, once its first byte has shown that it is one. */
  #refuse(visitor: PendingConnection, refusal: PendingRefusal, now: number): void {
    // Where there is a secret, whoever is about to prove it is told so before.
    if (this.#rules.isKeyed) this.#tellRefusal(visitor, refusal, now);
    else this.#refusals.add(refusal, now);
  }

  #tellRefusal(
    visitor: PendingConnection,
    { code, message }: PendingRefusal,
    now: number,
    lastWord?: Uint8Array,
  ): void {
    this.#turnAway(visitor, code, message, now, lastWord);
    const oldest = this.#refusals.refused(visitor.connection);
    if (oldest !== undefined) this.#connections.abort(oldest);
  }

  handle(input: ConnectionProgress, now: number): void {
    const visitor = this.#visitors.get(input.connection);
    if (visitor === undefined) return;
    switch (input.type) {
      case "proving":
        this.#handshakes.spoke(visitor.connection, now);
        break;
      case "secured":
        this.#handshakes.spoke(visitor.connection, now);
        visitor.identity = input.identity;
        visitor.cipher = input.cipher;
        break;
      case "unproved":
        this.#note(input.code, input.message, visitor.remote);
        this.#forget(visitor);
        break;
      case "bytes":
        this.#handshakes.spoke(visitor.connection, now);
        this.#show(visitor, input, now);
        break;
      case "ended":
      case "closed":
        this.#note("NOTHING_SAID", "closed before it had said hello", visitor.remote);
        this.#forget(visitor);
        if (input.type === "ended") this.#connections.dismiss(visitor.connection, now);
        break;
      default:
        break;
    }
  }

  nextTimeout(): number | undefined {
    return this.#handshakes.nextTimeout();
  }

  handleTimeout(now: number): void {
    for (let due = this.#handshakes.takeDue(now); due !== undefined; due = this.#handshakes.takeDue(now)) {
      const visitor = this.#visitors.get(due);
      if (visitor !== undefined) this.#turnAway(visitor, "HANDSHAKE_TIMEOUT", "nothing came in time", now);
      else if (!this.#receptions.classic.overdue(due, now)) this.#receptions.native?.overdue(due, now);
    }
  }

  /** Takes in nobody any more. */
  close(): void {
    this.#isClosed = true;
    for (const visitor of [...this.#visitors.values()]) {
      this.#forget(visitor);
      this.#connections.abort(visitor.connection);
    }
  }

  #show(visitor: PendingConnection, input: ConnectionProgress & { readonly type: "bytes" }, now: number): void {
    const isNative = input.bytes[0] === firstNativeByte;
    const reception = isNative ? this.#receptions.native : this.#receptions.classic;
    const unwelcome = this.#refusals.take(visitor.connection);
    if (unwelcome !== undefined) {
      const { code, message } = unwelcome;
      const { firstByteCrowdedMs } = this.#rules.limits;
      this.#tellRefusal(visitor, unwelcome, now, isNative ? refusal(code, message, firstByteCrowdedMs) : undefined);
    } else if (this.#rules.isKeyed && visitor.identity === undefined) {
      const isHttp = callerKindOf(input.bytes[0] ?? 0, input.bytes[1]) === "http";
      const lastWord = isNative
        ? refusal("SECRET_REQUIRED", "this mesh takes only callers with the secret")
        : isHttp
          ? httpRefusal()
          : undefined;
      this.#turnAway(visitor, "SECRET_REQUIRED", "the caller speaks in plain text", now, lastWord);
    } else if (reception === undefined) {
      const message = "the caller speaks native, and this member classic";
      this.#turnAway(
        visitor,
        "WRONG_DIALECT",
        message,
        now,
        refusal("WRONG_DIALECT", "this is a member that speaks classic only"),
      );
    } else {
      this.#visitors.delete(visitor.connection);
      const party = reception.receive(visitor);
      this.#connections.give(visitor.connection, party);
      party.handle(input, now);
    }
  }

  #turnAway(visitor: PendingConnection, code: ErrorCode, message: string, now: number, lastWord?: Uint8Array): void {
    this.#note(code, message, visitor.remote);
    this.#forget(visitor);
    if (lastWord !== undefined) this.#connections.send(visitor.connection, lastWord);
    this.#connections.dismiss(visitor.connection, now);
  }

  #forget(visitor: PendingConnection): void {
    this.#visitors.delete(visitor.connection);
    this.#refusals.take(visitor.connection);
    this.#handshakes.end(visitor.connection);
  }

  #note(code: ErrorCode, message: string, remote: Endpoint): void {
    this.#outputs.push({ type: "note", note: { code, message, remote: formatAddress(remote) } });
  }
}

/** What a program is told that registers with a member; `server` is where the member's own server is, once it is known. */
export function notTheServer(server: string | undefined): string {
  return `this is a member, not the rendezvous server${server === undefined ? "" : `, which is at ${server}`}`;
}

/** A preface and a refusal, for a native caller that is not let in. */
function refusal(code: ErrorCode, message: string, retryMs?: number): Uint8Array {
  return withPreface(encodeControl({ type: "refuse", code, message, ...(retryMs === undefined ? {} : { retryMs }) }));
}
