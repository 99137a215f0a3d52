import { printable } from "../core/escaping.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import type { Address } from "../protocol/address.js";
import {
  type Candidate,
  type Change,
  type ClaimEntry,
  type Directory,
  entryOf,
  type Id,
  isClaimEntry,
  type Member,
  type MemberEntry,
} from "../protocol/directory.js";
import { encodeControl } from "../protocol/native/control.js";
import type { Departure } from "../protocol/status.js";
import type { AddressRegistry } from "./address-registry.js";
import type { VerificationResult } from "./address-verifier.js";
import type { AdmissionVerdict } from "./admission.js";
import { Attachments } from "./attachments.js";
import { ClaimRegistry, type ClaimTotals, isClaimAnswer } from "./claim-registry.js";
import { CompletenessReporter, shortfallOf } from "./completeness-reporter.js";
import { CompletenessTracker, type LinkReport } from "./completeness-tracker.js";
import { FailureDetector } from "./failure-detector.js";
import { LeaderTracker } from "./leader-tracker.js";
import type { MemberRecord } from "./member-record.js";
import type { MemberSession, RecoveryClaim, Verification } from "./member-session.js";
import type { Members } from "./members.js";
import { Membership, type RefusedSession, type RejectedAppend } from "./membership.js";
import { LogBroadcaster } from "./native/log-broadcaster.js";
import { Recovery } from "./recovery.js";
import type { MeshEndReason } from "./session-closer.js";
import type { SharingServers } from "./sharing-servers.js";
import type {
  AbsentMemberRow,
  LogAnswer,
  LogState,
  MeshTimer,
  RejectionReason,
  RendezvousOutput,
  RendezvousRules,
  SharedLogInput,
} from "./types.js";

const excess = "more members, or ids that have ended, are named than a mesh may have; what is too much is ignored";

/** The sessions that an entry has changed. */
export interface ChangedSessions {
  /** The session that has become a member's. */
  readonly newcomer?: MemberSession | undefined;
  /** The session of a member that has been removed. */
  readonly fenced?: MemberSession | undefined;
}

/** What has become of an append of this server that a state of the log covers. */
type RestoredAnswer = Extract<SharedLogInput, { type: "restored" }>["answers"][number];

/** What follows from a log that was read anew. */
export interface RestoredSessions {
  readonly changed: readonly ChangedSessions[];
  readonly rejected: readonly RejectedAppend[];
}

/** How a mesh is to end. */
export interface MeshEnd {
  readonly reason: string;
  /** `release`: the server leaves it to its members. `tooLate`: it has not become whole in time. */
  readonly kind: "teardown" | "release" | "tooLate";
  /** What it lacks, by the server that found it so. */
  readonly incomplete?: string;
}

/** What has become due in a mesh. */
export interface MeshReview {
  /** How it ends, if it ends now. */
  readonly end?: MeshEnd;
  /** Sessions of the waiting line that have to prove their addresses again. */
  readonly called: readonly MemberSession[];
  /** Dials to the addresses of members whose sessions broke. */
  readonly checks: readonly Verification[];
  /** Newcomers that were held, and are let in now. */
  readonly released: readonly MemberSession[];
  /** Sessions that the log has kept waiting for too long. */
  readonly refused: readonly RefusedSession[];
}

/** One mesh: its members, their sessions, how complete it is, and when it ends. */
export class Mesh {
  readonly name: string;
  readonly membership: Membership;
  readonly members: Members;
  readonly logBroadcaster: LogBroadcaster;
  readonly claims: ClaimRegistry;
  readonly #rules: RendezvousRules;
  readonly attachments: Attachments;
  readonly #addresses: AddressRegistry;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #timers: KeyedTimers<MeshTimer>;
  readonly completeness: CompletenessTracker;
  readonly #failureDetector: FailureDetector;
  readonly #completenessReporter: CompletenessReporter;
  readonly recovery: Recovery;
  readonly #leaderTracker: LeaderTracker;
  /** When as many members as the capacity had a session for the first time. */
  #fullAt: number | undefined;
  /** Members that have gone since then, the newest last. */
  readonly #gone: AbsentMemberRow[] = [];
  /** The newest members that have gone, for those who look; the newest last. */
  readonly departures: Departure[] = [];
  #ending: MeshEndReason | undefined;
  #isAnswerDue = false;
  #isHalted = false;
  /** Its log has been read, where servers share it. */
  #isLogRead = false;
  /** When its end, or that it is forgotten, was last published. */
  #endPublishedAt = Number.NEGATIVE_INFINITY;
  /** Who has said to hold a revision that this log had not come to, and since when that is so. */
  readonly #ahead = new Map<Id, { readonly revision: number; readonly since: number }>();

