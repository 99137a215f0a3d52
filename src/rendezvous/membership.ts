import type { ErrorCode } from "../core/errors.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers } from "../core/timers.js";
import type { Address } from "../protocol/address.js";
import {
  type Candidate,
  type Id,
  type MemberChange,
  type MemberEntry,
  mostRecoveryGap,
} from "../protocol/directory.js";
import { encodeControl } from "../protocol/native/control.js";
import type { AddressHolder, AddressRegistry } from "./address-registry.js";
import { Admission, type AdmissionVerdict, type Applicant } from "./admission.js";
import type { MemberRecord } from "./member-record.js";
import type { MemberSession, RecoveryClaim } from "./member-session.js";
import { Members, type MembershipChange } from "./members.js";
import type { MeshTimer, RejectionReason, RendezvousOutput, RendezvousRules } from "./types.js";

/** How many of those in line are sent their new place when it changes. */
const reportedPlaces = 10;

/** Revisions move so far above what a member claims to have read. */
const recoveryGap = 2 ** 20;

/** A session that is not let in, and why. */
export interface RefusedSession {
  readonly session: MemberSession;
  readonly code: ErrorCode;
  readonly message: string;
}

/** What follows from a rejected append. */
export interface RejectedAppend {
  /** The address of a registration, which nobody has now unless it was judged anew. */
  readonly address?: Address;
  readonly refused?: RefusedSession;
  /** The member that it was to replace. */
  readonly replaced?: MemberRecord;
  /** A removal does not count any more: the member stays. */
  readonly kept?: MemberRecord;
  /** The member of an earlier log that is expected again, and what it had said. */
  readonly expected?: MemberRecord;
  readonly claim?: RecoveryClaim;
  /** A member of another mesh whose address the new append takes; see `AdmissionVerdict`. */
  readonly evicts?: AddressHolder;
}

/** An append that the log has not answered yet: that of a registration, or the removal of the member. */
interface PendingAppend {
  readonly record: MemberRecord;
  readonly isRemoval: boolean;
  /** It was rejected before because of a conflict, and has been judged anew. */
  readonly isRepeated: boolean;
  readonly since: number;
}

/**
 * The members of a mesh, the registrations under way, and the waiting line: a registration goes through admission to the
 * log.
 *
 * Nothing is true before the log has answered. A session that ends while its append is under way is removed by a second
 * entry, because the first may be in the log already.
 */
export class Membership {
  readonly members: Members;
  readonly admission: Admission;
  readonly #rules: RendezvousRules;
  readonly #addresses: AddressRegistry;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #timers: KeyedTimers<MeshTimer>;
  /** Appends that the log has not answered, by their keys, the oldest first. */
  readonly #appends = new Map<number, PendingAppend>();
  #newestKey = 0;
  /** Ids that were removed, the oldest first. None of them can join again. */
  readonly #removed = new Set<Id>();

  /** `revision`: the one before the first entry. */
  constructor(
    mesh: string,
    revision: number,
    rules: RendezvousRules,
    addresses: AddressRegistry,
    outputs: OutputSink<RendezvousOutput>,
    timers: KeyedTimers<MeshTimer>,
  ) {
    this.members = new Members(mesh, revision, rules.limits.tombstones);
    this.admission = new Admission(rules, this.members, addresses);
    this.#rules = rules;
    this.#addresses = addresses;
    this.#outputs = outputs;
    this.#timers = timers;
  }

  /** How much is kept: members, appends, and ids that were removed. */
  get size(): number {
    return this.members.size + this.#appends.size + this.#removed.size;
  }

  /** True while the log has not answered everything that was appended. */
  get isAppending(): boolean {
    return this.#appends.size > 0;
  }

  /** Judges a registration. A session that was called from the waiting line takes a slot if one is still free. */
  judge(session: MemberSession, candidate: Candidate, hasSlot = false): AdmissionVerdict {
    if (this.#removed.has(candidate.id)) {
      return { type: "refuse", code: "FENCED", message: `the id ${candidate.id} has been removed; draw a new one` };
    }
    return this.admission.judge({ ...applicantOf(session, candidate), hasSlot, isCalled: session.isCalled });
  }

