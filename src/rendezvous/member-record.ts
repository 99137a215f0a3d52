import { isOnThisMachine } from "../core/connections.js";
import { type Address, endpointOf } from "../protocol/address.js";
import type { Candidate, Dialect, Id, Member } from "../protocol/directory.js";
import type { LinkFailure } from "../protocol/missing-pair.js";
import type { AddressHolder } from "./address-registry.js";
import type { MemberSession, RecoveryClaim } from "./member-session.js";

/** A member of an earlier log that others have named, and that has not come back. */
export interface Expectation {
  /** As others have it: for people only. */
  readonly order: number;
  readonly since: number;
  /** Somebody has said that it has ended: it holds no slot, and nobody waits for it. */
  isDoubted: boolean;
  /** Its lease has run out: it stays only while a member reports a link with it. */
  isOverdue: boolean;
  /** How its address has refused a dial, which ends its lease; of a member on a local socket. */
  refusal: string | undefined;
}

/** A removal that this server wants. */
export interface Removal {
  readonly type: "left" | "lost";
  readonly id: Id;
  readonly reason: string;
}

/** What is known of a member without a session. */
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
  /** Servers share the log, and a dial has found it since its time was last over: that is worth one more lease. */
  isFound: boolean;
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

/** A link that its end reports as up, or as down, since `at`. */
export interface ReportedUp {
  readonly attempt: number;
  readonly at: number;
}
export interface ReportedDown extends LinkFailure {
  readonly at: number;
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
  /** The links that are up, each with its attempt; `at`: since when it says so. */
  readonly up = new Map<Id, ReportedUp>();
  /** The links that are down, and why; `at`: since when it says so. */
  readonly down = new Map<Id, ReportedDown>();
  /** Reported links with ids that the log has neither listed nor removed. */
  readonly unlisted = new Map<Id, UnlistedLink>();
  /** When the links with later members broke. */
  readonly brokenAt = new Map<Id, number>();
  /** How many of its pairs are attested. */
  attested = 0;
  /** It has resumed and not reported since: what is kept may be outdated. */
  isOutdated = false;

  // Where it has its session, among servers that share the log.

  /** The number of its newest attachment. */
  attachment = 0;
  /** The life of the server that has its newest session, or had it; undefined if that is not known. */
  server: Id | undefined;
  /** Its newest session is over, by the word of its server. */
  isDetached = true;
  /** That server is another one, and is there: it judges this member, unless it is late. */
  isServerThere = false;
  /** Nothing comes of that server at the moment. */
  isServerLate = false;
  /** This server has published that it has a session here, and that has not come back. */
  isAttaching = false;
  /** The attachment of which this server has published that it is over. */
  detaching: number | undefined;
  /** It has reported on its session here, and that has not been published. */
  isReportDue = false;

  readonly #changed: (record: MemberRecord) => void;
  #session: MemberSession | undefined;
  #removal: Removal | undefined;
  #replacedBy: MemberRecord | undefined;

  /** `changed` is called when it may be present, or may not be any more. */
  constructor(mesh: string, candidate: Candidate, changed: (record: MemberRecord) => void) {
    this.#changed = changed;
    this.mesh = mesh;
    this.candidate = candidate;
    this.isOnLoopback = isOnThisMachine(endpointOf(candidate.address));
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

  /**
   * It has its session at another server, which is there. It counts as present while that server is late: a pause of a server
   * breaks no link, and who has a link with a member that is gone reports so. `complete` would flap with every pause otherwise.
   */
  get isElsewhere(): boolean {
    return this.isServerThere && !this.isDetached;
  }

  /** It has a session here, or at another server that is there. */
  get isAttached(): boolean {
    return this.#session !== undefined || this.isElsewhere;
  }

  /** It has a session here, or at another server that would say if it broke. */
  get isWatched(): boolean {
    return this.#session !== undefined || (this.isElsewhere && !this.isServerLate);
  }

  /** Another server judges it. */
  get isJudgedElsewhere(): boolean {
    return this.isServerThere && !this.isServerLate;
  }

  /** It stands, and has a session. */
  get isPresent(): boolean {
    return this.isStanding && this.isAttached;
  }

  /** Its newest session is at this server, which may be another one and there, and late; `isDetached`: it is over. */
  locate(
    server: Id | undefined,
    attachment: number,
    isDetached: boolean,
    isServerThere: boolean,
    isServerLate: boolean,
  ): void {
    this.server = server;
    this.attachment = attachment;
    this.isDetached = isDetached;
    this.isServerThere = isServerThere;
    this.isServerLate = isServerLate;
    this.#changed(this);
  }

  get standing(): AddressHolder["standing"] {
    if (this.expectation !== undefined) return "expected";
    if (!this.isAttached && (this.member === undefined || this.#removal !== undefined)) return "unanswered";
    if (this.member === undefined) return "joining";
    return !this.isAttached && this.dialect === "native" ? "absent" : "member";
  }
}
