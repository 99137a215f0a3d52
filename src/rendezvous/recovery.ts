import type { Limits } from "../core/limits.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import { type Address, isLocal } from "../protocol/address.js";
import type { Id, Member } from "../protocol/directory.js";
import type { ControlOf } from "../protocol/native/control.js";
import type { VerificationResult } from "./address-verifier.js";
import type { CompletenessTracker } from "./completeness-tracker.js";
import type { MemberRecord } from "./member-record.js";
import type { MemberSession, RecoveryClaim, Verification } from "./member-session.js";
import type { Members } from "./members.js";
import type { Membership } from "./membership.js";
import type { SharingServers } from "./sharing-servers.js";
import type { RendezvousEvent } from "./types.js";

/**
 * What becomes of a part of what a member knows: more is to come, or it was the last; no member may say so much; or all that is
 * being read at the moment is too much.
 */
export type KnownPart = "more" | "last" | "tooMany" | "full";

/**
 * Learns a mesh from its members, whose log this server does not have: it was started again, or has forgotten the mesh.
 *
 * Each member that comes back says who it was, whom it knows, and who has ended. Those whom others name are expected for a
 * lease: they hold their slots, and the mesh is not complete without them. Nobody else's word lets a member in, and one
 * member's word alone removes none.
 *
 * One on a local socket is dialed when it has not come back for a while: where nobody listens, its process is gone. Over a
 * network nobody is: then one member could make this server dial whom it likes.
 */
export class Recovery {
  readonly #limits: Limits;
  readonly #mostExpected: number;
  readonly #members: Members;
  readonly #servers: SharingServers;
  readonly #membership: Membership;
  readonly #completeness: CompletenessTracker;
  /** When the lease of each expected member ends. */
  readonly #leases: KeyedTimers<Id>;
  /** When each expected member on a local socket is dialed, and the dials that the review of the mesh will begin. */
  readonly #looks: KeyedTimers<Id>;
  #checks: Verification[] = [];
  /** By when a second member must have said that an id which is there has ended. */
  readonly #disputes: KeyedTimers<Id>;
  /** By when each session must have said whom it knows; and those that have not. */
  readonly #readings: KeyedTimers<MemberSession>;
  readonly #overdue = new Set<MemberSession>();
  /** Newcomers that wait until the first member of an earlier log is back, or has had the time for it. */
  readonly #held = new Set<MemberSession>();
  /** The rows of what is being read, by what they say, and how many sessions have named each. */
  readonly #rows = new Map<string, { readonly member: Member; namedBy: number }>();
  /** How many ids those have said to have ended whose words do not count yet. */
  #goneRead = 0;
  /** Whether more was said than is taken in, and whether the owner knows that. */
  #excess: "none" | "new" | "reported" = "none";
  /** Ids that one member has said to have ended, and which member. */
  readonly #goneWords = new Map<Id, Id>();
  /** Members that were named, and whose addresses others have proved in this log, by these addresses. */
  readonly #displaced = new Map<Address, Map<Id, Member>>();
  #displacedCount = 0;
  /** When the log has begun: with the first session. */
  #startedAt: number | undefined;
  #returned = 0;
  /** Its log is that of other servers, too: members of an earlier one need not come first. */
  #isEstablished = false;
  /** The addresses of those that were named and have not come back since it was last said how many are awaited. */
  readonly #awaited = new Map<Id, Address>();
  #isGatheringKnown = false;

  constructor(
    limits: Limits,
    mostExpected: number,
    servers: SharingServers,
    membership: Membership,
    completeness: CompletenessTracker,
    timers: Pick<Timers, "keyed">,
  ) {
    this.#limits = limits;
    this.#mostExpected = mostExpected;
    this.#servers = servers;
    this.#membership = membership;
    this.#members = membership.members;
    this.#completeness = completeness;
    this.#leases = timers.keyed((id) => this.leaseEnded(id));
    this.#looks = timers.keyed((id) => this.#look(id));
    this.#disputes = timers.keyed((id, now) => this.#disputeEnded(id, now));
    this.#readings = timers.keyed((session) => this.#overdue.add(session));
  }

