import type { Limits } from "../core/limits.js";
import { TimerTable } from "../core/timer-table.js";
import type { Id, Member } from "../protocol/directory.js";
import type { VerificationResult } from "./address-verifier.js";
import type { CompletenessTracker } from "./completeness.js";
import type { MemberSession } from "./member-session.js";

/** What presence needs of the mesh that it belongs to. */
export interface FailureDetectorOptions {
  readonly limits: Limits;
  readonly completeness: CompletenessTracker;
  /** The member of this id, unless it has been removed or is about to be. */
  readonly member: (id: Id) => Member | undefined;
  /** Dial the member's address, and say what was found there. */
  readonly check: (member: Member) => void;
  /** The member is lost. */
  readonly lose: (id: Id, reason: string) => void;
}

/** A member without a session. */
interface SuspectState {
  /** How its session has ended. */
  readonly reason: string;
  /** It may still come back in time; only a refusal by its address counts before that. */
  hasLease: boolean;
  /** What its address was last refused with. */
  refusal: string | undefined;
  /** Dials that the address itself has refused, one behind the other. */
  refusals: number;
  /** A dial to its address is under way, or waits for its turn. */
  isChecking: boolean;
  /** Its address was refused twice, and a lease has passed since: nobody can vouch for it any more. */
  isBeyondWitnesses: boolean;
  /** Until when a proof that is under way keeps it from being lost. */
  provesUntil: number | undefined;
}

/** So many refusals by an address show that nobody is there. */
const enoughRefusals = 2;

/**
 * Which native members are there, and when one of them is lost.
 *
 * A member is there while it has a session. One whose session has broken is lost when its lease has run out or its address
 * has refused a dial, and nobody vouches for it: a witness is a member with a session of its own that reports a link with
 * it. Against two refusals, `recheckMs` apart, a witness counts for one more lease. Nobody is lost while it proves that it
 * is back. While no session of the mesh lives, nobody is judged, because it may be this server that was cut off; when that
 * has lasted for a lease, the mesh is to be forgotten.
 */
export class FailureDetector {
  readonly #options: FailureDetectorOptions;
  readonly #present = new Map<Id, MemberSession>();
  readonly #absent = new Map<Id, SuspectState>();
  /** When each absent member is looked at again. */
  readonly #looks = new TimerTable<Id>();
  /** Sessions that are to prove which member has come back with them. */
  readonly #proving = new Map<MemberSession, Id>();
  /** Sessions of the mesh, those in line and of classic members too: each shows that we can be reached. */
  readonly #alive = new Set<MemberSession>();
  /** Since when no session of the mesh lives. */
  #unheardSince: number | undefined;

  constructor(options: FailureDetectorOptions) {
    this.#options = options;
  }

  /** How many members and sessions are watched. */
  get size(): number {
    return this.#present.size + this.#absent.size + this.#proving.size + this.#alive.size;
  }

  /** True while a session of the mesh lives. */
  get isHeard(): boolean {
    return this.#alive.size > 0;
  }