  /**
   * Handles a registration: the session is then joining or waiting, unless the verdict is a refusal. `corrects`: the own
   * entry of a classic member, which the new one replaces.
   */
  register(session: MemberSession, candidate: Candidate, now: number, corrects?: MemberRecord): AdmissionVerdict {
    const verdict = this.judge(session, candidate, corrects !== undefined);
    if (verdict.type === "refuse") return verdict;
    if (verdict.type === "wait") this.#queue(session, candidate, now);
    else this.#admit(session, candidate, this.#placeOf(verdict.replaces) ?? corrects, false, now);
    return verdict;
  }

  /** True if the log has removed this id, and remembers it. */
  isRemoved(id: Id): boolean {
    return this.#removed.has(id);
  }

  /**
   * Lets a member of an earlier log in again, with the order that it had. It is refused only for an address that a live member
   * of another mesh holds; at its own it has proved to be the only one.
   */
  recover(session: MemberSession, claim: RecoveryClaim, now: number): AdmissionVerdict | undefined {
    const { candidate } = session;
    if (candidate === undefined) return undefined;
    const { id, address } = candidate;
    if (this.#removed.has(id)) {
      return { type: "refuse", code: "FENCED", message: `the id ${id} has been removed; draw a new one` };
    }
    const known = this.members.get(id);
    if (known !== undefined && known.expectation === undefined) {
      // Another session has come back with this id meanwhile. Whoever it is goes on as a member of this log.
      return { type: "refuse", code: "STORE_UNAVAILABLE", message: `${id} is being let in on another session` };
    }
    const verdict = this.admission.judgeRecovery(candidate);
    // Others may have named another address than its own.
    if (verdict.type === "admit" && known !== undefined && known.address !== address) {
      this.#addresses.free(known.address, id);
    }
    if (verdict.type === "admit") this.#admit(session, candidate, this.#placeOf(verdict.replaces), false, now, claim);
    return verdict;
  }

  /** True if a member of this mesh, or a registration under way, has proved the address in this log. */
  isProved(address: Address): boolean {
    const holder = this.#addresses.of(address);
    // Of whoever waits in line no member reads anything.
    const isOfLog = holder?.standing !== "expected" && holder?.standing !== "waiting";
    return isOfLog && holder?.mesh === this.members.mesh;
  }

