import type { ConnectionId, ConnectionOutput, Endpoint, Identity } from "../core/connections.js";
import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import { nextState } from "../core/transitions.js";
import { type Address, canonicalEndpoint, formatAddress } from "../protocol/address.js";
import type { Candidate, Dialect, Id, Member } from "../protocol/directory.js";
import { ClassicWriter } from "./classic/writer.js";
import { DialectReader } from "./dialect-reader.js";
import { NativeWriter } from "./native/writer.js";

/**
 * The states of a session: which events are allowed in each, and where they lead. Any other event is a bug, and throws.
 */
export const memberSessionTransitions = {
  /** Nothing complete has been read yet. */
  reading: {
    admitted: "joining",
    queued: "waiting",
    challenged: "proving",
    observing: "observing",
    asking: "asking",
    closing: "closing",
  },
  /** Has named an address, and has to prove that it can be reached there. */
  proving: { admitted: "joining", queued: "waiting", resumed: "member", recovering: "recovering", closing: "closing" },
  /** A member of an earlier log, which says whom it knows. */
  recovering: { admitted: "joining", closing: "closing" },
  /** Registered, and waiting for a free slot. */
  waiting: { admitted: "joining", challenged: "proving", withdrawn: "reading", closing: "closing" },
  /** The append of the membership is under way. If the log rejects it, the registration is judged anew. */
  joining: { listed: "member", admitted: "joining", queued: "waiting", closing: "closing" },
  /** In the directory. A classic member that corrects its address joins once more. */
  member: { admitted: "joining", closing: "closing" },
  /** Looks at a mesh, and is in none. */
  observing: { closing: "closing" },
  /** Asks whether others would reach an address, which is being dialed. */
  asking: { closing: "closing" },
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
  | "recovering"
  | "observing"
  | "asking"
  | "withdrawn"
  | "closing";

/** A dial to the address of a member or of a registrant. */
export interface Verification {
  readonly mesh: string;
  readonly id: Id;
  readonly address: Address;
  /** Of a registrant: the listener is sent the nonce, and has to send it back on the session. */
  readonly challenge?: { readonly session: MemberSession; readonly nonce: Id };
  /** Who has asked whether the address can be reached. */
  readonly asker?: MemberSession;
}

/** What a member of an earlier log says of itself, and of others. */
export interface RecoveryClaim {
  /** The log that it has read last. */
  readonly log: Id | undefined;
  readonly order: number;
  /** The highest revision that it has read in any log. */
  readonly highest: number;
  /** How many members it has named so far, and how many of them nobody else had. */
  rows: number;
  ownRows: number;
  /** Members that it knows, and ids that it knows to have ended, as far as they have been read. */
  readonly known: Member[];
  readonly gone: Id[];
}

/** What the session of a member has been sent of the log. */
export interface LogProgress {
  readonly order: number;
  isAdmitted: boolean;
  /** The revision that it holds; undefined if it needs the whole directory. */
  revision: number | undefined;
  /** The number of the newest state message that it was sent. */
  stateNumber: number;
  /** It waits for the mesh to be whole with so many members. */
  watches: number | undefined;
  /** The newest state frame that it was sent. */
  newestState: Uint8Array | undefined;
  /** The leader that it was told of. */
  leader: Id | undefined;
  /** The other servers that it was told of. */
  servers: readonly Address[] | undefined;
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
  /** It has to prove that it is a member of this log, and holds this revision of it; or has read another log last. */
  resumes: { readonly revision: number | undefined } | undefined;
  /** What it claims to have been in an earlier log, until it is a member. */
  recovery: RecoveryClaim | undefined;
  /** It has stood in the line of a server that is gone, whose members may still come: it waits for them. */
  mustWait = false;
  /** It was looking for a server that was not there, and so may be here before members of an earlier log. */
  hasLooked = false;
  /** Its number in the waiting line, kept until it is a member. */
  lineNumber: number | undefined;
  /** Since when it stands in the waiting line. */
  waitingSince: number | undefined;
  /** It was called from the line, and proves its address again. */
  isCalled = false;
  /** How many calls in a row it has not answered. */
  missedCalls = 0;
  /** The dial that carries its challenge, or that it has asked for; undefined unless it is proving or asking. */
  proof: Verification | undefined;
  /** The corrected address, when more digits of its port came late. */
  correction: Address | undefined;
  /** The revision of the newest list sent to it; undefined before the first. */
  listRevision: number | undefined;
  /** What it was sent of the log; undefined unless it is a native member. */
  logProgress: LogProgress | undefined;
  /** When the present second of its grants began, and how many have come in it. */
  #grants = { since: Number.NEGATIVE_INFINITY, here: 0, relayed: 0 };
  #state: MemberSessionState = "reading";

  constructor(connection: ConnectionId, remote: Endpoint, limits: Limits, outputs: OutputSink<ConnectionOutput>) {
    this.connection = connection;
    this.remote = canonicalEndpoint(remote);
    this.reader = new DialectReader(limits);
    this.classicWriter = new ClassicWriter(connection, outputs, limits.messageGapMs);
    this.nativeWriter = new NativeWriter(connection, outputs);
  }

  /** The other end of the connection, as text. */
  get remoteAddress(): Address {
    return formatAddress(this.remote);
  }

  /** Where the session comes from, as its member is told. A local socket that has dialed has no path: then it is what it names. */
  observedAddress(named: Address): Address {
    return this.remote.path === undefined ? this.remoteAddress : named;
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

  /** It has granted an attempt, to a member here or at another server (`isRelayed`). Returns how many such that are within a second. */
  countGrant(isRelayed: boolean, now: number): number {
    if (now - this.#grants.since >= 1_000) this.#grants = { since: now, here: 0, relayed: 0 };
    const kind = isRelayed ? "relayed" : "here";
    this.#grants[kind] += 1;
    return this.#grants[kind];
  }

  step(event: MemberSessionTrigger): void {
    this.#state = nextState(memberSessionTransitions, this.#state, event, `session ${this.connection}`);
  }
}
