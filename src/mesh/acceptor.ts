import type { ConnectionId, ConnectionProgress, Endpoint, Identity } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import type { OutputSink } from "../core/machine.js";
import type { PendingConnections } from "../core/pending-connections.js";
import { type PendingRefusal, PendingRefusals } from "../core/pending-refusals.js";
import type { Timers } from "../core/timers.js";
import { canonicalEndpoint, formatAddress } from "../protocol/address.js";
import { callerKindOf, httpRefusal } from "../protocol/caller-kind.js";
import { encodeControl } from "../protocol/native/control.js";
import { firstNativeByte, withPreface } from "../protocol/native/preface.js";
import type { ConnectionListener, Connections } from "./connections.js";
import type { MemberOutput, MemberRules } from "./types.js";

/** The share of all connections that is kept for those who are refused because there is no room. */
const shareOfRefusals = 1 / 8;

const noDescriptors = "no descriptors are left for another connection";

/** An accepted connection whose caller has not yet said who it is. */
export interface UnidentifiedConnection {
  readonly connection: ConnectionId;
  readonly remote: Endpoint;
  /** What the secret has proved; undefined in the open. */
  identity: Identity | undefined;
  cipher: string | undefined;
}

/** The part of a member that accepts the callers of one dialect. */
export interface DialectAcceptor {
  /** Takes a pending connection, whose first bytes follow. Returns its listener. */
  receive(pending: UnidentifiedConnection): ConnectionListener;
  /** It has taken too long to say who it is. Returns false if it has not been received here. */
  timedOut(connection: ConnectionId, now: number): boolean;
}

/** Who accepts which dialect; one without an acceptor is refused. */
export interface DialectAcceptors {
  readonly classic: DialectAcceptor;
  readonly native: DialectAcceptor | undefined;
}

/**
 * Where accepted connections come in: bounds those that have not said who they are, finds out by the first byte which dialect
 * they speak, and gives them to its acceptor. What comes in the open to a member with a secret goes no further.
 */
export class Acceptor implements ConnectionListener {
  readonly #rules: MemberRules;
  readonly #connections: Connections;
  readonly #outputs: OutputSink<MemberOutput>;
  /** Shared with the acceptors of the dialects, which say when a caller is known. */
  readonly #pendingConnections: PendingConnections;
  readonly #dialects: DialectAcceptors;
  readonly #pending = new Map<ConnectionId, UnidentifiedConnection>();
  readonly #refusals: PendingRefusals;
  #isClosed = false;

