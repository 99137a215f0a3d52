import type { ErrorCode } from "../core/errors.js";
import type { OutputSink } from "../core/machine.js";
import { earliest } from "../core/timer-table.js";
import type { Address } from "../protocol/address.js";
import {
  type Candidate,
  Directory,
  type Id,
  type Member,
  type MemberChange,
  type MemberEntry,
} from "../protocol/directory.js";
import { encodeControl } from "../protocol/native/control.js";
import type { AddressHolder, AddressRegistry } from "./address-registry.js";
import { Admission, type AdmissionVerdict, type Applicant } from "./admission.js";
import type { MemberSession } from "./member-session.js";
import type { RejectionReason, RendezvousOutput, RendezvousRules } from "./types.js";

/** How many of those in line are told when their place changes. */
const reportedPlaces = 10;

/** The members that an entry has added and removed. */
export interface MembershipChange {
  /** The new member, and its session if that is still open. */
  readonly entered?: { readonly member: Member; readonly session: MemberSession | undefined };
  readonly removed?: Member;
}

/** What follows from a rejected append. */
export interface RejectedAppend {
  /** A session that is not let in, and why. */
  readonly refused?: { readonly session: MemberSession; readonly code: ErrorCode; readonly message: string };
  /** The members that were to be replaced, or are now. */
  readonly replaced: readonly Id[];
  /** A member of another mesh whose address the new append takes; see `AdmissionVerdict`. */
  readonly evicts?: AddressHolder;
}

/** A removal that this server wants. */
type Removal = Extract<MemberChange, { type: "left" | "lost" }>;

/** An append that the log has not answered yet. */
interface PendingAppend {
  readonly change: MemberChange;
  /** Whose membership it is to be; undefined for a removal, and once the session is over. */
  session?: MemberSession | undefined;
  /** It was rejected before because of a conflict, and has been judged anew. */
  readonly isRepeated: boolean;
}

/** What the membership of a mesh needs from it. */
export interface MembershipOptions {
  readonly mesh: string;
  readonly rules: RendezvousRules;
  /** The revision before the first entry. */
  readonly revision: number;
  readonly addresses: AddressRegistry;
  readonly outputs: OutputSink<RendezvousOutput>;
  /** Challenges the next session of the waiting line to prove its address again. */
  readonly prove: (session: MemberSession) => void;
}

/**
 * The members of a mesh, the registrations under way, and the waiting line: a registration goes through admission to the
 * log.
 *
 * Nothing is true before the log has answered. A session that ends while its append is under way is removed by a second
 * entry, because the first may be in the log already.
 */
export class Membership {
  readonly directory: Directory;
  readonly admission: Admission;
  readonly #options: MembershipOptions;
  /** Appends that the log has not answered, by their keys. */
  readonly #appends = new Map<number, PendingAppend>();
  #newestKey = 0;
  /** Members that are to be removed, each with its removal; undefined while only a replacement removes it. */
  readonly #departing = new Map<Id, Removal | undefined>();
  /** Removals that the log has rejected, which are appended again. */
  readonly #rejectedRemovals = new Map<Id, Removal>();
  /** When these are appended again, and the line goes on. */
  #retryAt: number | undefined;
  /** Ids that were removed, the oldest first. None of them can join again. */
  readonly #removed = new Set<Id>();
  /** When somebody in line was last called. */
  #calledAt = 0;

  constructor(options: MembershipOptions) {
    const { mesh, rules, revision, addresses } = options;
    this.#options = options;
    this.directory = new Directory(revision);
    this.admission = new Admission(mesh, rules, this.directory, addresses);
  }

  /** The member of this id, unless its removal is under way. */
  standing(id: Id): Member | undefined {
    return this.#departing.has(id) ? undefined : this.directory.member(id);
  }

  /** How much is kept: members, appends, and ids that were removed. */
  get size(): number {
    return this.directory.size + this.#appends.size + this.#departing.size + this.#removed.size;
  }

  /** True while the log has not answered everything that was appended. */
  get isAppending(): boolean {
    return this.#appends.size > 0;
  }