  /** `revision`: the one before the first entry. `touched`: the meshes that will be reviewed. */
  constructor(
    name: string,
    revision: number,
    rules: RendezvousRules,
    servers: SharingServers,
    addresses: AddressRegistry,
    claimTotals: ClaimTotals,
    outputs: OutputSink<RendezvousOutput>,
    timers: Timers,
    touched: Set<Mesh>,
  ) {
    this.name = name;
    this.#rules = rules;
    this.#addresses = addresses;
    this.#outputs = outputs;
    // Whatever becomes due in the mesh is followed by a review.
    const own: Pick<Timers, "keyed"> = {
      keyed: (onDue) =>
        timers.keyed((key, now) => {
          touched.add(this);
          onDue(key, now);
        }),
    };
    this.#timers = own.keyed((timer, now) => this.#due(timer, now));
    this.membership = new Membership(name, revision, rules, addresses, outputs, this.#timers);
    this.members = this.membership.members;
    this.completeness = new CompletenessTracker(this.members, rules.limits, (id) => this.membership.isRemoved(id));
    const { capacity, limits } = rules;
    this.#failureDetector = new FailureDetector(limits, servers, this.membership, this.completeness, own);
    // Members of an earlier log are let in beyond the capacity, and so there may have been more than that.
    const mostExpected = Number.isFinite(capacity) ? Math.max(capacity, limits.membersPerMesh) : limits.membersPerMesh;
    this.recovery = new Recovery(limits, mostExpected, servers, this.membership, this.completeness, own);
    this.#leaderTracker = new LeaderTracker(limits, this.members, this.#timers);
    const { sessions } = this.#failureDetector;
    const { directory } = this.members;
    this.claims = new ClaimRegistry(name, rules.limits, servers, directory, claimTotals, outputs, this.#timers);
    this.logBroadcaster = new LogBroadcaster(
      rules.newId(),
      directory,
      this.members.goneOfEarlierLogs,
      sessions,
      servers,
      rules.limits,
      this.#timers,
    );
    this.attachments = new Attachments(
      limits,
      servers,
      this.membership,
      this.completeness,
      this.#failureDetector,
      this.claims,
      outputs,
      own,
    );
    this.#completenessReporter = new CompletenessReporter(
      rules,
      servers,
      this.members,
      this.completeness,
      this.logBroadcaster,
      outputs,
      this.#timers,
    );
  }

  /** How much is kept of it. */
  get size(): number {
    const { membership, logBroadcaster, claims, recovery } = this;
    return membership.size + logBroadcaster.size + claims.size + recovery.size + this.#failureDetector.size;
  }

  get hasEnded(): boolean {
    return this.#isHalted;
  }

  get isComplete(): boolean {
    return this.#completenessReporter.isComplete;
  }

  /** How it has ended, if it has. */
  get ending(): MeshEndReason | undefined {
    return this.#ending;
  }

  /** Its sessions, those in line included. */
  get sessions(): ReadonlySet<MemberSession> {
    return this.#failureDetector.sessions;
  }

  /** True once its log has been read from the store that servers share: it is forgotten at all of them, or at none. */
  get isLogRead(): boolean {
    return this.#isLogRead;
  }

  /** True while it has members, or appends under way, or an end that is due. */
  get hasMembersOrEnd(): boolean {
    return !this.#isHalted && (this.members.size > 0 || this.claims.isAppending || this.#finishAt !== undefined);
  }

  /** True when it may be forgotten: no members, no appends, no sessions, and no end that is due. */
  get isIdle(): boolean {
    return !this.hasMembersOrEnd && !this.#failureDetector.isHeard && !this.#isHalted;
  }

  /** The members that have a live session, in join order. */
  get present(): Member[] {
    return this.members.directory.members.filter(({ id }) => this.members.get(id)?.isPresent === true);
  }

  /** True when it has no session, and nobody answered at the addresses of its members. */
  get isDeserted(): boolean {
    return this.#mayBeForgotten && this.#failureDetector.isDeserted;
  }

  /** True when it has had no session for a lease. It is then forgotten: whoever comes back joins anew. */
  isAbandoned(now: number): boolean {
    const at = this.#forgetAt;
    return at !== undefined && at <= now;
  }

  get #forgetAt(): number | undefined {
    const at = this.#mayBeForgotten ? this.#failureDetector.forgetAt : undefined;
    return at === undefined ? undefined : Math.max(at, this.#publishAgainAt);
  }

  get #publishAgainAt(): number {
    return this.#endPublishedAt + this.#rules.limits.logAnswerMs;
  }

