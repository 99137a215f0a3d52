import type { Limits } from "../core/limits.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import type { VerificationResult } from "./address-verifier.js";
import type { CompletenessTracker } from "./completeness-tracker.js";
import type { MemberRecord, SuspectState } from "./member-record.js";
import type { MemberSession, Verification } from "./member-session.js";
import type { Membership } from "./membership.js";
import type { SharingServers } from "./sharing-servers.js";

/** After so many refusals in a row nobody listens at an address. */
const enoughRefusals = 2;

/**
 * Finds out which native members are lost.
 *
 * A member whose session broke is lost when its lease has run out or its address has refused a dial, and it has no witness.
 * A witness is a member with a session that reports a link with it. After two refusals, `recheckMs` apart, a witness counts
 * for one more lease. No member is lost while it proves a resume. While the mesh has no session at all nobody is judged,
 * because this server may be the one that was cut off; after a lease without a session the mesh is forgotten.
 *
 * Where servers share the log, a member is judged by the one that had its session last, and by all when that one is gone.
 * While the store is away nobody is judged. A member that a dial finds is not lost for one more lease: it may have its session at a
 * server that cannot reach the store.
 *
 * Of a server that is late nobody knows whether it will go on. All others dial the members that have their sessions there, and
 * a refusal counts at once; but no lease runs before that server is gone. A witness there counts for less than a refusal:
 * what it has reported is older.
 */
export class FailureDetector {
  readonly #limits: Limits;
  readonly #servers: SharingServers;
  readonly #membership: Membership;
  readonly #completeness: CompletenessTracker;
  /** Dials that find out whether a suspect is there, and that the review of the mesh will begin. */
  #checks: Verification[] = [];
  /** When each suspect is judged again. */
  readonly #timers: KeyedTimers<MemberRecord>;
  /** All sessions of the mesh, waiting and classic ones included: each shows that this server can be reached. */
  readonly sessions = new Set<MemberSession>();
  /** How many sessions are proving a resume. */
  #provers = 0;
  #wasHeard = false;
  /** Since when the mesh has had no session. */
  #unheardSince: number | undefined;

  constructor(
    limits: Limits,
    servers: SharingServers,
    membership: Membership,
    completeness: CompletenessTracker,
    timers: Pick<Timers, "keyed">,
  ) {
    this.#limits = limits;
    this.#servers = servers;
    this.#membership = membership;
    this.#completeness = completeness;
    this.#timers = timers.keyed((record, now) => this.#due(record, now));
  }

  /** How many sessions are watched. */
  get size(): number {
    return this.sessions.size + this.#provers + this.#timers.size;
  }

  /** True while the mesh has a session, here or at another server. */
  get isHeard(): boolean {
    return this.sessions.size > 0 || this.#membership.members.elsewhere > 0;
  }

