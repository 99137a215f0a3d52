import {
  type ConnectionId,
  type ConnectionOutput,
  type Endpoint,
  type Identity,
  isLoopback,
} from "../core/connections.js";
import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import { nextState } from "../core/transitions.js";
import { type Address, endpointOf, formatAddress } from "../protocol/address.js";
import type { Candidate, Dialect, Id, Member } from "../protocol/directory.js";
import { canonicalIp } from "../protocol/ip.js";
import type { LinkFailure } from "../protocol/missing-pair.js";
import type { AddressHolder } from "./address-registry.js";
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
  | "withdrawn"
  | "closing";

/** A dial to the address of a member or of a registrant. */
export type Verification = { readonly mesh: string; readonly id: Id; readonly address: Address } & (
  | { readonly record: MemberRecord; readonly nonce?: undefined }
  /** The nonce is sent to the listener, which has to send it back on its session. */
  | { readonly session: MemberSession; readonly nonce: Id }
);

/** The challenge that a session has to answer. */
export interface AddressChallenge {
  /** The dial that carries the nonce. */
  readonly task: Verification;
}

/** What a member of an earlier log says of itself, and of others. */
export interface RecoveryClaim {
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

/** A member of an earlier log that others have named, and that has not come back. */
export interface Expectation {
  /** As others have it: for people only. */
  readonly order: number;
  readonly since: number;
  /** Somebody has said that it has ended: it holds no slot, and nobody waits for it. */
  isDoubted: boolean;
  /** Its lease has run out: it stays only while a member reports a link with it. */
  isOverdue: boolean;
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
  /** The member that it speaks for, from the append of its registration; undefined before. */
  record: MemberRecord | undefined;
  /** The member that it has to prove to be, which comes back. */
  resumes: MemberRecord | undefined;
  /** The revision that it holds then; undefined if it has read another log last. */
  resumesFrom: number | undefined;
  /** What it claims to have been in an earlier log, until it is a member. */
  recovery: RecoveryClaim | undefined;
  /** It has stood in the line of a server that is gone, whose members may still come: it waits for them. */
  mustWait = false;
  /** Its number in the waiting line, kept until it is a member. */
  lineNumber: number | undefined;
  /** Since when it stands in the waiting line. */
  waitingSince: number | undefined;
  /** It was called from the line, and proves its address again. */
  isCalled = false;
  /** How many calls in a row it has not answered. */
  missedCalls = 0;
  /** Its challenge; undefined unless it is proving. */
  proof: AddressChallenge | undefined;
  /** The corrected address, when more digits of its port came late. */
  correction: Address | undefined;
  /** The revision of the newest list sent to it; undefined before the first. */
  listRevision: number | undefined;
  /** What it was sent of the log; undefined unless it is a native member. */
  logProgress: LogProgress | undefined;
  /** When the present second of its grants began, and how many have come in it. */
  #grants = { since: Number.NEGATIVE_INFINITY, count: 0 };
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

  /** It has granted an attempt. Returns how many that are within a second. */
  countGrant(now: number): number {
    if (now - this.#grants.since >= 1_000) this.#grants = { since: now, count: 0 };
    this.#grants.count += 1;
    return this.#grants.count;
  }

  step(event: MemberSessionTrigger): void {
    this.#state = nextState(memberSessionTransitions, this.#state, event, `session ${this.connection}`);
  }
}

/** A removal that this server wants. */
export interface Removal {
  readonly type: "left" | "lost";
  readonly id: Id;
  readonly reason: string;
}

/** What is known of a native member without a session. */
export interface SuspectState {
  /** How its session ended. */
  readonly reason: string;
  readonly since: number;
  /** Its lease has not run out; until then only a refusal by its address counts. */
  hasLease: boolean;
  /** The newest refusal by its address. */
  refusal: string | undefined;
  /** How many dials in a row its address has refused. */
  refusals: number;
  /** A dial to its address is under way, or waits for its turn. */
  isChecking: boolean;
  /** Its address refused twice, and a lease has passed since: witnesses do not count any more. */
  isBeyondWitnesses: boolean;
  /** Until when a resume under way keeps it from being lost. */
  provesUntil: number | undefined;
}

/** A reported link with somebody that the log has neither listed nor removed. */
export interface UnlistedLink {
  /** When it was first reported. */
  readonly since: number;
  /** Who that is, as the reporter has it. */
  readonly peer: UnlistedMember | undefined;
}

/** A member that this log does not list, by the word of somebody who holds a link with it. */
export type UnlistedMember = Pick<Member, "id" | "order" | "address">;

/** All that a mesh knows of one member, from the append of its registration to its removal. */
export class MemberRecord implements AddressHolder {
  readonly mesh: string;
  readonly candidate: Candidate;
  readonly isOnLoopback: boolean;
  /** As the directory lists it; undefined while its append is under way. */
  member: Member | undefined;
  /** Whom it replaces, while its append is under way. */
  replaces: MemberRecord | undefined;
  /** Its removal has been appended, and the log has not answered. */
  isRemovalAppended = false;
  /** Undefined while it has a session, and for classic members. */
  suspect: SuspectState | undefined;
  /** How many sessions are proving a resume of this member. */
  provers = 0;
  /** The member took its place from one that was connected: so many times in a row, the newest at this moment. */
  displacement: { readonly times: number; readonly at: number } | undefined;

