import type { Limits } from "../core/limits.js";
import { TimerTable } from "../core/timer-table.js";
import type { Id, Member } from "../protocol/directory.js";
import type { VerificationResult } from "./address-verifier.js";
import type { CompletenessTracker } from "./completeness.js";
import type { MemberSession } from "./member-session.js";

/** What a failure detector needs from its mesh. */
export interface FailureDetectorOptions {
  readonly limits: Limits;
  readonly completeness: CompletenessTracker;
  /** The member of this id, unless it was removed or its removal is under way. */
  readonly member: (id: Id) => Member | undefined;
  /** Dials the member's address; the result comes to `checked`. */
  readonly check: (member: Member) => void;
  /** Removes the member as lost. */
  readonly lose: (id: Id, reason: string) => void;
}

/** A member without a session. */
interface SuspectState {
  /** How its session ended. */
  readonly reason: string;
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

/** After so many refusals in a row nobody listens at an address. */
const enoughRefusals = 2;

/**
 * Finds out which native members are lost.
 *
 * A member whose session broke is lost when its lease has run out or its address has refused a dial, and it has no witness.
 * A witness is a member with a session that reports a link with it. After two refusals, `recheckMs` apart, a witness counts
 * for one more lease. No member is lost while it proves a resume. While the mesh has no session at all nobody is judged,
 * because this server may be the one that was cut off; after a lease without a session the mesh is forgotten.
 */
export class FailureDetector {
  readonly #options: FailureDetectorOptions;
  readonly #present = new Map<Id, MemberSession>();
  readonly #absent = new Map<Id, SuspectState>();
  /** When each absent member is judged again. */
  readonly #checkTimers = new TimerTable<Id>();
  /** Sessions that are proving a resume, each with the member. */
  readonly #proving = new Map<MemberSession, Id>();
  /** All sessions of the mesh, waiting and classic ones included: each shows that this server can be reached. */
  readonly #liveSessions = new Set<MemberSession>();
  /** Since when the mesh has had no session. */
  #unheardSince: number | undefined;

  constructor(options: FailureDetectorOptions) {
    this.#options = options;
  }

  /** How many members and sessions are watched. */
  get size(): number {
    return this.#present.size + this.#absent.size + this.#proving.size + this.#liveSessions.size;
  }

  /** True while the mesh has a session. */
  get isHeard(): boolean {
    return this.#liveSessions.size > 0;
  }

