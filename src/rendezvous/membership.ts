import type { OutputSink } from "../core/machine.js";
import type { Address } from "../protocol/address.js";
import { type Candidate, type Change, Directory, type Entry, type Id, type Member } from "../protocol/directory.js";
import { encodeControl } from "../protocol/native/control.js";
import type { AddressRegistry } from "./address-registry.js";
import { Admission, type AdmissionVerdict, type Applicant } from "./admission.js";
import type { MemberSession } from "./member-session.js";
import type { RendezvousOutput, RendezvousRules } from "./types.js";

/** How many of those in line are told that they have moved up. */
const toldPlaces = 10;

/** What an entry has changed. */
export interface MembershipChange {
  /** Who has come in, and its session if that is still there. */
  readonly entered?: { readonly member: Member; readonly session: MemberSession | undefined };
  /** Who has gone. */
  readonly removed?: Member;
}

/** What a roll is made with. */
export interface MembershipOptions {
  readonly mesh: string;
  readonly rules: RendezvousRules;
  /** The revision before the first entry. */
  readonly revision: number;
  readonly addresses: AddressRegistry;
  readonly outputs: OutputSink<RendezvousOutput>;
  /** The turn of this session has come; it is to prove its address once more. */
  readonly prove: (session: MemberSession) => void;
}

/**
 * Who is in a mesh, who is on the way in, and who waits: the way of a registration through admission and the log.
 *
 * A membership is true only when its entry has come back from the log. A session that goes while its append is under way
 * is therefore taken out again by a second entry, never by wishing the first away.
 */
export class Membership {
  readonly directory: Directory;
  readonly admission: Admission;
  readonly #options: MembershipOptions;
  /** Sessions whose append is under way, by the id that will come back; undefined: nobody wants it any more. */
  readonly #joining = new Map<Id, MemberSession | undefined>();
  /** Members whose removal is under way. */
  readonly #departing = new Set<Id>();
  /** Ids that were removed, the oldest first: none of them is ever taken back. */
  readonly #removed = new Set<Id>();
  /** When somebody in line was last called. */
  #calledAt = 0;

  constructor(options: MembershipOptions) {
    const { mesh, rules, revision, addresses } = options;
    this.#options = options;
    this.directory = new Directory(revision);
    this.admission = new Admission(mesh, rules, this.directory, addresses);
  }

  /** A member that is not about to be one no more. */
  standing(id: Id): Member | undefined {
    return this.#departing.has(id) ? undefined : this.directory.member(id);
  }

  /** How much is kept: members, those on the way in, and ids that were removed. */
  get size(): number {
    return this.directory.size + this.#joining.size + this.#departing.size + this.#removed.size;
  }

  /** True while the log has not answered everything that was appended. */
  get isAppending(): boolean {
    return this.#joining.size + this.#departing.size > 0;
  }

  /** What would become of a registration. A session whose turn has come takes a slot, if one is still free. */
  judge(session: MemberSession, candidate: Candidate, hasSlot = false): AdmissionVerdict {
    if (this.#removed.has(candidate.id)) {
      return { type: "refuse", code: "FENCED", message: `the id ${candidate.id} has been removed; draw a new one` };
    }
    return this.admission.judge({
      ...applicantOf(session, candidate),
      hasSlot,
      isCalled: this.admission.isCalled(session),
    });
  }

  /** Takes a registration: the session is then joining or waiting, unless the verdict is a refusal. */
  register(session: MemberSession, candidate: Candidate, hasSlot = false): AdmissionVerdict {
    const verdict = this.judge(session, candidate, hasSlot);
    if (verdict.type === "refuse") return verdict;
    session.candidate = candidate;
    if (verdict.type === "admit") {
      const stoodInLine = this.admission.line.has(session);
      this.#admit(session, candidate, verdict.replaces);
      if (stoodInLine) this.#tellPlaces();
    } else {
      session.step("queued");
      this.admission.wait(session, candidate);
      this.#tellPlaces(session);
    }
    return verdict;
  }

  /** Takes the correction of an address: the old one leaves, and the session registers anew, in its old slot if it has one. */
  correct(session: MemberSession, address: Address, now: number): AdmissionVerdict {
    const hasSlot = session.state === "member";
    this.depart(session, "left", `corrected to ${address}`, now);
    session.step("withdrawn");
    const { draw } = this.#options.rules;
    return this.register(session, { id: draw(), address, dialect: "classic" }, hasSlot);
  }