  /** Judges a registration. A session that was called from the waiting line takes a slot if one is still free. */
  judge(session: MemberSession, candidate: Candidate, corrects?: Id): AdmissionVerdict {
    if (this.#removed.has(candidate.id)) {
      return { type: "refuse", code: "FENCED", message: `the id ${candidate.id} has been removed; draw a new one` };
    }
    return this.admission.judge({
      ...applicantOf(session, candidate),
      hasSlot: corrects !== undefined,
      isCalled: this.admission.isCalled(session),
    });
  }

  /**
   * Handles a registration: the session is then joining or waiting, unless the verdict is a refusal. `corrects`: the own
   * entry of a classic member, which the new one replaces.
   */
  register(session: MemberSession, candidate: Candidate, corrects?: Id): AdmissionVerdict {
    const verdict = this.judge(session, candidate, corrects);
    if (verdict.type === "refuse") return verdict;
    session.candidate = candidate;
    if (verdict.type === "admit") {
      const stoodInLine = this.admission.line.has(session);
      this.#admit(session, candidate, { replaces: verdict.replaces ?? corrects });
      if (stoodInLine) this.#emitPlaces();
    } else {
      this.#queue(session, candidate);
    }
    return verdict;
  }

  /** Corrects the address of a classic session. A listed one is replaced in one entry, so that its slot is never free. */
  correct(session: MemberSession, address: Address): AdmissionVerdict {
    const candidate: Candidate = { id: this.#options.rules.newId(), address, dialect: "classic" };
    if (session.state === "member") return this.register(session, candidate, session.candidate?.id);
    this.depart(session, "left", `corrected to ${address}`);
    session.step("withdrawn");
    return this.register(session, candidate);
  }

  /** An entry has come back. Returns what it has changed; undefined if it was known. */
  appended(entry: MemberEntry, key: number | undefined): MembershipChange | undefined {
    const append = this.#appends.get(key ?? 0);
    this.#appends.delete(key ?? 0);
    const goes = entry.type === "joined" ? undefined : entry.type === "replaced" ? entry.replaces : entry.id;
    const removed = goes === undefined ? undefined : this.directory.member(goes);
    // A log may tell an entry twice; it happens once.
    if (!this.directory.apply(entry)) return undefined;
    this.admission.applied(entry, removed);
    if (removed !== undefined) this.#forget(removed, entry);
    const member = this.directory.member(entry.id);
    return {
      ...(removed === undefined ? {} : { removed }),
      ...(member === undefined ? {} : { entered: { member, session: this.#entered(member, append, removed?.id) } }),
    };
  }

  /**
   * An append was rejected. A registration that was in conflict with other entries is judged anew, once; after that, and
   * while the log takes nothing, its session is refused for the moment. A removal is appended again until it is true.
   */
  rejected(key: number, reason: RejectionReason, now: number): RejectedAppend | undefined {
    const append = this.#appends.get(key);
    if (append === undefined) return undefined;
    this.#appends.delete(key);
    const { change } = append;
    if (change.type === "left" || change.type === "lost") {
      this.#rejectedRemovals.set(change.id, change);
      this.#retryAt ??= now + this.#options.rules.limits.logRetryMs;
      return undefined;
    }
    const result = this.#rejectedJoin(append, change, reason, now);
    // The old entry of a correction that has failed has no session any more.
    const corrected = correctedBy(change);
    if (corrected !== undefined && this.standing(corrected) !== undefined) {
      this.remove(corrected, "left", "its corrected address was not taken");
    }
    return result;
  }

  #rejectedJoin(
    { session, isRepeated }: PendingAppend,
    change: Exclude<MemberChange, Removal>,
    reason: RejectionReason,
    now: number,
  ): RejectedAppend {
    const { type: _, ...joining } = change;
    const replaced = this.#release(joining);
    if (reason === "unavailable" || isRepeated) this.#retryAt ??= now + this.#options.rules.limits.logRetryMs;
    if (session?.state !== "joining") return { replaced };
    if (reason === "unavailable" || isRepeated) {
      const message =
        reason === "unavailable"
          ? "the membership log takes no changes at the moment"
          : "other servers have taken what this member was to get, twice";
      return { refused: { session, code: "STORE_UNAVAILABLE", message }, replaced };
    }
    return this.#judgeAnew(session, replaced, correctedBy(change));
  }

  /** Frees what a rejected registration held. Returns the member that it was to replace, if any. */
  #release(joining: Candidate & { readonly replaces?: Id }): Id[] {
    const { replaces } = joining;
    this.admission.rejected(joining, replaces === undefined ? undefined : this.directory.member(replaces));
    if (replaces === undefined) return [];
    const removal = this.#departing.get(replaces);
    if (removal === undefined) this.#departing.delete(replaces);
    else if (!this.#isRemoving(replaces)) this.#append({ change: removal, isRepeated: false });
    return [replaces];
  }

  /** True while the removal of this member is under way by itself. */
  #isRemoving(id: Id): boolean {
    if (this.#rejectedRemovals.has(id)) return true;
    for (const { change } of this.#appends.values()) {
      if (change.type !== "joined" && change.type !== "replaced" && change.id === id) return true;
    }
    return false;
  }

  #isBeingReplaced(id: Id): boolean {
    for (const { change } of this.#appends.values()) {
      if (change.type === "replaced" && change.replaces === id) return true;
    }
    return false;
  }

  #judgeAnew(session: MemberSession, replaced: readonly Id[], corrected: Id | undefined): RejectedAppend {
    const { candidate } = session;
    if (candidate === undefined) return { replaced };
    const own = this.standing(corrected ?? "")?.id;
    const hasSlot = own !== undefined;
    const verdict = this.admission.judge({ ...applicantOf(session, candidate), isCalled: true, hasSlot });
    if (verdict.type === "refuse") {
      return { refused: { session, code: verdict.code, message: verdict.message }, replaced };
    }
    const evicts = verdict.evicts === undefined ? {} : { evicts: verdict.evicts };
    if (verdict.type === "wait") {
      this.#queue(session, candidate);
      return { replaced, ...evicts };
    }
    const replaces = verdict.replaces ?? own;
    this.#admit(session, candidate, { replaces, isRepeated: true });
    return { replaced: replaces === undefined ? replaced : [...replaced, replaces], ...evicts };
  }

  #queue(session: MemberSession, candidate: Candidate): void {
    session.step("queued");
    this.admission.wait(session, candidate);
    this.#emitPlaces(session);
  }