  /** A member of an earlier log is expected: it holds a slot, and its address unless somebody has proved that. */
  expect(candidate: Candidate, order: number, now: number): MemberRecord {
    const record = this.members.expect(candidate, order, now);
    if (this.#addresses.of(candidate.address) === undefined) this.#addresses.take(candidate.address, record);
    return record;
  }

  /** Corrects the address of a classic session. A listed one is replaced in one entry, so that its slot is never free. */
  correct(session: MemberSession, address: Address, now: number): AdmissionVerdict {
    const candidate: Candidate = { id: this.#rules.newId(), address, dialect: "classic" };
    if (session.state === "member") return this.register(session, candidate, now, this.members.of(session));
    this.depart(session, "left", `corrected to ${address}`, now);
    session.step("withdrawn");
    return this.register(session, candidate, now);
  }

  /** An entry has come back; `isReturned`: its member has joined long ago. Returns what it has changed; undefined if it was known. */
  appended(entry: MemberEntry, key: number | undefined, now: number, isReturned = false): MembershipChange | undefined {
    if (key !== undefined) this.#appends.delete(key);
    const change = this.members.apply(entry);
    if (change === undefined) return undefined;
    if (change.removed !== undefined) this.#forget(change.removed, entry);
    if (change.entered !== undefined) this.#enter(change.entered, change.removed, key !== undefined, isReturned, now);
    return change;
  }

  /**
   * An append was rejected. A registration that was in conflict with other entries is judged anew, once; after that, and
   * while the log takes nothing, its session is refused for the moment, or goes back into the line that it stood in. A
   * removal is appended again until it is true. Whoever is listed meanwhile, because another server has appended it, stays so.
   */
  rejected(key: number, reason: RejectionReason, now: number): RejectedAppend | undefined {
    const append = this.#appends.get(key);
    if (append === undefined) return undefined;
    this.#appends.delete(key);
    const { record, isRemoval, isRepeated } = append;
    if (isRemoval) return this.#removalRejected(record, reason, now);
    if (record.member !== undefined) return undefined;
    const { session, candidate, replaces: replaced } = record;
    this.drop(record, now);
    const { recovery } = record;
    const isUnavailable = reason === "unavailable" || isRepeated || recovery !== undefined;
    if (isUnavailable) this.#retryLater(now);
    const { address } = record;
    let result: RejectedAppend = {};
    if (session?.state === "joining") {
      if (!isUnavailable) result = this.#judgeAnew(session, candidate, replaced, now);
      else if (session.lineNumber !== undefined) this.#queue(session, candidate, now);
      else result = { refused: { session, code: "STORE_UNAVAILABLE", message: unavailable(reason) } };
    }
    result = { ...result, address, ...this.#returnRejected(record, now) };
    if (replaced === undefined) return result;
    // The old entry of a correction that has failed has no session any more.
    if (replaced.dialect === "classic" && replaced.isStanding) {
      this.remove(replaced, "left", "its corrected address was not taken", now);
    }
    return { ...result, replaced };
  }

  /** A member of an earlier log is expected again, unless this one has removed it meanwhile. */
  #returnRejected({ id, candidate, recovery }: MemberRecord, now: number): RejectedAppend {
    if (recovery === undefined) return {};
    const isRemoved = this.#removed.has(id);
    return { claim: recovery, ...(isRemoved ? {} : { expected: this.expect(candidate, recovery.order, now) }) };
  }

  /** A removal is appended again; but where servers share the log, one in conflict is of a member that has come back elsewhere. */
  #removalRejected(record: MemberRecord, reason: RejectionReason, now: number): RejectedAppend | undefined {
    record.isRemovalAppended = false;
    if (this.#rules.isShared && reason === "conflict") return this.keep(record);
    this.#retryLater(now);
    return undefined;
  }

  /** A member that was to be lost has a session elsewhere, or its removal does not count: it stays. */
  keep(record: MemberRecord): RejectedAppend | undefined {
    if (!this.members.has(record)) return undefined;
    record.removal = undefined;
    return { kept: record };
  }

  /** The log has been read anew: these ids have been removed. */
  restore(removed: readonly Id[]): void {
    for (const id of removed) this.#noteRemoved(id);
  }

  /** The log has been read anew, and covers this append. Returns whose registration it was, if it is not listed. */
  settle(key: number): MemberRecord | undefined {
    const append = this.#appends.get(key);
    this.#appends.delete(key);
    return append?.isRemoval === false && append.record.member === undefined ? append.record : undefined;
  }

  /** The append of the registration of this id. */
  keyOf(id: Id): number | undefined {
    for (const [key, { record, isRemoval }] of this.#appends) if (!isRemoval && record.id === id) return key;
    return undefined;
  }

  /** Another mesh of this name comes after this one: its appends are numbered on. */
  get newestKey(): number {
    return this.#newestKey;
  }

  set newestKey(key: number) {
    this.#newestKey = key;
  }

  /** Frees what a rejected registration held; whom it was to replace has the address again. */
  drop(record: MemberRecord, now: number): void {
    const { replaces: replaced, address, id } = record;
    this.members.drop(record);
    this.admission.ranks?.free(record.candidate);
    if (replaced !== undefined) this.admission.ranks?.take(replaced.candidate);
    if (this.#addresses.of(address)?.id === id) {
      this.#addresses.free(address, id);
      if (replaced !== undefined) this.#addresses.take(replaced.address, replaced);
    }
    if (replaced?.removal !== undefined && !replaced.isRemovalAppended) this.#appendRemoval(replaced, now);
  }

  #judgeAnew(
    session: MemberSession,
    candidate: Candidate,
    replaced: MemberRecord | undefined,
    now: number,
  ): RejectedAppend {
    const corrects = replaced?.dialect === "classic" && replaced.isStanding ? replaced : undefined;
    const hasSlot = corrects !== undefined;
    const verdict = this.admission.judge({ ...applicantOf(session, candidate), isCalled: true, hasSlot });
    if (verdict.type === "refuse") return { refused: { session, code: verdict.code, message: verdict.message } };
    if (verdict.type === "wait") this.#queue(session, candidate, now);
    else this.#admit(session, candidate, this.#placeOf(verdict.replaces) ?? corrects, true, now);
    return verdict.evicts === undefined ? {} : { evicts: verdict.evicts };
  }

  /**
   * Lets in those in line whose turn it is, and returns the native ones, which have to prove their addresses again. While the
   * log takes nothing they wait for the next try.
   */
  callNext(now: number, mustYield: boolean): MemberSession[] {
    const { admission } = this;
    const { line } = admission;
    if (this.#timers.has("log")) return [];
    const called: MemberSession[] = [];
    for (const session of line.due(() => admission.freeSlots, mustYield, now)) {
      if (session.dialect === "native") {
        line.call(session, now);
        called.push(session);
      } else if (session.candidate !== undefined) this.#admit(session, session.candidate, undefined, false, now);
    }
    this.#timers.set("line", line.callsMoreAt(admission.freeSlots, now));
    return called;
  }

  /** Whoever was called from the line has not answered. Returns whether it stands there again, where it stood before. */
  missCall(session: MemberSession, now: number): boolean {
    const { candidate } = session;
    if (candidate === undefined || !this.admission.line.missCall(session)) return false;
    this.#queue(session, candidate, now);
    return true;
  }

  /** Appends again what the log has rejected. */
  retry(now: number): void {
    for (const record of this.members.all) {
      // Whoever is being replaced meanwhile is removed by that; if the log rejects it, `drop` appends the removal.
      if (record.removal === undefined || record.isRemovalAppended || record.replacedBy !== undefined) continue;
      this.#appendRemoval(record, now);
    }
  }

  /** The sessions whose registration the log has not answered in time. It may be in the log all the same. */
  unanswered(now: number): RefusedSession[] {
    const refused: RefusedSession[] = [];
    const { logAnswerMs } = this.#rules.limits;
    for (const { record, isRemoval, since } of this.#appends.values()) {
      const { session } = record;
      if (isRemoval || session?.state !== "joining") continue;
      if (since + logAnswerMs > now) {
        this.#timers.set("answer", since + logAnswerMs);
        break;
      }
      const message = `the membership log has not answered for ${logAnswerMs / 1000} s`;
      refused.push({ session, code: "STORE_UNAVAILABLE", message });
    }
    return refused;
  }

  /** Removes a session that is over from the mesh, in whatever state it is. */
  depart(session: MemberSession, type: "left" | "lost", reason: string, now: number): void {
    const { state } = session;
    const record = this.members.of(session);
    if (state === "waiting" || state === "proving") {
      if (this.admission.line.remove(session)) this.#emitPlaces();
    } else if (state === "joining" && record !== undefined) {
      record.session = undefined;
    } else if (state === "member" && record !== undefined) {
      this.remove(record, type, reason, now);
    }
  }

  /** Appends the removal of a member, once. */
  remove(record: MemberRecord, type: "left" | "lost", reason: string, now: number): void {
    const isKnown = record.member !== undefined || record.expectation !== undefined;
    if (record.removal !== undefined || !isKnown || !this.members.has(record)) return;
    record.removal = { type, id: record.id, reason };
    // One that is being replaced is removed by that, unless the log rejects it.
    if (record.replacedBy === undefined) this.#appendRemoval(record, now);
  }

  #queue(session: MemberSession, candidate: Candidate, now: number): void {
    session.waitingSince ??= now;
    session.candidate = candidate;
    session.step("queued");
    this.admission.line.add(session, candidate);
    this.#emitPlaces(session);
  }

  #placeOf(id: Id | undefined): MemberRecord | undefined {
    return id === undefined ? undefined : this.members.get(id);
  }

  #admit(
    session: MemberSession,
    candidate: Candidate,
    replaces: MemberRecord | undefined,
    isRepeated: boolean,
    now: number,
    recovery?: RecoveryClaim,
  ): void {
    const stoodInLine = this.admission.line.remove(session);
    const former = this.members.of(session);
    session.step("admitted");
    session.candidate = candidate;
    const record = this.members.begin(candidate, replaces, recovery !== undefined);
    this.#addresses.take(candidate.address, record);
    this.admission.ranks?.take(candidate);
    // A corrected member has its session no more: that is the new entry's.
    if (former !== undefined) former.session = undefined;
    record.session = session;
    record.recovery = recovery;
    const member = { ...candidate, ...(recovery === undefined ? {} : { order: recovery.order }) };
    const change: MemberChange =
      replaces === undefined ? { type: "joined", ...member } : { type: "replaced", replaces: replaces.id, ...member };
    this.#append(record, change, isRepeated, now);
    if (!this.#timers.has("answer")) this.#timers.set("answer", now + this.#rules.limits.logAnswerMs);
    if (stoodInLine) this.#emitPlaces();
  }

  /** `isOwn`: this server has appended it. One that another server has appended may have its session there. */
  #enter(
    record: MemberRecord,
    removed: MemberRecord | undefined,
    isOwn: boolean,
    isReturned: boolean,
    now: number,
  ): void {
    const { id, address, order, dialect, session } = record;
    const { name } = record.candidate;
    this.#addresses.take(address, record);
    this.admission.ranks?.entered(record.candidate);
    const more = {
      ...(name === undefined ? {} : { name }),
      ...(removed === undefined ? {} : { replaces: removed.id }),
      ...(isReturned || record.recovery !== undefined ? { returned: true as const } : {}),
    };
    const { mesh } = this.members;
    this.#outputs.push({ type: "event", event: { type: "joined", mesh, id, address, order, dialect, ...more } });
    if (session?.state === "joining") {
      session.step("listed");
      session.lineNumber = undefined;
    } else if (isOwn && record.recovery === undefined) this.remove(record, "left", "closed its connection", now);
  }

