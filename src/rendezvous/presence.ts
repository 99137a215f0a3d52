import { Deadlines } from "../core/deadlines.js";
import type { Limits } from "../core/limits.js";
import type { Id, Member } from "../protocol/directory.js";
import type { Completeness } from "./completeness.js";
import type { Session } from "./session.js";

/** What presence needs of the mesh that it belongs to. */
export interface PresenceOptions {
  readonly limits: Limits;
  readonly completeness: Completeness;
  /** The member of this id, unless it has been removed or is about to be. */
  readonly member: (id: Id) => Member | undefined;
  /** Dial the member's address, and say what was found there. */
  readonly check: (member: Member) => void;
  /** The member is lost. */
  readonly lose: (id: Id, reason: string) => void;
}

interface Absence {
  /** How its session has ended. */
  readonly reason: string;
  /** What stands in place of the member, if that has been seen. */
  gone: string | undefined;
  hasLease: boolean;
}

/**
 * Which native members are there, and when one of them is lost.
 *
 * A member is there while it has a session. One whose session has broken is lost when nobody witnesses for it (a member
 * with a session of its own that says it holds a link with it), and either its lease has run out or a dial to its address
 * has found somebody else or nobody. While no session of the mesh lives, nobody is judged: it may be us who are cut off.
 */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #present = new Map<Id, Session>();
  readonly #absent = new Map<Id, Absence>();
  readonly #leases = new Deadlines<Id>();
  /** Sessions of the mesh, those in line and of classic members too: each shows that we can be reached. */
  readonly #alive = new Set<Session>();

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** True while a session of the mesh lives. */
  get isHeard(): boolean {
    return this.#alive.size > 0;
  }

  /** A session belongs to the mesh now, in whatever standing. */
  begin(session: Session, now: number): void {
    const wasHeard = this.isHeard;
    this.#alive.add(session);
    if (!wasHeard) this.#reopen(now);
  }

  /** A session is the one of a native member. Returns an older one of it. */
  attach(id: Id, session: Session, now: number): Session | undefined {
    const older = this.#present.get(id);
    this.#present.set(id, session);
    this.#absent.delete(id);
    this.#leases.clear(id);
    this.begin(session, now);
    return older === session ? undefined : older;
  }

  /** A session is gone. If it was the one of a member, that member is absent from now on. */
  end(session: Session, reason: string, now: number): void {
    this.#alive.delete(session);
    const id = session.candidate?.id;
    if (id === undefined || this.#present.get(id) !== session) return;
    this.#present.delete(id);
    const member = this.#options.member(id);
    if (member === undefined) return;
    this.#absent.set(id, { reason, gone: undefined, hasLease: true });
    this.#leases.set(id, now + this.#options.limits.leaseMs);
    this.#options.check(member);
    // It witnesses for nobody any more.
    this.judge(this.#options.completeness.heldBy(member));
  }

  /** A member has been removed. Returns its session, if it had one. */
  remove(id: Id): Session | undefined {
    const session = this.#present.get(id);
    this.#present.delete(id);
    this.#absent.delete(id);
    this.#leases.clear(id);
    return session;
  }

  /** A dial to the address of an absent member has found nobody there, or somebody else. */
  gone(id: Id, detail: string): void {
    const absence = this.#absent.get(id);
    if (absence === undefined) return;
    absence.gone = detail;
    this.judge([id]);
  }

  /** Judges those of these who are absent; something that held them may be gone. */
  judge(ids: Iterable<Id>): void {
    if (!this.isHeard || this.#absent.size === 0) return;
    for (const id of ids) this.#judge(id);
  }

  nextTimeout(): number | undefined {
    return this.isHeard ? this.#leases.next() : undefined;
  }

  handleTimeout(now: number): void {
    if (!this.isHeard) return;
    for (let id = this.#leases.takeDue(now); id !== undefined; id = this.#leases.takeDue(now)) {
      const absence = this.#absent.get(id);
      if (absence !== undefined) absence.hasLease = false;
      this.#judge(id);
    }
  }

  #judge(id: Id): void {
    const absence = this.#absent.get(id);
    const member = this.#options.member(id);
    if (absence === undefined || member === undefined) return;
    if (absence.hasLease && absence.gone === undefined) return;
    if (this.#options.completeness.isHeld(member, (holder) => this.#present.has(holder.id))) return;
    const { leaseMs } = this.#options.limits;
    this.#absent.delete(id);
    this.#leases.clear(id);
    this.#options.lose(id, `${absence.reason}; ${absence.gone ?? `not back within ${leaseMs / 1000} s`}`);
  }

  /** Somebody of the mesh is heard again after a time in which nobody was: whoever is absent gets a whole lease. */
  #reopen(now: number): void {
    for (const [id, absence] of this.#absent) {
      absence.gone = undefined;
      absence.hasLease = true;
      this.#leases.set(id, now + this.#options.limits.leaseMs);
      const member = this.#options.member(id);
      if (member !== undefined) this.#options.check(member);
    }
  }
}