  /**
   * Calls as many from the waiting line as there are free slots. While the log takes nothing they wait for the next try:
   * else all would be refused.
   */
  callNext(now: number): void {
    if (this.#retryAt === undefined) this.#call(this.admission.freeSlots, now);
  }

  /** When the next in line are called, because those before them are slow to prove their addresses. */
  nextTimeout(): number | undefined {
    const { hasFreeSlot, calledCount, line, ranks } = this.admission;
    // In a gang nobody may pass those who were called.
    const isHeldUp = ranks === undefined && hasFreeSlot && calledCount > 0 && calledCount < line.size;
    return earliest(this.#retryAt, isHeldUp ? this.#calledAt + this.#options.rules.limits.dialBackSlowMs : undefined);
  }

  /** One that is slow to prove its address must not hold up those behind it: twice as many are called. */
  handleTimeout(now: number): void {
    if (this.#retryAt !== undefined && this.#retryAt <= now) this.#retry();
    const at = this.nextTimeout();
    if (at !== undefined && at <= now) this.#call(2 * this.admission.calledCount, now);
  }

  #retry(): void {
    this.#retryAt = undefined;
    const removals = [...this.#rejectedRemovals.values()];
    this.#rejectedRemovals.clear();
    for (const change of removals) {
      // Whoever is being replaced meanwhile is removed by that; if the log rejects it, `#release` appends the removal.
      if (this.directory.member(change.id) === undefined || this.#isBeingReplaced(change.id)) continue;
      this.#append({ change, isRepeated: false });
    }
  }

  /** Calls the first in line until so many are called. A classic one needs no proof, and is admitted at once. */
  #call(count: number, now: number): void {
    const { admission } = this;
    const before = admission.line.size;
    if (admission.calledCount >= Math.min(count, before)) return;
    for (const [session, candidate] of admission.line) {
      if (!admission.hasFreeSlot || admission.calledCount >= count) break;
      if (admission.isCalled(session) || admission.ranks?.isDue(candidate) === false) continue;
      if (candidate.dialect === "native") {
        admission.call(session);
        this.#calledAt = now;
        this.#options.prove(session);
      } else this.#admit(session, candidate, {});
    }
    if (admission.line.size < before) this.#emitPlaces();
  }

  /** Removes a session that is over from the mesh, in whatever state it is. */
  depart(session: MemberSession, type: "left" | "lost", reason: string): void {
    const id = session.candidate?.id;
    if (session.state === "waiting" || session.state === "proving") {
      if (this.admission.leaveLine(session)) this.#emitPlaces();
    } else if (session.state === "joining") {
      for (const append of this.#appends.values()) if (append.session === session) append.session = undefined;
    } else if (session.state === "member" && id !== undefined) {
      this.remove(id, type, reason);
    }
  }

  /** Appends the removal of a member, once. */
  remove(id: Id, type: "left" | "lost", reason: string): void {
    if (this.directory.member(id) === undefined || this.#departing.get(id) !== undefined) return;
    const change: Removal = { type, id, reason };
    // One that is being replaced is removed by that, unless the log rejects it.
    const isReplaced = this.#departing.has(id);
    this.#departing.set(id, change);
    if (!isReplaced) this.#append({ change, isRepeated: false });
  }

  #admit(
    session: MemberSession,
    candidate: Candidate,
    { replaces, isRepeated = false }: { readonly replaces?: Id | undefined; readonly isRepeated?: boolean },
  ): void {
    this.admission.leaveLine(session);
    session.step("admitted");
    this.admission.appending(candidate, replaces);
    if (replaces !== undefined && !this.#departing.has(replaces)) this.#departing.set(replaces, undefined);
    const change: MemberChange =
      replaces === undefined ? { type: "joined", ...candidate } : { type: "replaced", replaces, ...candidate };
    this.#append({ change, session, isRepeated });
  }

  #entered(member: Member, append: PendingAppend | undefined, replaces: Id | undefined): MemberSession | undefined {
    const { mesh, outputs } = this.#options;
    const { id, address, order, dialect, name } = member;
    const session = append?.session;
    const instead = { ...(name === undefined ? {} : { name }), ...(replaces === undefined ? {} : { replaces }) };
    outputs.push({ type: "event", event: { type: "joined", mesh, id, address, order, dialect, ...instead } });
    if (session?.state === "joining") {
      session.step("listed");
      return session;
    }
    if (append !== undefined) this.remove(id, "left", "closed its connection");
    return undefined;
  }

  #forget(member: Member, entry: MemberEntry): void {
    const { mesh, outputs, rules } = this.#options;
    const { id, address, order, dialect } = member;
    this.#departing.delete(id);
    this.#rejectedRemovals.delete(id);
    this.#removed.add(id);
    const [oldest] = this.#removed;
    if (this.#removed.size > rules.limits.tombstones && oldest !== undefined) this.#removed.delete(oldest);
    if (entry.type !== "left" && entry.type !== "lost") return;
    const { type, reason } = entry;
    outputs.push({ type: "event", event: { type, mesh, id, address, order, dialect, reason } });
  }

  /**
   * Sends their places to the first in line, or to the session named. To all at every change it would cost the square of
   * the length of the line.
   */
  #emitPlaces(only?: MemberSession): void {
    let place = 0;
    for (const [session, { address, dialect }] of this.admission.line) {
      place += 1;
      if (only === undefined && place > reportedPlaces) return;
      if (only !== undefined && only !== session) continue;
      const { mesh, outputs } = this.#options;
      outputs.push({ type: "event", event: { type: "waiting", mesh, address, dialect, place } });
      if (dialect === "native") session.nativeWriter.owe("waiting", encodeControl({ type: "waiting", place }));
    }
  }

  #append(append: PendingAppend): void {
    const { mesh, outputs } = this.#options;
    this.#newestKey += 1;
    const key = this.#newestKey;
    this.#appends.set(key, append);
    outputs.push({ type: "append", mesh, key, after: this.directory.revision, change: append.change });
  }
}

/** The own entry that a classic member wants corrected; undefined if the change is no correction. */
function correctedBy(change: MemberChange): Id | undefined {
  return change.type === "replaced" && change.dialect === "classic" ? change.replaces : undefined;
}

/** The applicant behind a session: its registration, and what the connection shows. */
export function applicantOf({ remote, identity }: MemberSession, candidate: Candidate): Applicant {
  return { ...candidate, observedHost: remote.host, isTrusted: identity !== undefined };
}
