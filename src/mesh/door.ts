import type { ConnectionId, ConnectionProgress, Endpoint, Identity } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import type { Handshakes } from "../core/handshakes.js";
import type { Sink } from "../core/machine.js";
import { formatAddress } from "../protocol/address.js";
import { canonicalIp } from "../protocol/ip.js";
import { encodeControl } from "../protocol/native/control.js";
import { behindPreface, firstNativeByte } from "../protocol/native/preface.js";
import { httpRefusal, sniff } from "../protocol/sniff.js";
import type { Connections, Party } from "./connections.js";
import type { MemberOutput, MemberRules } from "./vocabulary.js";

/** An accepted connection whose caller has not yet said who it is. */
export interface Visitor {
  readonly connection: ConnectionId;
  readonly remote: Endpoint;
  /** What the secret has proved; undefined in the open. */
  identity: Identity | undefined;
  cipher: string | undefined;
}

/** The part of a member that receives the callers of one dialect. */
export interface Reception {
  /** Takes a visitor, whose first bytes follow. Returns who is to hear of it. */
  receive(visitor: Visitor): Party;
  /** It has taken too long to say who it is. Returns false if it has not been received here. */
  overdue(connection: ConnectionId, now: number): boolean;
}

/** Who receives which dialect; one without a reception is refused. */
export interface Receptions {
  readonly classic: Reception;
  readonly native: Reception | undefined;
}

/**
 * Where accepted connections come in: bounds those that have not said who they are, tells by the first byte which dialect
 * they speak, and shows them to its reception. What comes in the open to a member with a secret goes no further.
 */
export class Door implements Party {
  readonly #rules: MemberRules;
  readonly #connections: Connections;
  readonly #outputs: Sink<MemberOutput>;
  /** Shared with the receptions, which say when a visitor is known. */
  readonly #handshakes: Handshakes;
  readonly #receptions: Receptions;
  readonly #visitors = new Map<ConnectionId, Visitor>();
  #isClosed = false;

  constructor(
    rules: MemberRules,
    connections: Connections,
    outputs: Sink<MemberOutput>,
    handshakes: Handshakes,
    receptions: Receptions,
  ) {
    this.#rules = rules;
    this.#connections = connections;
    this.#outputs = outputs;
    this.#handshakes = handshakes;
    this.#receptions = receptions;
  }

  accepted(connection: ConnectionId, remote: Endpoint, now: number): void {
    const isFull = this.#connections.size >= this.#rules.limits.connections;
    const host = canonicalIp(remote.host) ?? remote.host;
    this.#connections.give(connection, this);
    if (isFull) {
      this.#note("BUSY", "no descriptors are left for another connection", remote);
      this.#connections.abort(connection);
    } else if (this.#isClosed) {
      this.#connections.abort(connection);
    } else if (this.#handshakes.begin(connection, host, now)) {
      const visitor = { connection, remote: { host, port: remote.port }, identity: undefined, cipher: undefined };
      this.#visitors.set(connection, visitor);
    } else {
      this.#note("BUSY", "too many connections have not yet said hello", remote);
      this.#connections.dismiss(connection, now);
    }
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

  #show(visitor: Visitor, input: ConnectionProgress & { readonly type: "bytes" }, now: number): void {
    const isNative = input.bytes[0] === firstNativeByte;
    const reception = isNative ? this.#receptions.native : this.#receptions.classic;
    if (this.#rules.isKeyed && visitor.identity === undefined) {
      const isHttp = sniff(input.bytes[0] ?? 0, input.bytes[1]) === "http";
      const lastWord = isNative ? refusal("SECRET_REQUIRED") : isHttp ? httpRefusal() : undefined;
      this.#turnAway(visitor, "SECRET_REQUIRED", "the caller speaks in plain text", now, lastWord);
    } else if (reception === undefined) {
      const message = "the caller speaks native, and this member classic";
      this.#turnAway(visitor, "WRONG_DIALECT", message, now, refusal("WRONG_DIALECT"));
    } else {
      this.#visitors.delete(visitor.connection);
      const party = reception.receive(visitor);
      this.#connections.give(visitor.connection, party);
      party.handle(input, now);
    }
  }

  #turnAway(visitor: Visitor, code: ErrorCode, message: string, now: number, lastWord?: Uint8Array): void {
    this.#note(code, message, visitor.remote);
    this.#forget(visitor);
    if (lastWord !== undefined) this.#connections.send(visitor.connection, lastWord);
    this.#connections.dismiss(visitor.connection, now);
  }

  #forget(visitor: Visitor): void {
    this.#visitors.delete(visitor.connection);
    this.#handshakes.end(visitor.connection);
  }

  #note(code: ErrorCode, message: string, remote: Endpoint): void {
    this.#outputs.push({ type: "note", note: { code, message, remote: formatAddress(remote) } });
  }
}

/** A preface and a refusal, for a caller whose dialect or openness is not wanted here. */
function refusal(code: ErrorCode): Uint8Array {
  const message =
    code === "SECRET_REQUIRED" ? "this mesh takes only callers with the secret" : "native is not spoken here";
  return behindPreface(encodeControl({ type: "refuse", code, message }));
}
