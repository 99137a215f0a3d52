import type { ConnectionId, ConnectionOutput, Endpoint, Identity } from "../core/connections.js";
import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import { nextState } from "../core/transitions.js";
import { type Address, formatAddress } from "../protocol/address.js";
import type { Candidate, Dialect } from "../protocol/directory.js";
import { canonicalIp } from "../protocol/ip.js";
import type { Verification } from "./address-verifier.js";
import { ClassicWriter } from "./classic/writer.js";
import { DialectReader } from "./dialect-reader.js";
import { NativeWriter } from "./native/writer.js";

/**
 * The life of a session, as data: from each state, what may happen and where it leads. Anything else is a fault of the
 * machine, and is said at once.
 */
export const memberSessionTransitions = {
  /** Nothing complete has been read yet. */
  reading: { admitted: "joining", queued: "waiting", challenged: "proving", closing: "closing" },
  /** Has named an address, and is to prove that it is reached there. */
  proving: { admitted: "joining", queued: "waiting", resumed: "member", closing: "closing" },
  /** Registered, in line for a slot. */
  waiting: { admitted: "joining", challenged: "proving", withdrawn: "reading", closing: "closing" },
  /** The append of the membership is under way. If the log rejects it, the registration is judged anew. */
  joining: { listed: "member", admitted: "joining", queued: "waiting", closing: "closing" },
  /** In the directory. */
  member: { withdrawn: "reading", closing: "closing" },
  /** Has been told everything, or is about to be; hears no more. */
  closing: { closing: "closing" },
} as const;

export type MemberSessionState = keyof typeof memberSessionTransitions;
export type MemberSessionTrigger =
  | "challenged"
  | "admitted"
  | "queued"
  | "listed"
  | "resumed"
  | "withdrawn"
  | "closing";

/** What a session has still to prove, and what it wants by it. */
export interface AddressChallenge {
  /** The dial-back that carries the nonce. */
  readonly task: Verification;
  /** A member goes on from this revision; undefined for somebody who wants to become one. */
  readonly resumesFrom?: number;
}

/** The conversation with one connection: what it has said, what it is, and what it is still to be told. */
export class MemberSession {
  readonly connection: ConnectionId;
  /** Where it connects from, in canonical form. */
  readonly remote: Endpoint;
  readonly door: DialectReader;
  /** What a classic reader is still to be told. */
  readonly outbox: ClassicWriter;
  /** The way to a native reader. */
  readonly line: NativeWriter;
  /** As whom it has proved the secret; undefined in the open. */
  identity: Identity | undefined;
  /** The mesh that it wants to be in, or is in; undefined while reading. */
  mesh: string | undefined;
  /** Who it wants to be, or is; undefined while reading. */
  candidate: Candidate | undefined;
  /** What it has been asked to prove; undefined unless it is proving. */
  proof: AddressChallenge | undefined;
  /** The address that is to replace it, when more digits of its port came late. */
  correction: Address | undefined;
  /** The revision of the newest list that it was sent; undefined before the first. */
  listRevision: number | undefined;
  #state: MemberSessionState = "reading";

  constructor(connection: ConnectionId, remote: Endpoint, limits: Limits, outputs: OutputSink<ConnectionOutput>) {
    this.connection = connection;
    this.remote = { host: canonicalIp(remote.host) ?? remote.host, port: remote.port };
    this.door = new DialectReader(limits);
    this.outbox = new ClassicWriter(connection, outputs, limits.messageGapMs);
    this.line = new NativeWriter(connection, outputs);
  }

  /** The other end of the connection, as text. */
  get remoteAddress(): Address {
    return formatAddress(this.remote);
  }

  /** The address it has registered; undefined while reading. */
  get address(): Address | undefined {
    return this.candidate?.address;
  }

  get dialect(): Dialect | undefined {
    return this.door.dialect;
  }

  get state(): MemberSessionState {
    return this.#state;
  }

  step(event: MemberSessionTrigger): void {
    this.#state = nextState(memberSessionTransitions, this.#state, event, `session ${this.connection}`);
  }
}