  /** Undefined for members, and for registrations. */
  expectation: Expectation | undefined;
  /** It was let in by what it has said of an earlier log. */
  recovery: RecoveryClaim | undefined;

  // Its links, by its own reports. Peers are named by their ids.

  enteredAt = 0;
  /** When something last came from it on a session, or when it entered. */
  heardAt = 0;
  /** The links that are up, each with its attempt. */
  readonly up = new Map<Id, number>();
  /** The links that are down, and why. */
  readonly down = new Map<Id, LinkFailure>();
  /** Reported links with ids that the log has neither listed nor removed. */
  readonly unlisted = new Map<Id, UnlistedLink>();
  /** When the links with later members broke. */
  readonly brokenAt = new Map<Id, number>();
  /** How many of its pairs are attested. */
  attested = 0;
  /** It has resumed and not reported since: what is kept may be outdated. */
  isOutdated = false;

  readonly #changed: (record: MemberRecord) => void;
  #session: MemberSession | undefined;
  #removal: Removal | undefined;
  #replacedBy: MemberRecord | undefined;

  /** `changed` is called when it may be present, or may not be any more. */
  constructor(mesh: string, candidate: Candidate, changed: (record: MemberRecord) => void) {
    this.#changed = changed;
    this.mesh = mesh;
    this.candidate = candidate;
    this.isOnLoopback = isLoopback(endpointOf(candidate.address).host);
  }

  get id(): Id {
    return this.candidate.id;
  }

  get address(): Address {
    return this.candidate.address;
  }

  get dialect(): Dialect {
    return this.candidate.dialect;
  }

  /** Only for members that are listed. */
  get order(): number {
    return this.member?.order ?? this.expectation?.order ?? 0;
  }

  /** Its live session. */
  get session(): MemberSession | undefined {
    return this.#session;
  }

  set session(session: MemberSession | undefined) {
    this.#session = session;
    this.#changed(this);
  }

  /** Its removal, which this server wants; undefined while it may stay. */
  get removal(): Removal | undefined {
    return this.#removal;
  }

  set removal(removal: Removal | undefined) {
    this.#removal = removal;
    this.#changed(this);
  }

  /** The registration under way that takes its place. */
  get replacedBy(): MemberRecord | undefined {
    return this.#replacedBy;
  }

  set replacedBy(record: MemberRecord | undefined) {
    this.#replacedBy = record;
    this.#changed(this);
  }

  /** It is listed, and neither its removal nor its replacement is under way. */
  get isStanding(): boolean {
    return this.member !== undefined && this.#removal === undefined && this.#replacedBy === undefined;
  }

  /** It stands, and has a session. */
  get isPresent(): boolean {
    return this.isStanding && this.#session !== undefined;
  }

  get standing(): AddressHolder["standing"] {
    if (this.expectation !== undefined) return "expected";
    if (this.#session === undefined && (this.member === undefined || this.#removal !== undefined)) return "unanswered";
    if (this.member === undefined) return "joining";
    return this.#session === undefined && this.dialect === "native" ? "absent" : "member";
  }
}
