import { printable } from "../core/escaping.js";
import type { OutputSink } from "../core/machine.js";
import { earliest } from "../core/timer-table.js";
import type { Address } from "../protocol/address.js";
import { type Candidate, type Id, isClaimEntry, type Member, type MemberEntry } from "../protocol/directory.js";
import type { AddressRegistry } from "./address-registry.js";
import type { VerificationResult } from "./address-verifier.js";
import type { AdmissionVerdict } from "./admission.js";
import { Claims, type ClaimTotals, isClaimAnswer } from "./claims.js";
import type { ListBroadcaster } from "./classic/list-broadcaster.js";
import { CompletenessTracker, type LinkReport } from "./completeness.js";
import { CompletenessReporter, shortfallOf } from "./completeness-reporter.js";
import { FailureDetector } from "./failure-detector.js";
import type { MemberSession } from "./member-session.js";
import { Membership, type RejectedAppend } from "./membership.js";
import { LogBroadcaster } from "./native/log-broadcaster.js";
import type { MeshEndReason } from "./session-closer.js";
import { SharedAddressDetector } from "./shared-address-detector.js";
import type { AbsentMemberRow, LogAnswer, RendezvousOutput, RendezvousRules } from "./types.js";

/** What a mesh needs from its server. */
export interface MeshOptions {
  readonly name: string;
  readonly rules: RendezvousRules;
  /** The revision before the first entry of its log. */
  readonly revision: number;
  readonly addresses: AddressRegistry;
  readonly claimTotals: ClaimTotals;
  readonly listBroadcaster: ListBroadcaster;
  readonly outputs: OutputSink<RendezvousOutput>;
  /** Challenges a session of the waiting line to prove its address again. */
  readonly prove: (session: MemberSession) => void;
  /** Dials a member to see whether it still listens. */
  readonly check: (mesh: string, member: Member) => void;
}

/** The sessions that an entry has changed. */
export interface AppendResult {
  /** The session that has become a member's. */
  readonly newcomer?: MemberSession;
  /** The session of a member that has been removed. */
  readonly fenced?: MemberSession;
}

/** How a mesh is to end. */
export interface MeshEnd {
  readonly reason: string;
  /** It ends because it has not become whole in time. */
  readonly isTooLate: boolean;
}

/** One mesh: its members, their sessions, how complete it is, and when it ends. */
export class Mesh {
  readonly name: string;
  readonly membership: Membership;
  readonly logBroadcaster: LogBroadcaster;
  readonly claims: Claims;
  readonly #options: MeshOptions;
  readonly #completeness = new CompletenessTracker();
  readonly #failureDetector: FailureDetector;
  readonly #sharedAddresses: SharedAddressDetector;
  readonly #completenessReporter: CompletenessReporter;
  /** Sessions of classic members, which get every list. */
  readonly #classics = new Set<MemberSession>();
  /** When as many members as the capacity had a session for the first time. */
  #fullAt: number | undefined;
  /** Members that have gone since then, the newest last. */
  readonly #gone: AbsentMemberRow[] = [];
  #ending: MeshEndReason | undefined;
  #isHalted = false;