  /** When the mesh is to be forgotten, because no session of it lives; whoever proves that it is back is waited for. */
  get forgetAt(): number | undefined {
    if (this.#unheardSince === undefined) return undefined;
    const { leaseMs, challengeMs } = this.#options.limits;
    return this.#unheardSince + leaseMs + (this.#proving.size > 0 ? challengeMs : 0);
  }

  /** True when no session lives, and each of so many members has been looked for in vain at its address. */
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

  /** A session belongs to the mesh now, in whatever standing. */
  begin(session: MemberSession, now: number): void {
    const wasHeard = this.isHeard;
    this.#alive.add(session);
    this.#unheardSince = undefined;
    if (!wasHeard) this.#reopen(now);
  }

  /** A session is the one of a native member. Returns an older one of it. */
  attach(id: Id, session: MemberSession, now: number): MemberSession | undefined {
    const older = this.#present.get(id);
    this.#present.set(id, session);
    this.#absent.delete(id);
    this.#looks.clear(id);
    this.#proving.delete(session);
    this.begin(session, now);
    return older === session ? undefined : older;
  }

  /** A session is to prove that this member is back. */
  proving(session: MemberSession, id: Id): void {
    this.#proving.set(session, id);
  }

  /** A session is gone. Returns the member that is absent by that. */
  end(session: MemberSession, reason: string, now: number): Member | undefined {
    if (this.#alive.delete(session) && !this.isHeard) this.#unheardSince = now;
    const claimed = this.#proving.get(session);
    this.#proving.delete(session);
    if (claimed !== undefined) this.judge([claimed], now);
    const id = session.candidate?.id;
    if (id === undefined || this.#present.get(id) !== session) return undefined;
    this.#present.delete(id);
    const member = this.#options.member(id);
    if (member === undefined) return undefined;
    this.#suspect(id, reason, now);
    // It witnesses for nobody any more.
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
    this.#looks.set(id, now + this.#options.limits.leaseMs);
    this.#check(id);
  }

  /** A member has been removed. Returns its session, if it had one. */
  remove(id: Id): MemberSession | undefined {
    const session = this.#present.get(id);
    this.#present.delete(id);
    this.#absent.delete(id);
    this.#looks.clear(id);
    return session;
  }

  /** A dial to the address of an absent member has come to something. Only a refusal by the address says that it is gone. */
  checked(id: Id, found: VerificationResult["found"], detail: string, now: number): void {
    const absence = this.#absent.get(id);
    if (absence === undefined) return;
    const { leaseMs, recheckMs } = this.#options.limits;
    absence.isChecking = false;
    if (found === "other") {
      absence.refusal = detail;
      absence.refusals += 1;
      if (absence.refusals <= enoughRefusals)
        this.#looks.set(id, now + (absence.refusals < enoughRefusals ? recheckMs : leaseMs));
    } else if (found === "here" && absence.refusals > 0) {
      absence.refusal = undefined;
      absence.refusals = 0;
      absence.hasLease = true;
      absence.isBeyondWitnesses = false;
      this.#looks.set(id, now + leaseMs);
    }
    this.judge([id], now);
  }

  /** Judges those of these who are absent; something that held them may be gone. */
  judge(ids: Iterable<Id>, now: number): void {
    if (!this.isHeard || this.#absent.size === 0) return;
    for (const id of ids) this.#judge(id, now);
  }

  /** Nobody is watched any more. */
  stop(): void {
    this.#present.clear();
    this.#absent.clear();
    this.#looks.clearAll();
    this.#proving.clear();
    this.#alive.clear();
    this.#unheardSince = undefined;
  }

  nextTimeout(): number | undefined {
    return this.isHeard ? this.#looks.next() : undefined;
  }

  handleTimeout(now: number): void {
    if (!this.isHeard) return;
    for (let id = this.#looks.takeDue(now); id !== undefined; id = this.#looks.takeDue(now)) {
      const absence = this.#absent.get(id);
      if (absence === undefined) continue;
      absence.hasLease = false;
      absence.isBeyondWitnesses = absence.refusals >= enoughRefusals;
      // Whoever is kept by a witness is looked for again and again.
      this.#looks.set(id, now + this.#options.limits.leaseMs);
      this.#judge(id, now);
      if (this.#absent.has(id)) this.#check(id);
    }
  }

  #judge(id: Id, now: number): void {
    const absence = this.#absent.get(id);
    const member = this.#options.member(id);
    if (absence === undefined || member === undefined) return;
    if (absence.hasLease && absence.refusal === undefined) return;
    const { completeness, limits, lose } = this.#options;
    const isHeld = completeness.isHeld(member, (holder) => this.#present.has(holder.id));
    if (isHeld && !absence.isBeyondWitnesses) return;
    if (this.#isProving(id)) {
      // One proof takes no longer than this; another one behind it wins no more time.
      absence.provesUntil ??= now + limits.challengeMs;
      if (now < absence.provesUntil) {
        this.#looks.set(id, absence.provesUntil);
        return;
      }
    }
    this.#absent.delete(id);
    this.#looks.clear(id);
    lose(id, `${absence.reason}; ${absence.refusal ?? `not back within ${limits.leaseMs / 1000} s`}`);
  }

  #isProving(id: Id): boolean {
    for (const claimed of this.#proving.values()) if (claimed === id) return true;
    return false;
  }

  #check(id: Id): void {
    const absence = this.#absent.get(id);
    const member = this.#options.member(id);
    if (absence === undefined || member === undefined || absence.isChecking) return;
    absence.isChecking = true;
    this.#options.check(member);
  }

  /**
   * Somebody of the mesh is heard again after a time in which nobody was. Whoever is absent gets a whole lease, unless its
   * address has refused us: that was no cut.
   */
  #reopen(now: number): void {
    for (const [id, absence] of this.#absent) {
      if (absence.refusals > 0) {
        this.#judge(id, now);
        continue;
      }
      absence.hasLease = true;
      this.#looks.set(id, now + this.#options.limits.leaseMs);
      this.#check(id);
    }
  }
}