  constructor(
    rules: MemberRules,
    timers: Timers,
    connections: Connections,
    outputs: OutputSink<MemberOutput>,
    pendingConnections: PendingConnections,
    dialects: DialectAcceptors,
  ) {
    this.#rules = rules;
    this.#refusals = new PendingRefusals(rules.limits, timers, (refusal, now) => {
      const pending = this.#pending.get(refusal.connection);
      if (pending !== undefined) this.#sendRefusal(pending, refusal, now);
    });
    this.#connections = connections;
    this.#outputs = outputs;
    this.#pendingConnections = pendingConnections;
    this.#dialects = dialects;
  }

  accepted(connection: ConnectionId, remote: Endpoint, now: number): void {
    const { limits } = this.#rules;
    const room = limits.connections - this.#connections.size;
    this.#connections.give(connection, this);
    if (room <= 0) this.#note("NO_DESCRIPTORS", noDescriptors, remote);
    if (room <= 0 || this.#isClosed) {
      this.#connections.abort(connection);
      return;
    }
    const pending = { connection, remote: canonicalEndpoint(remote), identity: undefined, cipher: undefined };
    this.#pending.set(connection, pending);
    if (room <= Math.floor(limits.connections * shareOfRefusals)) {
      this.#refuse(pending, { connection, code: "NO_DESCRIPTORS", message: noDescriptors }, now);
    } else if (!this.#pendingConnections.begin(connection, pending.remote, now)) {
      const message = "too many connections have not yet said hello";
      this.#refuse(pending, { connection, code: "BUSY", message }, now);
    }
  }

  /** There is no room for this one. A native caller is refused, once its first byte has shown that it is one. */
  #refuse(pending: UnidentifiedConnection, refusal: PendingRefusal, now: number): void {
    // Where there is a secret, whoever is about to prove it learns of the refusal before.
    if (this.#rules.isKeyed) this.#sendRefusal(pending, refusal, now);
    else this.#refusals.add(refusal, now);
  }

  #sendRefusal(
    pending: UnidentifiedConnection,
    { code, message }: PendingRefusal,
    now: number,
    answer?: Uint8Array,
  ): void {
    this.#reject(pending, code, message, now, answer);
    const oldest = this.#refusals.refused(pending.connection);
    if (oldest !== undefined) this.#connections.abort(oldest);
  }

  handle(input: ConnectionProgress, now: number): void {
    const pending = this.#pending.get(input.connection);
    if (pending === undefined) return;
    switch (input.type) {
      case "proving":
        this.#pendingConnections.spoke(pending.connection, now);
        break;
      case "secured":
        this.#pendingConnections.spoke(pending.connection, now);
        pending.identity = input.identity;
        pending.cipher = input.cipher;
        break;
      case "unproved":
        this.#note(input.code, input.message, pending.remote);
        this.#forget(pending);
        break;
      case "bytes":
        this.#pendingConnections.spoke(pending.connection, now);
        this.#dispatch(pending, input, now);
        break;
      case "ended":
      case "closed":
        this.#note("NOTHING_SAID", "closed before it had said hello", pending.remote);
        this.#forget(pending);
        if (input.type === "ended") this.#connections.dismiss(pending.connection, now);
        break;
      default:
        break;
    }
  }

  /** A connection has taken too long to say who it is. */
  timedOut(connection: ConnectionId, now: number): void {
    const pending = this.#pending.get(connection);
    if (pending !== undefined) this.#reject(pending, "HANDSHAKE_TIMEOUT", "nothing came in time", now);
    else if (!this.#dialects.classic.timedOut(connection, now)) this.#dialects.native?.timedOut(connection, now);
  }

  /** Accepts nobody any more. */
  close(): void {
    this.#isClosed = true;
    for (const pending of [...this.#pending.values()]) {
      this.#forget(pending);
      this.#connections.abort(pending.connection);
    }
  }

  #dispatch(
    pending: UnidentifiedConnection,
    input: ConnectionProgress & { readonly type: "bytes" },
    now: number,
  ): void {
    const isNative = input.bytes[0] === firstNativeByte;
    const acceptor = isNative ? this.#dialects.native : this.#dialects.classic;
    const refused = this.#refusals.take(pending.connection);
    if (refused !== undefined) {
      const { code, message } = refused;
      const { firstByteCrowdedMs } = this.#rules.limits;
      this.#sendRefusal(pending, refused, now, isNative ? refusal(code, message, firstByteCrowdedMs) : undefined);
    } else if (this.#rules.isKeyed && pending.identity === undefined) {
      const isHttp = callerKindOf(input.bytes[0] ?? 0, input.bytes[1]) === "http";
      const answer = isNative
        ? refusal("SECRET_REQUIRED", "this mesh takes only callers with the secret")
        : isHttp
          ? httpRefusal()
          : undefined;
      this.#reject(pending, "SECRET_REQUIRED", "the caller speaks in plain text", now, answer);
    } else if (acceptor === undefined) {
      const message = "the caller speaks native, and this member classic";
      this.#reject(
        pending,
        "WRONG_DIALECT",
        message,
        now,
        refusal("WRONG_DIALECT", "this is a member that speaks classic only"),
      );
    } else {
      this.#pending.delete(pending.connection);
      const listener = acceptor.receive(pending);
      this.#connections.give(pending.connection, listener);
      listener.handle(input, now);
    }
  }

  #reject(pending: UnidentifiedConnection, code: ErrorCode, message: string, now: number, answer?: Uint8Array): void {
    this.#note(code, message, pending.remote);
    this.#forget(pending);
    if (answer !== undefined) this.#connections.send(pending.connection, answer);
    this.#connections.dismiss(pending.connection, now);
  }

  #forget(pending: UnidentifiedConnection): void {
    this.#pending.delete(pending.connection);
    this.#refusals.take(pending.connection);
    this.#pendingConnections.end(pending.connection);
  }

  #note(code: ErrorCode, message: string, remote: Endpoint): void {
    this.#outputs.push({ type: "note", note: { code, message, remote: formatAddress(remote) } });
  }
}

/** The answer to a program that registers with a member; `server` is where the member's own server is, once it is known. */
export function notTheServer(server: string | undefined): string {
  return `this is a member, not the rendezvous server${server === undefined ? "" : `, which is at ${server}`}`;
}

/** A preface and a refusal, for a native caller that is not let in. */
function refusal(code: ErrorCode, message: string, retryMs?: number): Uint8Array {
  return withPreface(encodeControl({ type: "refuse", code, message, ...(retryMs === undefined ? {} : { retryMs }) }));
}