  constructor(options: MeshOptions) {
    const { name, rules, revision, addresses, claimTotals, outputs, prove, check } = options;
    this.name = name;
    this.#options = options;
    this.membership = new Membership({ mesh: name, rules, revision, addresses, outputs, prove });
    const { directory } = this.membership;
    this.logBroadcaster = new LogBroadcaster(rules.newId(), directory, rules.limits);
    this.claims = new Claims(name, rules.limits, directory, claimTotals, outputs);
    this.#failureDetector = new FailureDetector({
      limits: rules.limits,
      completeness: this.#completeness,
      member: (id) => this.membership.standing(id),
      check: (member) => check(name, member),
      lose: (id, reason) => this.membership.remove(id, "lost", reason),
    });
    this.#sharedAddresses = new SharedAddressDetector(rules.limits);
    const completeness = this.#completeness;
    this.#completenessReporter = new CompletenessReporter({
      mesh: name,
      rules,
      directory,
      completeness,
      logBroadcaster: this.logBroadcaster,
      outputs,
    });
  }

  /** How much is kept of it. */
  get size(): number {
    const { membership, logBroadcaster, claims } = this;
    return membership.size + logBroadcaster.size + claims.size + this.#failureDetector.size + this.#classics.size;
  }

  get hasEnded(): boolean {
    return this.#isHalted;
  }

  /** How it has ended, if it has. */
  get ending(): MeshEndReason | undefined {
    return this.#ending;
  }

  /** True while it has members, or appends under way, or an end that is due. */
  get hasMembersOrEnd(): boolean {
    const { directory, admission } = this.membership;
    const isAppending = admission.isAppending || this.claims.isAppending;
    return !this.#isHalted && (directory.size > 0 || isAppending || this.#finishAt !== undefined);
  }

  /** True when it may be forgotten: no members, no appends, no sessions, and no end that is due. */
  get isIdle(): boolean {
    return !this.hasMembersOrEnd && !this.#failureDetector.isHeard && !this.#isHalted;
  }

  /** The members that have a live session, in join order. */
  get present(): Member[] {
    return this.#completeness.members(true);
  }

  /** True when it has no session, and nobody answered at the addresses of its members. */
  get isDeserted(): boolean {
    return this.#mayBeForgotten && this.#failureDetector.isDeserted(this.membership.directory.size);
  }

  /** True when it has had no session for a lease. It is then forgotten: whoever comes back joins anew. */
  isAbandoned(now: number): boolean {
    const at = this.#forgetAt;
    return at !== undefined && at <= now;
  }

  get #forgetAt(): number | undefined {
    return this.#mayBeForgotten ? this.#failureDetector.forgetAt : undefined;
  }

  /** A full mesh ends by itself. One that has ended is kept, so that late members can be told of the end. */
  get #mayBeForgotten(): boolean {
    const isAppending = this.membership.isAppending || this.claims.isAppending;
    return !this.#isHalted && this.#finishAt === undefined && !isAppending;
  }

  // The way in.

  /** Handles a registration whose address needs no proof, or has been proved. */
  register(session: MemberSession, candidate: Candidate, now: number): AdmissionVerdict {
    const verdict = this.membership.register(session, candidate);
    if (verdict.type !== "refuse") this.#failureDetector.begin(session, now);
    const replaced = verdict.type === "admit" ? this.membership.directory.member(verdict.replaces ?? "") : undefined;
    // Another process has proved its address, so it does not count, even if it has a session.
    if (replaced !== undefined) this.#completeness.setAbsent(replaced);
    return verdict;
  }

  /** Handles a correction of a classic member's address. */
  correct(session: MemberSession, address: Address, now: number): AdmissionVerdict {
    this.#classics.delete(session);
    const corrected =
      session.state === "member" ? this.membership.directory.member(session.candidate?.id ?? "") : undefined;
    const verdict = this.membership.correct(session, address);
    // Its old entry is still to be removed, and its session is no longer that entry's.
    if (corrected !== undefined) this.#completeness.setAbsent(corrected);
    if (verdict.type !== "refuse") this.#failureDetector.begin(session, now);
    return verdict;
  }

  /** The member that may come back with this id, log and address; undefined if there is none. */
  returning({ id, address }: Candidate, log: Id): Member | undefined {
    const member = this.membership.standing(id);
    const isIt = member?.address === address && member.dialect === "native" && log === this.logBroadcaster.log;
    return isIt && !this.#isHalted ? member : undefined;
  }

  /** A session is to prove that this member is back. */
  proving(session: MemberSession, { id }: Member): void {
    this.#failureDetector.proving(session, id);
  }

  /** A member has come back on this session. Returns the session that it had, if that is still open. */
  resume(session: MemberSession, member: Member, revision: number, now: number): MemberSession | undefined {
    session.step("resumed");
    this.membership.admission.setAbsent(member, false);
    const older = this.#failureDetector.attach(member.id, session, now);
    if (older !== undefined) this.logBroadcaster.end(older);
    this.logBroadcaster.begin(session, member.order, revision);
    this.#completeness.setBack(member);
    return older;
  }

  /** An entry has come back from the log. */
  appended(answer: Extract<LogAnswer, { type: "appended" }>, now: number): AppendResult {
    const { entry } = answer;
    if (isClaimEntry(entry)) {
      // A log may tell an entry twice; it happens once.
      if (this.membership.directory.apply(entry)) this.logBroadcaster.add(entry);
      this.claims.appended(entry, answer.key, now);
      return {};
    }
    const changed = this.membership.appended(entry, answer.key);
    if (changed === undefined) return {};
    this.logBroadcaster.add(entry);
    this.claims.memberEntry(entry);
    const { removed, entered } = changed;
    const fenced = removed === undefined ? undefined : this.#remove(removed, now);
    if (entry.type === "replaced") this.#replaced(entry, fenced !== undefined, now);
    else if (removed !== undefined) this.#sharedAddresses.forget(removed.id);
    if (removed !== undefined) this.#noteGone(removed, entry);
    if (entered !== undefined) this.#enter(entered.member, entered.session, now);
    const newcomer = entered?.session;
    return { ...(newcomer === undefined ? {} : { newcomer }), ...(fenced === undefined ? {} : { fenced }) };
  }

  /** An append was rejected: what was held for it is free again. */
  rejected(answer: Extract<LogAnswer, { type: "rejected" }>, now: number): RejectedAppend | undefined {
    const { key, reason } = answer;
    if (isClaimAnswer(answer)) {
      this.claims.rejected(key, now);
      return undefined;
    }
    const result = this.membership.rejected(key, reason, now);
    for (const id of result?.replaced ?? []) this.#reviewPresence(id, now);
    return result;
  }

  /** A member whose place somebody else was to take is there again if it has a session, and watched if it has none. */
  #reviewPresence(id: Id, now: number): void {
    const member = this.membership.directory.member(id);
    if (member === undefined) return;
    if (this.membership.standing(id) === undefined) {
      this.#completeness.setAbsent(member);
    } else if (this.#failureDetector.has(id)) {
      this.#completeness.setThere(member);
    } else {
      this.membership.admission.setAbsent(member, true);
      this.#failureDetector.expect(member, now);
    }
  }

  /** Owes every classic member the newest list, because this newcomer is in it. */
  queueLists(newcomer: MemberSession, now: number): void {
    if (this.#classics.size > 0) this.#options.listBroadcaster.queueLists(this.#classics, newcomer, now);
  }

  // Sessions.

  /** A session is over. A native member whose session broke stays a member; all others leave the mesh. */
  depart(session: MemberSession, type: "left" | "lost", reason: string, now: number): void {
    this.#classics.delete(session);
    this.logBroadcaster.end(session);
    if (this.#isHalted) return;
    const mayComeBack = session.state === "member" && session.dialect === "native" && type === "lost";
    if (!mayComeBack) this.membership.depart(session, type, reason);
    const absent = this.#failureDetector.end(session, reason, now);
    if (absent !== undefined) this.membership.admission.setAbsent(absent, true);
    const member =
      session.state === "member" ? this.membership.directory.member(session.candidate?.id ?? "") : undefined;
    // An older session of a member that has come back is not the one that it has.
    if (member === undefined || this.#failureDetector.has(member.id)) return;
    this.#completeness.setAbsent(member);
    this.claims.departed(member.id);
  }

  report(session: MemberSession, report: LinkReport, now: number): void {
    // One that is about to be removed may stay, if the log rejects that.
    const member = this.membership.directory.member(session.candidate?.id ?? "");
    if (member !== undefined) this.#failureDetector.judge(this.#completeness.report(member, report, now), now);
  }

  /** The address of a member has been dialed, to see whether it is there. */
  checked(id: Id, found: VerificationResult["found"], detail: string, now: number): void {
    if (!this.#isHalted) this.#failureDetector.checked(id, found, detail, now);
  }

  /** A member of another mesh has proved the address of one that has no session here. */
  evict(id: Id, mesh: string): void {
    this.membership.remove(id, "lost", `its address belongs to a member of "${printable(mesh)}" now`);
  }

  /** Frees its addresses. Its log ends without an entry, because no member would read one; the owner gets events. */
  forget(now: number): void {
    this.claims.forget(now);
    const { addresses, outputs, rules } = this.#options;
    const mesh = this.name;
    const reason = `nobody of its mesh was heard for ${rules.limits.leaseMs / 1000} s`;
    for (const { id, address, order, dialect } of this.membership.directory.members) {
      addresses.free(address, id);
      if (this.#isHalted) continue;
      outputs.push({ type: "event", event: { type: "lost", mesh, id, address, order, dialect, reason } });
    }
  }

  // Completeness, and the end.

  /** Reviews what the last input has changed. Returns how the mesh ends, if it ends now. */
  review(now: number): MeshEnd | undefined {
    if (this.#isHalted) return undefined;
    this.#noteFull(now);
    this.#completenessReporter.review(now);
    const { isComplete } = this.#completenessReporter;
    if ((this.#endsAt ?? Number.POSITIVE_INFINITY) <= now) {
      const { finishMs } = this.#options.rules.limits;
      const reason = isComplete ? "capacity reached" : `not complete within ${finishMs / 1000} s`;
      return { reason, isTooLate: !isComplete };
    }
    this.membership.callNext(now);
    this.logBroadcaster.handleTimeout(now);
    return undefined;
  }

  /** Emits `teardown` with the state of the mesh, and ends it. The caller sends what this returns to the sessions. */
  end({ reason, isTooLate }: MeshEnd): MeshEndReason {
    const { rules, addresses, outputs } = this.#options;
    this.#completenessReporter.emitComplete();
    const { figures } = this.#completenessReporter;
    const { there } = this.#completeness;
    const missing = this.#completenessReporter.missing();
    const absent = this.#absent();
    const shortfall = shortfallOf({ there, wanted: rules.capacity, absent, ...missing });
    this.#ending = { reason, ...(isTooLate ? { incomplete: shortfall } : {}) };
    outputs.push({
      type: "event",
      event: { type: "teardown", mesh: this.name, ...this.#ending, ...figures, ...missing, absent },
    });
    if (isTooLate || missing.count > 0) {
      outputs.push({ type: "note", note: { code: "INCOMPLETE", message: shortfall } });
    }
    this.logBroadcaster.finish();
    this.halt();
    for (const { address, id } of this.membership.directory.members) addresses.free(address, id);
    return this.#ending;
  }

  /** From now on the mesh does not change, and admits nobody. */
  halt(): void {
    this.#isHalted = true;
    this.membership.admission.seal();
    this.#failureDetector.stop();
  }

  nextTimeout(): number | undefined {
    if (this.#isHalted) return undefined;
    return earliest(
      this.logBroadcaster.nextTimeout(),
      this.membership.nextTimeout(),
      this.claims.nextTimeout(),
      this.#failureDetector.nextTimeout(),
      this.#completenessReporter.nextTimeout(),
      this.#forgetAt,
      this.#endsAt,
    );
  }

  handleTimeout(now: number): void {
    if (this.#isHalted) return;
    this.#failureDetector.handleTimeout(now);
    this.membership.handleTimeout(now);
    this.claims.handleTimeout(now);
    this.#completenessReporter.handleTimeout(now);
  }

  #enter(member: Member, session: MemberSession | undefined, now: number): void {
    this.#completeness.enter(member, session !== undefined, now);
    if (session === undefined) {
      // Another writer has appended it: it has one lease to show itself here.
      if (member.dialect === "native" && this.membership.standing(member.id) !== undefined)
        this.#reviewPresence(member.id, now);
      return;
    }
    if (member.dialect === "classic") {
      this.#classics.add(session);
      return;
    }
    this.#failureDetector.attach(member.id, session, now);
    this.logBroadcaster.begin(session, member.order);
  }

  /** Two members that replace each other again and again while connected share one address. */
  #replaced(
    { replaces, id, address }: Extract<MemberEntry, { type: "replaced" }>,
    wasConnected: boolean,
    now: number,
  ): void {
    const times = this.#sharedAddresses.replaced(replaces, wasConnected, id, now);
    if (times === 0) return;
    const message = `${times} times in a row somebody else has proved it while the member that had it was connected`;
    this.#options.outputs.push({ type: "note", note: { code: "ADDRESS_SHARED", message, remote: address } });
  }

  #remove(member: Member, now: number): MemberSession | undefined {
    const session = this.#failureDetector.remove(member.id);
    this.#failureDetector.judge(this.#completeness.remove(member, now), now);
    if (session !== undefined) this.logBroadcaster.end(session);
    return session;
  }

  #noteFull(now: number): void {
    const { there } = this.#completeness;
    const { rules, outputs } = this.#options;
    if (this.#fullAt !== undefined || there < rules.capacity) return;
    this.#fullAt = now;
    outputs.push({ type: "event", event: { type: "full", mesh: this.name, members: there } });
  }

  /** Remembers who left a mesh that has been full, for the report at its end. */
  #noteGone({ address }: Member, entry: MemberEntry): void {
    if (this.#fullAt === undefined || (entry.type !== "left" && entry.type !== "lost")) return;
    this.#gone.push([address, `${entry.type}: ${entry.reason}`]);
    if (this.#gone.length > this.#options.rules.limits.namedPairs) this.#gone.shift();
  }

  /** Listed members without a session, and the newest of those who have gone and whose slots are empty. */
  #absent(): AbsentMemberRow[] {
    const { directory } = this.membership;
    const listed = this.#completeness.members(false).map(({ id, address }): AbsentMemberRow => {
      return [address, `no session: ${this.#failureDetector.whyAbsent(id) ?? "it goes"}`];
    });
    const emptySlots = this.#finishAt === undefined ? 0 : this.#options.rules.capacity - directory.size;
    const addresses = new Set(directory.members.map(({ address }) => address));
    const gone = emptySlots > 0 ? this.#gone.filter(([address]) => !addresses.has(address)).slice(-emptySlots) : [];
    return [...listed, ...gone].slice(0, this.#options.rules.limits.namedPairs);
  }

  /** By when a mesh that ends at its capacity must be whole; undefined before it has been full. */
  get #finishAt(): number | undefined {
    const { onFull, limits } = this.#options.rules;
    return this.#fullAt === undefined || onFull === "hold" ? undefined : this.#fullAt + limits.finishMs;
  }

  /** When it ends: once it is complete, and members that cannot report their links have had time to make them. */
  get #endsAt(): number | undefined {
    const { rules, listBroadcaster } = this.#options;
    if (this.#fullAt === undefined || this.#finishAt === undefined || !this.#completenessReporter.isComplete)
      return this.#finishAt;
    const needsTime = this.membership.admission.classicMembers > 1 || this.#completeness.natives === 0;
    return needsTime ? Math.max(this.#fullAt, listBroadcaster.lastListAt) + rules.limits.settleMs : this.#fullAt;
  }
}