  #forget({ candidate, order }: MemberRecord, entry: MemberEntry): void {
    const { id, address, dialect } = candidate;
    this.#addresses.free(address, id);
    this.admission.ranks?.free(candidate);
    this.#noteRemoved(id);
    if (entry.type !== "left" && entry.type !== "lost") return;
    const { type, reason } = entry;
    const { mesh } = this.members;
    this.#outputs.push({ type: "event", event: { type, mesh, id, address, order, dialect, reason } });
  }

  #noteRemoved(id: Id): void {
    this.#removed.add(id);
    const [oldest] = this.#removed;
    if (this.#removed.size > this.#rules.limits.tombstones && oldest !== undefined) this.#removed.delete(oldest);
  }

  /**
   * Sends their places to the first in line, or to the session named. To all at every change it would cost the square of
   * the length of the line.
   */
  #emitPlaces(only?: MemberSession): void {
    let place = 0;
    for (const session of this.admission.line) {
      place += 1;
      if (only === undefined && place > reportedPlaces) return;
      if ((only !== undefined && only !== session) || session.candidate === undefined) continue;
      const { address, dialect } = session.candidate;
      const { mesh } = this.members;
      this.#outputs.push({ type: "event", event: { type: "waiting", mesh, address, dialect, place } });
      if (dialect === "native") session.nativeWriter.owe("waiting", encodeControl({ type: "waiting", place }));
    }
  }

  #retryLater(now: number): void {
    if (!this.#timers.has("log")) this.#timers.set("log", now + this.#rules.limits.logRetryMs);
  }

  #appendRemoval(record: MemberRecord, now: number): void {
    if (record.removal === undefined) return;
    record.isRemovalAppended = true;
    this.#append(record, record.removal, false, now);
  }

  #append(record: MemberRecord, change: MemberChange, isRepeated: boolean, now: number): void {
    const { mesh, directory } = this.members;
    this.#newestKey += 1;
    const key = this.#newestKey;
    const isRemoval = change.type === "left" || change.type === "lost";
    this.#appends.set(key, { record, isRemoval, isRepeated, since: now });
    const after = Math.max(directory.revision, this.#floor(record));
    // Whoever has come back at another server meanwhile is not lost.
    const judges = this.#rules.isShared && change.type === "lost" ? { judges: record.attachment } : {};
    this.#outputs.push({ type: "append", mesh, key, after, change, ...judges });
  }

  /** Revisions go on well above what a returned member has read: no order and no token of an earlier log is given again. */
  #floor({ recovery }: MemberRecord): number {
    if (recovery === undefined) return 0;
    return Math.min(recovery.highest + recoveryGap, this.#rules.firstRevision + mostRecoveryGap);
  }
}

function unavailable(reason: RejectionReason): string {
  return reason === "unavailable"
    ? "the membership log takes no changes at the moment"
    : "other servers have taken what this member was to get, twice";
}

/** The applicant behind a session: its registration, and what the connection shows. */
export function applicantOf({ remote, identity, mustWait }: MemberSession, candidate: Candidate): Applicant {
  return { ...candidate, remote, isTrusted: identity !== undefined, mustWait };
}