  /** An entry has come back. Returns what it has changed; undefined if it was known. */
  appended(entry: Entry, now: number): MembershipChange | undefined {
    const goes = entry.type === "joined" ? undefined : entry.type === "replaced" ? entry.replaces : entry.id;
    const removed = goes === undefined ? undefined : this.directory.member(goes);
    // A log may tell an entry twice; it happens once.
    if (!this.directory.apply(entry)) return undefined;
    this.admission.applied(entry, removed);
    if (removed !== undefined) this.#forget(removed, entry, now);
    const member = this.directory.member(entry.id);
    return {
      ...(removed === undefined ? {} : { removed }),
      ...(member === undefined ? {} : { entered: { member, session: this.#entered(member, removed?.id) } }),
    };
  }

  /** Lets those in line in, as far as there is room. */
  admitNext(now: number): void {
    this.#call(this.admission.freeSlots, now);
  }

  /** When the next in line are called, because those before them are slow to prove their addresses. */
  nextTimeout(): number | undefined {
    const { hasFreeSlot, calledCount, line } = this.admission;
    const isHeldUp = hasFreeSlot && calledCount > 0 && calledCount < line.size;
    return isHeldUp ? this.#calledAt + this.#options.rules.limits.dialBackSlowMs : undefined;
  }

  /** Whoever does not answer must not hold up those behind it: as many again are called. */
  handleTimeout(now: number): void {
    const at = this.nextTimeout();
    if (at !== undefined && at <= now) this.#call(2 * this.admission.calledCount, now);
  }

  /** Calls the first in line until so many are called; a classic one, whose address is taken as it is, comes in at once. */
  #call(count: number, now: number): void {
    const { admission } = this;
    const before = admission.line.size;
    for (const [session, candidate] of admission.line) {
      if (!admission.hasFreeSlot || admission.calledCount >= count) break;
      if (admission.isCalled(session)) continue;
      if (candidate.dialect === "native") {
        admission.call(session);
        this.#calledAt = now;
        this.#options.prove(session);
      } else this.#admit(session, candidate);
    }
    if (admission.line.size < before) this.#tellPlaces();
  }

  /** Takes a session out of the mesh, wherever on its way in it is. */
  depart(session: MemberSession, type: "left" | "lost", reason: string, now: number): void {
    const id = session.candidate?.id;
    if (session.state === "waiting" || session.state === "proving") {
      if (!this.admission.leaveLine(session)) return;
      this.#tellPlaces();
      this.admitNext(now);
    } else if (session.state === "joining" && id !== undefined) {
      this.#joining.set(id, undefined);
    } else if (session.state === "member" && id !== undefined) {
      this.remove(id, type, reason);
    }
  }

  /** Takes a member out, once. */
  remove(id: Id, type: "left" | "lost", reason: string): void {
    if (this.standing(id) === undefined) return;
    this.#departing.add(id);
    this.#append({ type, id, reason });
  }

  #admit(session: MemberSession, candidate: Candidate, replaces?: Id): void {
    this.admission.leaveLine(session);
    session.step("admitted");
    this.admission.appending(candidate, replaces);
    this.#joining.set(candidate.id, session);
    if (replaces === undefined) {
      this.#append({ type: "joined", ...candidate });
    } else {
      this.#departing.add(replaces);
      this.#append({ type: "replaced", replaces, ...candidate });
    }
  }

  #entered(member: Member, replaces: Id | undefined): MemberSession | undefined {
    const { mesh, outputs } = this.#options;
    const { id, address, order, dialect, name } = member;
    const session = this.#joining.get(id);
    const isOurs = this.#joining.delete(id);
    const instead = { ...(name === undefined ? {} : { name }), ...(replaces === undefined ? {} : { replaces }) };
    outputs.push({ type: "event", event: { type: "joined", mesh, id, address, order, dialect, ...instead } });
    if (session?.state === "joining") {
      session.step("listed");
      return session;
    }
    if (isOurs) this.remove(id, "left", "closed its connection");
    return undefined;
  }

  #forget(member: Member, entry: Entry, now: number): void {
    const { mesh, outputs, rules } = this.#options;
    const { id, address, order, dialect } = member;
    this.#departing.delete(id);
    this.#removed.add(id);
    const [oldest] = this.#removed;
    if (this.#removed.size > rules.limits.tombstones && oldest !== undefined) this.#removed.delete(oldest);
    if (entry.type !== "left" && entry.type !== "lost") return;
    const { type, reason } = entry;
    outputs.push({ type: "event", event: { type, mesh, id, address, order, dialect, reason } });
    this.admitNext(now);
  }

  /** Tells of the first in line, or of the one session named: telling all at each step would cost the square of the line. */
  #tellPlaces(only?: MemberSession): void {
    let place = 0;
    for (const [session, { address, dialect }] of this.admission.line) {
      place += 1;
      if (only === undefined && place > toldPlaces) return;
      if (only !== undefined && only !== session) continue;
      const { mesh, outputs } = this.#options;
      outputs.push({ type: "event", event: { type: "waiting", mesh, address, dialect, place } });
      if (dialect === "native") session.line.owe("waiting", encodeControl({ type: "waiting", place }));
    }
  }

  #append(change: Change): void {
    this.#options.outputs.push({ type: "append", mesh: this.#options.mesh, change });
  }
}

/** What a session says of itself and what is seen of it. */
export function applicantOf({ remote, identity }: MemberSession, candidate: Candidate): Applicant {
  return { ...candidate, observedHost: remote.host, isTrusted: identity !== undefined };
}