  /** When a mesh without a session is forgotten; a resume that is being proved is waited for. */
  get forgetAt(): number | undefined {
    if (this.#unheardSince === undefined) return undefined;
    const { leaseMs, challengeMs } = this.#options.limits;
    return this.#unheardSince + leaseMs + (this.#proving.size > 0 ? challengeMs : 0);
  }

  /** True when there is no session, and the addresses of all these members have refused a dial. */
  isDeserted(members: number): boolean {
    if (this.isHeard || this.#proving.size > 0 || this.#absent.size < members) return false;
    for (const { refusals } of this.#absent.values()) if (refusals === 0) return false;
    return true;
  }

  /** True if this native member has a session. */
  has(id: Id): boolean {
    return this.#present.has(id);
  }

  /** How the session of a member that has none has ended; undefined for all others. */
  whyAbsent(id: Id): string | undefined {
    return this.#absent.get(id)?.reason;
  }

  /** A session, member or not, belongs to the mesh now. */
  begin(session: MemberSession, now: number): void {
    const wasHeard = this.isHeard;
    this.#liveSessions.add(session);
    this.#unheardSince = undefined;
    if (!wasHeard) this.#reopen(now);
  }

  /** A session is a native member's now. Returns its older one, if that is open. */
  attach(id: Id, session: MemberSession, now: number): MemberSession | undefined {
    const older = this.#present.get(id);
    this.#present.set(id, session);
    this.#absent.delete(id);
    this.#checkTimers.clear(id);
    this.#proving.delete(session);
    this.begin(session, now);
    return older === session ? undefined : older;
  }

  /** A session has to prove that this member has come back. */
  proving(session: MemberSession, id: Id): void {
    this.#proving.set(session, id);
  }

  /** A session is over. Returns the member that has no session because of that. */
  end(session: MemberSession, reason: string, now: number): Member | undefined {
    if (this.#liveSessions.delete(session) && !this.isHeard) this.#unheardSince = now;
    const claimed = this.#proving.get(session);
    this.#proving.delete(session);
    if (claimed !== undefined) this.judge([claimed], now);
    const id = session.candidate?.id;
    if (id === undefined || this.#present.get(id) !== session) return undefined;
    this.#present.delete(id);
    const member = this.#options.member(id);
    if (member === undefined) return undefined;
    this.#suspect(id, reason, now);
    // It is no witness any more.
    this.judge(this.#options.completeness.heldBy(member), now);
    return member;
  }

  /** A member is listed and has no session here; it has one lease to come with one. */
  expect({ id }: Member, now: number): void {
    if (!this.#absent.has(id)) this.#suspect(id, "has no session", now);
  }

  #suspect(id: Id, reason: string, now: number): void {
    this.#absent.set(id, {
      reason,
      hasLease: true,
      refusal: undefined,
      refusals: 0,
      isChecking: false,
      isBeyondWitnesses: false,
      provesUntil: undefined,
    });
    this.#checkTimers.set(id, now + this.#options.limits.leaseMs);
    this.#check(id);
  }

  /** A member has been removed. Returns its session, if it had one. */
  remove(id: Id): MemberSession | undefined {
    const session = this.#present.get(id);
    this.#present.delete(id);
    this.#absent.delete(id);
    this.#checkTimers.clear(id);
    return session;
  }

  /** A dial to the address of an absent member has come to something. Only a refusal by the address says that it is gone. */
  checked(id: Id, found: VerificationResult["found"], detail: string, now: number): void {
    const suspect = this.#absent.get(id);
    if (suspect === undefined) return;
    const { leaseMs, recheckMs } = this.#options.limits;
    suspect.isChecking = false;
    if (found === "other") {
      suspect.refusal = detail;
      suspect.refusals += 1;
      if (suspect.refusals <= enoughRefusals)
        this.#checkTimers.set(id, now + (suspect.refusals < enoughRefusals ? recheckMs : leaseMs));
    } else if (found === "here" && suspect.refusals > 0) {
      suspect.refusal = undefined;
      suspect.refusals = 0;
      suspect.hasLease = true;
      suspect.isBeyondWitnesses = false;
      this.#checkTimers.set(id, now + leaseMs);
    }
    this.judge([id], now);
  }

  /** Judges those of these members that are absent: a witness of theirs may be gone. */
  judge(ids: Iterable<Id>, now: number): void {
    if (!this.isHeard || this.#absent.size === 0) return;
    for (const id of ids) this.#judge(id, now);
  }

  /** Nobody is watched any more. */
  stop(): void {
    this.#present.clear();
    this.#absent.clear();
    this.#checkTimers.clearAll();
    this.#proving.clear();
    this.#liveSessions.clear();
    this.#unheardSince = undefined;
  }

  nextTimeout(): number | undefined {
    return this.isHeard ? this.#checkTimers.next() : undefined;
  }

  handleTimeout(now: number): void {
    if (!this.isHeard) return;
    for (let id = this.#checkTimers.takeDue(now); id !== undefined; id = this.#checkTimers.takeDue(now)) {
      const suspect = this.#absent.get(id);
      if (suspect === undefined) continue;
      suspect.hasLease = false;
      suspect.isBeyondWitnesses = suspect.refusals >= enoughRefusals;
      // A member that is kept by a witness is checked again and again.
      this.#checkTimers.set(id, now + this.#options.limits.leaseMs);
      this.#judge(id, now);
      if (this.#absent.has(id)) this.#check(id);
    }
  }

  #judge(id: Id, now: number): void {
    const suspect = this.#absent.get(id);
    const member = this.#options.member(id);
    if (suspect === undefined || member === undefined) return;
    if (suspect.hasLease && suspect.refusal === undefined) return;
    const { completeness, limits, lose } = this.#options;
    const isHeld = completeness.isHeld(member, (holder) => this.#present.has(holder.id));
    if (isHeld && !suspect.isBeyondWitnesses) return;
    if (this.#isProving(id)) {
      // One proof takes no longer than this; a second one gets no more time.
      suspect.provesUntil ??= now + limits.challengeMs;
      if (now < suspect.provesUntil) {
        this.#checkTimers.set(id, suspect.provesUntil);
        return;
      }
    }
    this.#absent.delete(id);
    this.#checkTimers.clear(id);
    lose(id, `${suspect.reason}; ${suspect.refusal ?? `not back within ${limits.leaseMs / 1000} s`}`);
  }

  #isProving(id: Id): boolean {
    for (const claimed of this.#proving.values()) if (claimed === id) return true;
    return false;
  }

  #check(id: Id): void {
    const suspect = this.#absent.get(id);
    const member = this.#options.member(id);
    if (suspect === undefined || member === undefined || suspect.isChecking) return;
    suspect.isChecking = true;
    this.#options.check(member);
  }

  /**
   * The mesh has a session again after a time without any. Absent members get a whole lease, unless their addresses have
   * refused a dial: those were reachable.
   */
  #reopen(now: number): void {
    for (const [id, suspect] of this.#absent) {
      if (suspect.refusals > 0) {
        this.#judge(id, now);
        continue;
      }
      suspect.hasLease = true;
      this.#checkTimers.set(id, now + this.#options.limits.leaseMs);
      this.#check(id);
    }
  }
}
