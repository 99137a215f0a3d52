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
 * The states of a session: which events are allowed in each, and where they lead. Any other event is a bug, and throws.
 */
export const memberSessionTransitions = {
  /** Nothing complete has been read yet. */
  reading: { admitted: "joining", queued: "waiting", challenged: "proving", closing: "closing" },
  /** Has named an address, and has to prove that it can be reached there. */
  proving: { admitted: "joining", queued: "waiting", resumed: "member", closing: "closing" },
  /** Registered, and waiting for a free slot. */
  waiting: { admitted: "joining", challenged: "proving", withdrawn: "reading", closing: "closing" },
  /** The append of the membership is under way. If the log rejects it, the registration is judged anew. */
  joining: { listed: "member", admitted: "joining", queued: "waiting", closing: "closing" },
  /** In the directory. A classic member that corrects its address joins once more. */
  member: { admitted: "joining", closing: "closing" },
  /** Being closed; what it sends is ignored. */
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

/** The challenge that a session has to answer. */
export interface AddressChallenge {
  /** The dial that carries the nonce. */
  readonly task: Verification;
  /** The revision that a returning member holds; undefined for a registration. */
  readonly resumesFrom?: number;
}

/** The session on one accepted connection: its state, its reader and writers, and who is at the other end. */
export class MemberSession {
  readonly connection: ConnectionId;
  /** Where it connects from, in canonical form. */
  readonly remote: Endpoint;
  readonly reader: DialectReader;
  /** Writes to a classic member. */
  readonly classicWriter: ClassicWriter;
  /** Writes to a native member. */
  readonly nativeWriter: NativeWriter;
  /** The identity for which it has proved the secret; undefined without a secret. */
  identity: Identity | undefined;
  /** The mesh that it registered for; undefined while reading. */
  mesh: string | undefined;
  /** What it registered as; undefined while reading. */
  candidate: Candidate | undefined;
  /** Its challenge; undefined unless it is proving. */
  proof: AddressChallenge | undefined;
  /** The corrected address, when more digits of its port came late. */
  correction: Address | undefined;
  /** The revision of the newest list sent to it; undefined before the first. */
  listRevision: number | undefined;
  #state: MemberSessionState = "reading";

  constructor(connection: ConnectionId, remote: Endpoint, limits: Limits, outputs: OutputSink<ConnectionOutput>) {
    this.connection = connection;
    this.remote = { host: canonicalIp(remote.host) ?? remote.host, port: remote.port };
    this.reader = new DialectReader(limits);
    this.classicWriter = new ClassicWriter(connection, outputs, limits.messageGapMs);
    this.nativeWriter = new NativeWriter(connection, outputs);
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
    return this.reader.dialect;
  }

  get state(): MemberSessionState {
    return this.#state;
  }

  step(event: MemberSessionTrigger): void {
    this.#state = nextState(memberSessionTransitions, this.#state, event, `session ${this.connection}`);
  }
}