  get size(): number {
    const heard = this.#goneWords.size + this.#members.expected.size + this.#displacedCount;
    return heard + this.#rows.size + this.#goneRead;
  }

  /**
   * True while members of an earlier log are awaited, for two leases from the beginning of the log at most: within the first
   * one a member may come by its own word, and has a lease then to name others.
   */
  isGathering(now: number): boolean {
    return (this.#members.awaited > 0 || this.#members.readers > 0) && now < this.#gathersUntil;
  }

  /** What the owner must know of it: that it has begun, or is over. */
  report(now: number): Extract<RendezvousEvent, { type: "gathering" | "gathered" }> | undefined {
    const isGathering = this.isGathering(now) && this.#returned > 0;
    if (isGathering === this.#isGatheringKnown) return undefined;
    this.#isGatheringKnown = isGathering;
    const { mesh, awaited: expected } = this.#members;
    if (isGathering) return { type: "gathering", mesh, back: this.#returned, expected };
    const missing = [...this.#awaited.values()];
    this.#awaited.clear();
    return { type: "gathered", mesh, back: this.#returned, missing };
  }

  /** True while newcomers that have waited at another server wait for its members: these are awaited, or may still come. */
  comesFirst(now: number): boolean {
    return this.isGathering(now) || (this.#returned === 0 && !this.#isEstablished && this.#isYoung(now));
  }

  /** Lets a newcomer wait that was looking for this server, as members do that may not have found it yet. Returns whether it has to. */
  hold(session: MemberSession, now: number): boolean {
    if (!this.#isHolding(now)) return false;
    this.#held.add(session);
    return true;
  }

  /** The newcomers that have waited for long enough, each once. */
  release(now: number): MemberSession[] {
    if (this.#held.size === 0 || this.#isHolding(now)) return [];
    const released = [...this.#held];
    this.#held.clear();
    return released;
  }

  /** Until when newcomers wait; undefined while none does. */
  get holdsUntil(): number | undefined {
    return this.#held.size === 0 ? undefined : (this.#startedAt ?? 0) + this.#limits.newcomerHoldMs;
  }

  #isHolding(now: number): boolean {
    return this.#returned === 0 && !this.#isEstablished && now < (this.#startedAt ?? now) + this.#limits.newcomerHoldMs;
  }

  /** When time alone changes whether members are awaited, or may still come. */
  reviewAt(now: number): number | undefined {
    if (this.#isYoung(now)) return this.#startedAt === undefined ? undefined : this.#youngUntil;
    return this.isGathering(now) ? this.#gathersUntil : undefined;
  }

  get #youngUntil(): number {
    return (this.#startedAt ?? 0) + this.#limits.leaseMs;
  }

  get #gathersUntil(): number {
    return this.#youngUntil + this.#limits.leaseMs;
  }

  /** A session has begun. */
  begin(now: number): void {
    this.#startedAt ??= now;
  }

  /** The log had members before this server was there, or another server lets newcomers in. */
  setEstablished(): void {
    this.#isEstablished = true;
  }

  /** The store is there again: all leases begin anew. */
  resume(now: number): void {
    for (const { id, expectation } of this.#members.expected) {
      if (expectation !== undefined) expectation.isOverdue = false;
      this.#leases.set(id, now + this.#limits.leaseMs);
    }
  }

  /** Whether a member of an earlier log may come back with this id; otherwise it has to join anew. */
  isWelcome(id: Id, now: number): boolean {
    if (this.#membership.isRemoved(id)) return false;
    return this.#isYoung(now) || this.#members.get(id)?.expectation !== undefined;
  }

  /** A member has proved its address, and says whom it knows, within a bounded time. */
  beginReading(session: MemberSession, now: number): void {
    session.step("recovering");
    this.#members.readers += 1;
    this.#readings.set(session, now + this.#limits.handshakeMs);
  }

  /** The session is over, or has said everything. */
  endReading(session: MemberSession): void {
    this.#held.delete(session);
    if (session.state !== "recovering") return;
    this.#members.readers -= 1;
    this.#readings.clear(session);
    this.#overdue.delete(session);
    for (const member of session.recovery?.known ?? []) {
      const key = rowOf(member);
      const row = this.#rows.get(key);
      if (row === undefined) continue;
      row.namedBy -= 1;
      if (row.namedBy === 0) this.#rows.delete(key);
    }
  }

  /** What it has said does not count, or has been heard. */
  forget(claim: RecoveryClaim): void {
    this.#goneRead -= claim.gone.length;
    claim.gone.length = 0;
    claim.known.length = 0;
  }

  /** True once: more was said than is taken in, and the excess is ignored. */
  takeExcess(): boolean {
    if (this.#excess !== "new") return false;
    this.#excess = "reported";
    return true;
  }

  #noteExcess(): void {
    if (this.#excess === "none") this.#excess = "new";
  }

  /** The sessions that have not said everything in time. */
  get overdue(): Iterable<MemberSession> {
    return this.#overdue;
  }

  /**
   * Keeps a part of what a member knows. Many say the same: each row is kept once. Of the rows that nobody else has named one
   * member has as many kept as a mesh may have members, because no more are expected: so one alone does not fill the room.
   */
  read(claim: RecoveryClaim, part: ControlOf<"known">): KnownPart {
    const { directoryMembers } = this.#limits;
    const { known, gone } = claim;
    claim.rows += part.members.length;
    if (claim.rows > directoryMembers) return "tooMany";
    for (const member of part.members) {
      const key = rowOf(member);
      let row = this.#rows.get(key);
      if (row === undefined) {
        if (claim.ownRows >= this.#mostExpected) {
          this.#noteExcess();
          continue;
        }
        if (this.#rows.size >= directoryMembers) return "full";
        row = { member, namedBy: 0 };
        this.#rows.set(key, row);
        claim.ownRows += 1;
      }
      row.namedBy += 1;
      known.push(row.member);
    }
    if (gone.length + part.gone.length > directoryMembers) return "tooMany";
    // All together say no more than one may: most of them say the same.
    const room = Math.max(0, directoryMembers - this.#goneRead);
    if (part.gone.length > room) this.#noteExcess();
    for (const id of part.gone.slice(0, room)) gone.push(id);
    this.#goneRead += Math.min(room, part.gone.length);
    return part.more === true ? "more" : "last";
  }

  /** A member of an earlier log is listed again: what it has said counts. */
  returned(record: MemberRecord, now: number): void {
    const { recovery, id } = record;
    this.#returned += 1;
    this.#awaited.delete(id);
    this.#leases.clear(id);
    this.#looks.clear(id);
    if (this.#goneWords.has(id)) this.#disputes.set(id, now + this.#limits.leaseMs);
    if (recovery === undefined) return;
    for (const gone of recovery.gone) this.#hearGone(gone, record, now);
    for (const member of recovery.known) this.#hearMember(member, now);
    this.forget(recovery);
  }

  /** A member that was let in is expected again, because the log has rejected it. */
  expectAgain({ id }: MemberRecord, now: number): void {
    this.#leases.set(id, now + this.#limits.leaseMs);
  }

  /** The lease of an expected member has run out. */
  leaseEnded(id: Id): void {
    const record = this.#members.get(id);
    if (record?.expectation !== undefined) record.expectation.isOverdue = true;
  }

  /** Nobody else has said that an id has ended that is there: whoever has said it is not to be trusted. */
  #disputeEnded(id: Id, now: number): void {
    const speaker = this.#members.get(this.#goneWords.get(id) ?? "");
    this.#goneWords.delete(id);
    if (this.#members.get(id)?.member === undefined || speaker?.member === undefined) return;
    this.#membership.remove(speaker, "lost", `it has said that ${id} has ended, and nobody else has`, now);
  }

  /** Removes the expected ones that are overdue, and that nobody reports a link with. While the store is away nobody can come back. */
  review(now: number): void {
    if (!this.#servers.isStoreThere) return;
    for (const record of this.#members.expected) {
      if (record.expectation?.isOverdue !== true || this.#completeness.isHeld(record.id)) continue;
      const why = record.expectation.refusal ?? `not back within ${this.#limits.leaseMs / 1000} s`;
      this.#membership.remove(record, "lost", why, now);
    }
  }

  #look(id: Id): void {
    const record = this.#members.get(id);
    if (record?.expectation !== undefined) this.#checks.push({ mesh: record.mesh, id, address: record.address });
  }

  /** The dials that are to begin now. */
  takeChecks(): readonly Verification[] {
    const checks = this.#checks;
    if (checks.length > 0) this.#checks = [];
    return checks;
  }

  /** The address of an expected member has been dialed. */
  checked({ expectation }: MemberRecord, { found, detail }: VerificationResult): void {
    if (expectation === undefined || found !== "other") return;
    expectation.isOverdue = true;
    expectation.refusal = detail;
  }

  #isYoung(now: number): boolean {
    return this.#startedAt === undefined || now < this.#youngUntil;
  }

  /**
   * Nobody has this address any more. A directory does not name whoever had it (`wasListed`), so it does not show either that
   * those have ended who were named at it: they are expected now, or cannot come back any more, and are gone.
   */
  addressFreed(address: Address, wasListed: boolean, now: number): void {
    const displaced = this.#displaced.get(address);
    if (displaced === undefined || this.#membership.isProved(address)) return;
    this.#displaced.delete(address);
    this.#displacedCount -= displaced.size;
    for (const member of displaced.values()) {
      const { id } = member;
      if (!wasListed || this.#isYoung(now)) this.#hearMember(member, now);
      else if (this.#members.get(id) === undefined && !this.#completeness.isHeld(id)) this.#members.noteGone(id);
    }
  }

  /** Somebody else has proved its address: whoever reads the entry of that one takes it for gone. */
  #displace(member: Member): void {
    const { id, address } = member;
    const displaced = this.#displaced.get(address) ?? new Map<Id, Member>();
    if (displaced.has(id)) return;
    if (this.#displacedCount >= this.#mostExpected) {
      this.#noteExcess();
      return;
    }
    this.#displaced.set(address, displaced.set(id, member));
    this.#displacedCount += 1;
  }

  #hearMember(member: Member, now: number): void {
    const { order, ...named } = member;
    const { id, address } = named;
    // Whoever names it may have missed that this log has removed it.
    if (this.#membership.isRemoved(id)) this.#members.noteGone(id);
    if (this.#members.get(id) !== undefined || this.#membership.isRemoved(id)) return;
    if (this.#membership.isProved(address)) {
      this.#displace(member);
      return;
    }
    if (this.#members.expected.size >= this.#mostExpected) {
      this.#noteExcess();
      return;
    }
    const record = this.#membership.expect({ ...named, dialect: "native" }, order, now);
    if (this.#goneWords.has(id)) this.#members.doubt(record);
    this.#leases.set(id, now + this.#limits.leaseMs);
    if (isLocal(address)) this.#looks.set(id, now + this.#limits.recheckMs);
    this.#awaited.set(id, address);
  }

  /** One member has said that an id has ended. Two must say so of one that is there. */
  #hearGone(id: Id, by: MemberRecord, now: number): void {
    if (id === by.id || this.#membership.isRemoved(id)) return;
    const speaker = this.#goneWords.get(id);
    const record = this.#members.get(id);
    if (speaker === undefined) {
      if (this.#goneWords.size >= this.#limits.tombstones) {
        this.#noteExcess();
        return;
      }
      this.#goneWords.set(id, by.id);
      if (record?.expectation !== undefined) this.#members.doubt(record);
      if (record?.member !== undefined) this.#disputes.set(id, now + this.#limits.leaseMs);
    } else if (speaker !== by.id && record !== undefined) {
      this.#goneWords.delete(id);
      this.#disputes.clear(id);
      this.#membership.remove(record, "lost", "two members say that it has ended", now);
    }
  }
}

function rowOf({ id, order, address }: Member): string {
  return `${id} ${order} ${address}`;
}