  /** When a mesh without a session is forgotten; a resume that is being proved is waited for. */
  get forgetAt(): number | undefined {
    if (this.#unheardSince === undefined || !this.#servers.isStoreThere) return undefined;
    const { leaseMs, challengeMs } = this.#limits;
    return this.#unheardSince + leaseMs + (this.#provers > 0 ? challengeMs : 0);
  }

  /** True when there is no session, and the addresses of all members have refused a dial. */
  get isDeserted(): boolean {
    if (this.isHeard || this.#provers > 0) return false;
    for (const { suspect } of this.#membership.members.listed.values()) {
      if (suspect === undefined || suspect.refusals === 0) return false;
    }
    return true;
  }

  /** A session, member or not, belongs to the mesh now. */
  begin(session: MemberSession, now: number): void {
    this.sessions.add(session);
    this.#reviewHeard(now);
  }

  #reviewHeard(now: number): void {
    const { isHeard } = this;
    if (isHeard === this.#wasHeard) return;
    this.#wasHeard = isHeard;
    this.#unheardSince = isHeard ? undefined : now;
    if (isHeard) this.#reopen(now);
  }

  /** The log of the mesh was there before anybody of it was heard here: it is forgotten, too, if nobody is for a lease. */
  await(now: number): void {
    if (!this.isHeard) this.#unheardSince ??= now;
  }

  /** The store is there again: what was unheard is unheard from now on. */
  resume(now: number): void {
    if (this.#unheardSince === undefined) this.#reopen(now);
    else this.#unheardSince = now;
  }

  /** A listed member has got a session at another server, or has it no more, or that server is late or gone, or not late any more. */
  moved(record: MemberRecord, reason: string, now: number): void {
    if (record.isWatched) {
      record.suspect = undefined;
      this.#completeness.setAway(record, undefined);
      this.#timers.clear(record);
    }
    this.#reviewHeard(now);
    if (record.isWatched || !record.isStanding) return;
    if (record.suspect === undefined) this.#suspect(record, reason, now);
    else this.#renew(record, record.suspect, now);
    // It is no witness any more.
    this.judge(this.#completeness.heldBy(record), now);
  }

  /** A member has a session. Returns its older one, if that is open. */
  attach(record: MemberRecord, session: MemberSession, now: number): MemberSession | undefined {
    const older = record.session;
    this.#endProof(session);
    record.session = session;
    record.suspect = undefined;
    this.#completeness.setAway(record, undefined);
    this.#timers.clear(record);
    this.begin(session, now);
    return older === session ? undefined : older;
  }

  /** A session has to prove that this member has come back, which holds this revision of the log, or has read another. */
  proving(session: MemberSession, record: MemberRecord, revision: number | undefined): void {
    session.resumes = { revision };
    record.provers += 1;
    this.#provers += 1;
  }

  /** A session is over. A native member that stays is suspected. */
  end(session: MemberSession, reason: string, now: number): void {
    this.sessions.delete(session);
    this.#reviewHeard(now);
    const resumed = this.#endProof(session);
    if (resumed !== undefined) this.judge([resumed], now);
    const record = this.#membership.members.of(session);
    if (record === undefined) return;
    record.session = undefined;
    if (!record.isStanding || record.isElsewhere || record.dialect === "classic") return;
    this.#suspect(record, reason, now);
    // It is no witness any more.
    this.judge(this.#completeness.heldBy(record), now);
  }

  /** A member may be listed without a session here: it has one lease to come with one. */
  expect(record: MemberRecord, now: number): void {
    if (!record.isStanding || record.isAttached || record.dialect === "classic") return;
    if (record.suspect === undefined) this.#suspect(record, "has no session", now);
  }

  /** A member has been removed. Returns its session, if it had one. */
  remove(record: MemberRecord, now: number): MemberSession | undefined {
    const { session } = record;
    record.session = undefined;
    record.suspect = undefined;
    this.#timers.clear(record);
    this.#reviewHeard(now);
    this.judge(this.#completeness.remove(record, now), now);
    return session;
  }

  /** A dial to the address of a suspect has come to something. Only a refusal by the address says that it is gone. */
  checked(record: MemberRecord, found: VerificationResult["found"], detail: string, now: number): void {
    const { suspect } = record;
    if (suspect === undefined) return;
    const { leaseMs, recheckMs } = this.#limits;
    suspect.isChecking = false;
    if (found === "here" && this.#servers.isShared) suspect.isFound = true;
    if (found === "other") {
      suspect.refusal = detail;
      suspect.refusals += 1;
      if (suspect.refusals <= enoughRefusals)
        this.#timers.set(record, now + (suspect.refusals < enoughRefusals ? recheckMs : leaseMs));
    } else if (found === "here" && suspect.refusals > 0) {
      suspect.refusal = undefined;
      suspect.refusals = 0;
      suspect.hasLease = true;
      this.#completeness.setAway(record, undefined);
      suspect.isBeyondWitnesses = false;
      this.#timers.set(record, now + leaseMs);
    }
    this.judge([record], now);
  }

  /** Judges those of these members that are suspects: a witness of theirs may be gone. */
  judge(records: Iterable<MemberRecord>, now: number): void {
    if (!this.#mayJudge) return;
    for (const record of records) this.#judge(record, now);
  }

  get #mayJudge(): boolean {
    return this.isHeard && this.#servers.isStoreThere;
  }

  /** Nobody is watched any more. */
  stop(): void {
    this.#timers.clearAll();
    this.sessions.clear();
    this.#checks = [];
    this.#provers = 0;
    this.#wasHeard = false;
    this.#unheardSince = undefined;
  }

  /** The dials that are to begin now. */
  takeChecks(): readonly Verification[] {
    const checks = this.#checks;
    if (checks.length > 0) this.#checks = [];
    return checks;
  }

  /** The time of a suspect is over. While the mesh has no session nobody is judged. */
  #due(record: MemberRecord, now: number): void {
    const { suspect } = record;
    if (suspect === undefined || !this.#mayJudge) return;
    suspect.hasLease = record.isServerLate || suspect.isFound;
    suspect.isFound = false;
    suspect.isBeyondWitnesses = suspect.refusals >= enoughRefusals;
    // A member that is kept by a witness, or by its answer, is checked again and again.
    this.#timers.set(record, now + this.#limits.leaseMs);
    this.#judge(record, now);
    if (record.suspect === undefined) return;
    this.#check(record);
    // Only a witness or its answer keeps it. It may be at another server.
    if (now >= suspect.since + this.#limits.leaseMs) this.#completeness.setAway(record, now);
  }

  #endProof(session: MemberSession): MemberRecord | undefined {
    if (session.resumes === undefined) return undefined;
    session.resumes = undefined;
    this.#provers -= 1;
    const resumed = this.#membership.members.get(session.candidate?.id ?? "");
    if (resumed !== undefined) resumed.provers -= 1;
    return resumed;
  }

  #suspect(record: MemberRecord, reason: string, now: number): void {
    record.suspect = {
      reason,
      since: now,
      hasLease: true,
      refusal: undefined,
      refusals: 0,
      isFound: false,
      isChecking: false,
      isBeyondWitnesses: false,
      provesUntil: undefined,
    };
    this.#timers.set(record, now + this.#limits.leaseMs);
    this.#check(record);
  }

  #judge(record: MemberRecord, now: number): void {
    const { suspect } = record;
    if (suspect === undefined || !record.isStanding || record.isJudgedElsewhere) return;
    const isRefused = suspect.refusal !== undefined;
    if (suspect.hasLease && !isRefused) return;
    if (!suspect.isBeyondWitnesses && this.#completeness.isHeld(record.id, isRefused)) return;
    const { challengeMs, leaseMs } = this.#limits;
    if (record.provers > 0) {
      // One proof takes no longer than this; a second one gets no more time.
      suspect.provesUntil ??= now + challengeMs;
      if (now < suspect.provesUntil) {
        this.#timers.set(record, suspect.provesUntil);
        return;
      }
    }
    record.suspect = undefined;
    this.#timers.clear(record);
    const why = `${suspect.reason}; ${suspect.refusal ?? `not back within ${leaseMs / 1000} s`}`;
    this.#membership.remove(record, "lost", why, now);
  }

  #check(record: MemberRecord): void {
    const { suspect } = record;
    if (suspect === undefined || !record.isStanding || suspect.isChecking) return;
    // Its own server looks; and of a classic member nobody can.
    if (record.isJudgedElsewhere || record.dialect === "classic") return;
    suspect.isChecking = true;
    const { mesh, id, address } = record;
    this.#checks.push({ mesh, id, address });
  }

  /**
   * The mesh has a session again after a time without any. Suspects get a whole lease, unless their addresses have refused a
   * dial: those were reachable.
   */
  #reopen(now: number): void {
    for (const record of this.#membership.members.listed.values()) {
      const { suspect } = record;
      if (suspect === undefined) continue;
      if (suspect.refusals > 0) {
        // Its time may have run out meanwhile.
        if (!this.#timers.has(record)) this.#timers.set(record, now);
        this.#judge(record, now);
        continue;
      }
      this.#renew(record, suspect, now);
    }
  }

  #renew(record: MemberRecord, suspect: SuspectState, now: number): void {
    suspect.hasLease = true;
    suspect.isFound = false;
    this.#completeness.setAway(record, undefined);
    this.#timers.set(record, now + this.#limits.leaseMs);
    this.#check(record);
  }
}