  /** A full mesh ends by itself. One that has ended is kept, so that late members are sent the end. */
  get #mayBeForgotten(): boolean {
    const isAppending = this.membership.isAppending || this.claims.isAppending;
    return !this.#isHalted && this.#finishAt === undefined && !isAppending;
  }

  // The way in.

  /** Handles a registration whose address needs no proof, or has been proved. */
  register(session: MemberSession, candidate: Candidate, now: number): AdmissionVerdict {
    const verdict = this.membership.register(session, candidate, now);
    if (verdict.type !== "refuse") this.#begin(session, now);
    return verdict;
  }

  /** A newcomer that was looking for this server waits for members of an earlier log. Returns whether it has to. */
  hold(session: MemberSession, now: number): boolean {
    if (!this.recovery.hold(session, now)) return false;
    this.#begin(session, now);
    return true;
  }

  /** A member of an earlier log has proved its address, and says whom it knows. */
  beginRecovery(session: MemberSession, now: number): void {
    this.#begin(session, now);
    this.recovery.beginReading(session, now);
  }

  /** It has said so, and is listed again. */
  recover(session: MemberSession, claim: RecoveryClaim, now: number): AdmissionVerdict | undefined {
    this.recovery.endReading(session);
    const verdict = this.membership.recover(session, claim, now);
    if (verdict?.type !== "admit") this.recovery.forget(claim);
    return verdict;
  }

  #begin(session: MemberSession, now: number): void {
    this.recovery.begin(now);
    this.#failureDetector.begin(session, now);
  }

  /** Handles a correction of a classic member's address. */
  correct(session: MemberSession, address: Address, now: number): AdmissionVerdict {
    const verdict = this.membership.correct(session, address, now);
    if (verdict.type !== "refuse") this.#begin(session, now);
    return verdict;
  }

  /** A session is to prove that this member is back. */
  proving(session: MemberSession, record: MemberRecord, revision: number | undefined): void {
    this.#failureDetector.proving(session, record, revision);
  }

  /** A member has come back on this session. Returns the session that it had, if that is still open. */
  resume(session: MemberSession, record: MemberRecord, now: number): MemberSession | undefined {
    session.step("resumed");
    const revision = session.resumes?.revision;
    record.heardAt = now;
    const older = this.#failureDetector.attach(record, session, now);
    this.attachments.settle(record, "");
    if (older !== undefined) older.logProgress = undefined;
    this.logBroadcaster.begin(session, record.order, revision);
    this.completeness.setBack(record);
    return older;
  }

  /** An entry has come back from the log. */
  appended(answer: Extract<LogAnswer, { type: "appended" }>, now: number): ChangedSessions {
    const { entry, key } = answer;
    // Where servers share the log, it may begin with a session at another one.
    if (this.#rules.isShared) this.recovery.begin(now);
    // Another server lets newcomers in: no members of an earlier log have to come first here.
    if (key === undefined && entry.type === "joined" && entry.order === entry.revision) this.recovery.setEstablished();
    if (!isClaimEntry(entry)) return this.#memberEntry(entry, answer, now);
    this.#claimEntry(entry, key, now);
    return {};
  }

  #claimEntry(entry: ClaimEntry, key: number | undefined, now: number): void {
    // A log may send an entry twice; it is applied once.
    if (this.members.directory.apply(entry)) this.logBroadcaster.add(entry);
    this.claims.appended(entry, key, now);
  }

  #memberEntry(
    entry: MemberEntry,
    { key, server, attachment }: Pick<Extract<LogAnswer, { type: "appended" }>, "key" | "server" | "attachment">,
    now: number,
    isReturned = false,
  ): ChangedSessions {
    const changed = this.membership.appended(entry, key, now, isReturned);
    if (changed === undefined) return {};
    this.logBroadcaster.add(entry);
    this.claims.memberEntry(entry, now);
    const { removed, entered } = changed;
    const fenced = removed === undefined ? undefined : this.#leave(removed, entered, entry, now);
    if (removed === undefined && (entry.type === "left" || entry.type === "lost"))
      this.completeness.forgetUnlisted(entry.id);
    if (entered !== undefined) this.#enter(entered, server, attachment, now);
    if (entered?.recovery !== undefined) this.recovery.returned(entered, now);
    if (removed !== undefined) this.recovery.addressFreed(removed.address, true, now);
    return { newcomer: entered?.session, fenced };
  }

  /** A member has been removed, perhaps because another one has its place. Returns its session, if it had one. */
  #leave(
    removed: MemberRecord,
    entered: MemberRecord | undefined,
    entry: MemberEntry,
    now: number,
  ): MemberSession | undefined {
    this.attachments.remove(removed);
    const fenced = this.#failureDetector.remove(removed, now);
    if (fenced !== undefined) fenced.logProgress = undefined;
    if (entered !== undefined) this.#replaced(removed, entered, fenced !== undefined, now);
    this.#noteGone(removed, entry);
    this.#keepDeparture(removed, entry, now);
    return fenced;
  }

  /** An append was rejected: what was held for it is free again. */
  rejected(answer: Extract<LogAnswer, { type: "rejected" }>, now: number): RejectedAppend | undefined {
    const { key, reason } = answer;
    if (isClaimAnswer(key)) {
      this.#claimRejected(key, reason, now);
      return undefined;
    }
    const result = this.membership.rejected(key, reason, now);
    if (result?.expected !== undefined) this.recovery.expectAgain(result.expected, now);
    if (result?.claim !== undefined) this.recovery.forget(result.claim);
    if (result?.address !== undefined) this.recovery.addressFreed(result.address, false, now);
    // Whoever was to be replaced is watched again if it has no session.
    if (result?.replaced !== undefined) this.#failureDetector.expect(result.replaced, now);
    if (result?.kept !== undefined) {
      this.#failureDetector.expect(result.kept, now);
      this.attachments.settle(result.kept);
    }
    return result;
  }

  #claimRejected(key: number, reason: RejectionReason, now: number): void {
    const { id, refused } = this.claims.rejected(key, reason, now) ?? {};
    if (id === undefined || refused === undefined) return;
    this.members.get(id)?.session?.nativeWriter.owe(`unclaimable ${refused.key}`, encodeControl(refused));
  }

  // What other servers do.

  /** The log of the mesh is another one: nothing of this one counts any more. */
  isOfOtherLog(log: Id): boolean {
    return this.#isLogRead && this.logBroadcaster.log !== log;
  }

  /** The log as it has been read: brings everything to that state. Returns the sessions that this has changed. */
  restored(state: LogState, answers: readonly RestoredAnswer[], now: number): RestoredSessions {
    const isFirst = !this.#isLogRead;
    this.#isLogRead = true;
    if (isFirst && state.members.length > 0) this.recovery.setEstablished();
    this.membership.restore(state.removed);
    this.membership.admission.ranks?.restore(state.members);
    const changed = this.#catchUp(state, answers, isFirst, now);
    this.logBroadcaster.restart(state.log);
    this.attachments.restore(state, now);
    this.#failureDetector.await(now);
    return { changed, rejected: this.#answered(answers, now) };
  }

  /**
   * Applies what leads to this state as entries. The revisions of the true ones are not known: nobody is sent these. Members of a log
   * that was there before this server knew it have not joined now.
   */
  #catchUp(state: LogState, answers: readonly RestoredAnswer[], isFirst: boolean, now: number): ChangedSessions[] {
    const appended = new Set(answers.flatMap(({ key, isAppended }) => (isAppended ? [key] : [])));
    const { directory } = this.members;
    const changes = changesTo(directory, state);
    let revision = state.revision - changes.length;
    directory.restore(directory.members, revision, [...directory.claims.values()]);
    const changed = changes.map((change) => {
      revision += 1;
      const entry = entryOf(change, revision);
      if (!isClaimEntry(entry)) {
        const key = this.membership.keyOf(entry.id);
        return this.#memberEntry(entry, key !== undefined && appended.has(key) ? { key } : {}, now, isFirst);
      }
      this.#claimEntry(entry, undefined, now);
      return {};
    });
    directory.restore(state.members, state.revision, state.claims);
    return changed;
  }

  /** Of appends that the state covers nothing else comes. */
  #answered(answers: readonly RestoredAnswer[], now: number): RejectedAppend[] {
    return answers.flatMap(({ key, isAppended }) => {
      if (!isAppended) {
        return this.rejected({ type: "rejected", mesh: this.name, key, reason: "conflict" }, now) ?? [];
      }
      if (isClaimAnswer(key)) this.claims.settle(key);
      // It was listed, and has been removed since.
      const dropped = this.membership.settle(key);
      const session = dropped?.session;
      if (dropped !== undefined) this.membership.drop(dropped, now);
      if (session === undefined) return [];
      return { refused: { session, code: "FENCED" as const, message: "the member has been removed; join anew" } };
    });
  }

  /** Other servers are there, or late, or this one has another life. */
  serversChanged(now: number): void {
    this.attachments.relocate(now);
    this.logBroadcaster.serversChanged();
  }

  /** The store is there again: all leases begin anew, and what was published meanwhile is published again. */
  resumeLog(now: number): void {
    this.#failureDetector.resume(now);
    this.recovery.resume(now);
    this.claims.resume(now);
    this.attachments.settleAnew();
  }

  /** How it is to end at every server. It ends when this comes back. */
  publishEnd({ reason, kind }: MeshEnd, now: number): void {
    this.#endPublishedAt = now;
    this.#timers.set("end", this.#publishAgainAt);
    const lack = kind === "tooLate" ? { incomplete: this.#shortfall(now) } : {};
    // The others are to know the links that are the reason for it.
    this.attachments.flushReports();
    this.attachments.publish({ type: "ended", kind, reason, ...lack });
  }

  /** Nobody of it has been heard at any server for a lease. That does not count if somebody comes before it. */
  publishForgotten(now: number): void {
    this.#endPublishedAt = now;
    let judges = 0;
    for (const { attachment } of this.members.listed.values()) judges = Math.max(judges, attachment);
    this.attachments.publish({ type: "ended", kind: "forgotten", reason: this.unheardText, judges });
  }

  /** Another mesh of this name has been there before: its appends may still be answered. */
  follow(mesh: Mesh): void {
    this.membership.newestKey = mesh.membership.newestKey;
    this.claims.newestKey = mesh.claims.newestKey;
  }

  /**
   * Somebody says to hold this revision of the log, which has not come to it. For a moment this server may be behind; after that
   * the store has lost what it had. Undefined if it has come to it.
   */
  judgeRevision(id: Id, revision: number, now: number): "behind" | "rolledBack" | undefined {
    const reached = this.members.directory.revision;
    const known = this.#ahead.get(id);
    this.#ahead.delete(id);
    if (revision <= reached) return undefined;
    // What it held before may have come meanwhile.
    const ahead = known !== undefined && known.revision > reached ? known : { revision, since: now };
    this.#ahead.set(id, ahead);
    const [oldest] = this.#ahead.keys();
    if (this.#ahead.size > this.#rules.limits.membersPerMesh && oldest !== undefined) this.#ahead.delete(oldest);
    // While the store is there, what this server wrote half a lease ago has come back, and all that was before it.
    return now < ahead.since + this.#rules.limits.storeLeaseMs / 2 ? "behind" : "rolledBack";
  }

  // Sessions.

  /** A session is over. A native member whose session broke stays a member; all others leave the mesh. */
  depart(session: MemberSession, type: "left" | "lost", reason: string, now: number): void {
    session.logProgress = undefined;
    if (this.#isHalted) return;
    this.recovery.endReading(session);
    if (session.state === "recovering" && session.recovery !== undefined) this.recovery.forget(session.recovery);
    const mayComeBack = session.state === "member" && session.dialect === "native" && type === "lost";
    if (!mayComeBack) this.membership.depart(session, type, reason, now);
    const record = this.members.of(session);
    this.#failureDetector.end(session, reason, now);
    if (record !== undefined) this.attachments.settle(record, reason);
    const { state, candidate } = session;
    if (state !== "member" || candidate === undefined) return;
    // An older session of a member that has come back is not the one that it has.
    if (this.members.get(candidate.id)?.session === undefined) this.claims.departed(candidate.id);
  }

  report(session: MemberSession, report: LinkReport, now: number): void {
    // One that is about to be removed may stay, if the log rejects that.
    const record = this.members.of(session);
    if (record === undefined) return;
    this.#failureDetector.judge(this.completeness.report(record, report, now), now);
    this.attachments.reported(record, now);
  }

  /** The address of a member has been dialed, to see whether it is there. */
  checked(result: VerificationResult, now: number): void {
    const { task, found, detail } = result;
    const record = this.members.get(task.id);
    if (this.#isHalted || record === undefined) return;
    this.recovery.checked(record, result);
    this.#failureDetector.checked(record, found, detail, now);
  }

  /** A member of another mesh has proved the address of one that has no session here. */
  evict(id: Id, mesh: string, now: number): void {
    const record = this.members.get(id);
    const reason = `its address belongs to a member of "${printable(mesh)}" now`;
    if (record !== undefined) this.membership.remove(record, "lost", reason, now);
  }

  /** Frees its addresses. Its log ends without an entry: nobody is judged, and no member would read one. */
  forget(reason: string, now: number): void {
    this.claims.forget(now);
    for (const { address, id } of this.members.all) this.#addresses.free(address, id);
    const addresses = this.members.directory.members.map(({ address }) => address);
    if (this.#isHalted || addresses.length === 0) return;
    this.#outputs.push({ type: "event", event: { type: "forgotten", mesh: this.name, addresses, reason } });
  }

  get unheardText(): string {
    return `nobody of it was heard for ${this.#rules.limits.leaseMs / 1000} s`;
  }

  // Completeness, and the end.

  /** Reviews what the last input has changed. `lastListAt`: when a list was last sent to classic members. */
  review(lastListAt: number, now: number): MeshReview {
    if (this.#isHalted) return { called: [], released: [], checks: [], refused: [] };
    this.#noteFull(now);
    this.recovery.review(now);
    this.attachments.await(this.members.unsettled + this.members.readers);
    this.#completenessReporter.review(now);
    const { isComplete } = this.#completenessReporter;
    const endsAt = this.#endsAt(lastListAt);
    if (endsAt !== undefined && endsAt <= now) {
      const { finishMs } = this.#rules.limits;
      const reason = isComplete ? "capacity reached" : `not complete within ${finishMs / 1000} s`;
      const kind = this.#rules.onFull === "release" ? "release" : "teardown";
      return {
        end: { reason, kind: isComplete ? kind : "tooLate" },
        called: [],
        released: [],
        checks: [],
        refused: [],
      };
    }
    const released = this.recovery.release(now);
    this.#timers.set("hold", this.recovery.holdsUntil);
    const called = this.membership.callNext(now, this.recovery.comesFirst(now));
    const isTimed = this.recovery.isGathering(now) || this.membership.admission.line.size > 0;
    this.#timers.set("gathered", isTimed ? this.recovery.reviewAt(now) : undefined);
    if (this.recovery.takeExcess())
      this.#outputs.push({ type: "note", note: { code: "KNOWN_IGNORED", message: excess } });
    const gathering = this.recovery.report(now);
    if (gathering !== undefined) this.#outputs.push({ type: "event", event: gathering });
    const leader = this.#leaderTracker.review(now);
    this.logBroadcaster.setLeader(this.recovery.isGathering(now) ? undefined : leader);
    this.logBroadcaster.send(now);
    this.#timers.set("end", endsAt);
    this.#timers.set("forget", this.#forgetAt);
    const unanswered = this.#isAnswerDue ? this.membership.unanswered(now) : [];
    this.#isAnswerDue = false;
    const overdue = Array.from(this.recovery.overdue, (session): RefusedSession => {
      return { session, code: "HANDSHAKE_TIMEOUT", message: "it has not said in time whom it knows" };
    });
    const checks = [...this.#failureDetector.takeChecks(), ...this.recovery.takeChecks()];
    return { called, released, checks, refused: [...unanswered, ...overdue] };
  }

  /** Emits `teardown` or `released` with the state of the mesh, and ends it. The caller sends what this returns to the sessions. */
  end({ reason, kind, incomplete: found }: MeshEnd, now: number): MeshEndReason {
    this.#completenessReporter.emitComplete();
    const { figures } = this.#completenessReporter;
    const missing = this.#completenessReporter.missing();
    const absent = this.#absent();
    const shortfall = found ?? this.#shortfall(now);
    const isTooLate = kind === "tooLate";
    const isRelease = kind === "release";
    this.#ending = { reason, isRelease, ...(isTooLate ? { incomplete: shortfall } : {}) };
    const mesh = this.name;
    const state = { mesh, reason, ...figures, ...missing, absent };
    const { incomplete } = this.#ending;
    this.#outputs.push({
      type: "event",
      event: isRelease
        ? { type: "released", ...state }
        : { type: "teardown", ...state, ...(incomplete === undefined ? {} : { incomplete }) },
    });
    if (isTooLate || missing.count > 0 || (isRelease && absent.length > 0)) {
      this.#outputs.push({ type: "note", note: { code: "INCOMPLETE", message: shortfall } });
    }
    this.halt();
    for (const { address, id } of this.members.all) this.#addresses.free(address, id);
    return this.#ending;
  }

  #shortfall(now: number): string {
    const there = this.members.present;
    const absent = this.#absent();
    const { capacity: wanted } = this.#rules;
    return shortfallOf({ there, wanted, absent, ...this.#completenessReporter.missing() }, now);
  }

  /** From now on the mesh does not change, and admits nobody. What has changed is sent. */
  halt(): void {
    this.logBroadcaster.finish();
    this.#isHalted = true;
    this.membership.admission.seal(this.#ending?.isRelease);
    this.#failureDetector.stop();
    this.#timers.clearAll();
  }

  /** What is not named here is done by the review that follows. */
  #due(timer: MeshTimer, now: number): void {
    if (this.#isHalted) return;
    if (timer === "log") this.membership.retry(now);
    else if (timer === "look") this.#completenessReporter.look(now);
    else if (timer === "answer") this.#isAnswerDue = true;
    else if (timer === "claimRetry") this.claims.retry(now);
    else if (timer === "claimLease") this.claims.checkLeases(now);
  }

  #enter(record: MemberRecord, server: Id | undefined, attachment: number | undefined, now: number): void {
    const { session } = record;
    record.heardAt = now;
    this.completeness.enter(record, now);
    this.attachments.locate(record, server, attachment, now);
    this.attachments.settle(record);
    // Another writer has appended it: it has one lease to show itself here.
    if (session === undefined) this.#failureDetector.expect(record, now);
    else if (record.dialect === "native") this.logBroadcaster.begin(session, record.order);
  }

  /**
   * Two members that replace each other again and again while connected share one address, for example behind a load
   * balancer. A program that was started again is different: its old connection is gone.
   */
  #replaced(old: MemberRecord, by: MemberRecord, wasConnected: boolean, now: number): void {
    const { displacement } = old;
    if (!wasConnected || by.dialect === "classic") return;
    const { admissionProvenMs, sharedAddressTimes } = this.#rules.limits;
    const isAgain = displacement !== undefined && now - displacement.at < admissionProvenMs;
    const times = isAgain ? displacement.times + 1 : 1;
    by.displacement = { times, at: now };
    if (times < sharedAddressTimes) return;
    const message = `${times} times in a row somebody else has proved it while the member that had it was connected`;
    this.#outputs.push({ type: "note", note: { code: "ADDRESS_SHARED", message, remote: by.address } });
  }

  #noteFull(now: number): void {
    const { present } = this.members;
    if (this.#fullAt !== undefined || present < this.#rules.capacity) return;
    this.#fullAt = now;
    this.#outputs.push({ type: "event", event: { type: "full", mesh: this.name, members: present } });
  }

  /** Remembers who left a mesh that has been full, for the report at its end. */
  #noteGone({ address }: MemberRecord, entry: MemberEntry): void {
    if (this.#fullAt === undefined || (entry.type !== "left" && entry.type !== "lost")) return;
    this.#gone.push([address, `${entry.type}: ${entry.reason}`]);
    if (this.#gone.length > this.#rules.limits.namedPairs) this.#gone.shift();
  }

  /** One that was only expected has not been here, and so does not go. */
  #keepDeparture({ member }: MemberRecord, entry: MemberEntry, now: number): void {
    if (member === undefined || entry.type === "joined") return;
    const { address, name, order } = member;
    const reason = entry.type === "replaced" ? "somebody else has proved its address" : entry.reason;
    this.departures.push({
      type: entry.type,
      address,
      ...(name === undefined ? {} : { name }),
      order,
      reason,
      at: now,
    });
    if (this.departures.length > this.#rules.limits.statusDepartures) this.departures.shift();
  }

  /** Listed members without a session, and the newest of those who have gone and whose slots are empty. */
  #absent(): AbsentMemberRow[] {
    const { namedPairs } = this.#rules.limits;
    const listed: AbsentMemberRow[] = [];
    const addresses = new Set<Address>();
    for (const { address, isPresent, suspect } of this.members.listed.values()) {
      addresses.add(address);
      if (!isPresent) listed.push([address, `no session: ${suspect?.reason ?? "it goes"}`]);
    }
    const emptySlots = this.#finishAt === undefined ? 0 : this.#rules.capacity - addresses.size;
    const gone = emptySlots > 0 ? this.#gone.filter(([address]) => !addresses.has(address)).slice(-emptySlots) : [];
    return [...listed, ...gone].slice(0, namedPairs);
  }

  /** By when a mesh that ends at its capacity must be whole; undefined before it has been full. */
  get #finishAt(): number | undefined {
    const { onFull, limits } = this.#rules;
    return this.#fullAt === undefined || onFull === "hold" ? undefined : this.#fullAt + limits.finishMs;
  }

  /** When it ends: once it is complete, and members that cannot report their links have had time to make them. */
  #endsAt(lastListAt: number): number | undefined {
    const finishAt = this.#finishAt;
    if (this.#fullAt === undefined || finishAt === undefined) return undefined;
    // Where servers share the log it ends once its end has come back.
    const soonest = Math.max(this.#fullAt, this.#publishAgainAt);
    if (!this.#completenessReporter.isComplete) return Math.max(finishAt, soonest);
    const needsTime = this.members.classics > 1 || this.members.natives === 0;
    return needsTime
      ? Math.max(soonest, lastListAt + this.#rules.limits.settleMs, this.#fullAt + this.#rules.limits.settleMs)
      : soonest;
  }
}

/** What leads from the directory to this state, removals first. Why somebody was removed is not known any more. */
function changesTo({ members, claims }: Directory, state: LogState): Change[] {
  const listed = new Set(state.members.map(({ id }) => id));
  const known = new Set(members.map(({ id }) => id));
  const held = new Map(state.claims.map((claim) => [claim.key, claim.token]));
  const reason = "it was removed while this server could not read the log";
  return [
    ...members.filter(({ id }) => !listed.has(id)).map(({ id }): Change => ({ type: "lost", id, reason })),
    ...state.members.filter(({ id }) => !known.has(id)).map((member): Change => ({ type: "joined", ...member })),
    ...[...claims.keys()].filter((key) => !held.has(key)).map((key): Change => ({ type: "unclaimed", key, reason })),
    ...state.claims
      .filter(({ key, token }) => claims.get(key)?.token !== token)
      .map((claim): Change => ({ type: "claimed", ...claim })),
  ];
}
