import { printable } from "../core/escaping.js";
import type { OutputSink } from "../core/machine.js";
import { earliest } from "../core/timer-table.js";
import type { Address } from "../protocol/address.js";
import type { Candidate, Entry, Id, Member } from "../protocol/directory.js";
import type { AddressRegistry } from "./address-registry.js";
import type { VerificationResult } from "./address-verifier.js";
import type { AdmissionVerdict } from "./admission.js";
import type { ListBroadcaster } from "./classic/list-broadcaster.js";
import { CompletenessTracker, type LinkReport } from "./completeness.js";
import { CompletenessReporter } from "./completeness-reporter.js";
import { FailureDetector } from "./failure-detector.js";
import type { MemberSession } from "./member-session.js";
import { Membership, type RejectedAppend } from "./membership.js";
import { LogBroadcaster } from "./native/log-broadcaster.js";
import type { MeshEndReason } from "./session-closer.js";
import { SharedAddressDetector } from "./shared-address-detector.js";
import { shortfallOf } from "./shortfall.js";
import type { AbsentMemberRow, LogAnswer, RendezvousOutput, RendezvousRules } from "./types.js";

/** What a mesh is made with. */
export interface MeshOptions {
  readonly name: string;
  readonly rules: RendezvousRules;
  /** The revision before the first entry of its log. */
  readonly revision: number;
  readonly addresses: AddressRegistry;
  readonly delivery: ListBroadcaster;
  readonly outputs: OutputSink<RendezvousOutput>;
  /** Somebody in line is to prove its address once more. */
  readonly prove: (session: MemberSession) => void;
  /** Somebody is to look whether this member still listens. */
  readonly check: (mesh: string, member: Member) => void;
}

/** What an entry has brought about that concerns sessions. */
export interface AppendResult {
  /** The session that is a member by it. */
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

/** One mesh: who is in it, who is there, how whole it is, and when it ends. */
export class Mesh {
  readonly name: string;
  readonly roll: Membership;
  readonly updates: LogBroadcaster;
  readonly #options: MeshOptions;
  readonly #completeness = new CompletenessTracker();
  readonly #presence: FailureDetector;
  readonly #shared: SharedAddressDetector;
  readonly #outlook: CompletenessReporter;
  /** Sessions of classic members, which are told each list. */
  readonly #classics = new Set<MemberSession>();
  /** When as many members as the capacity were there for the first time. */
  #fullAt: number | undefined;
  /** Members that have gone since then, the newest last. */
  readonly #gone: AbsentMemberRow[] = [];
  #ending: MeshEndReason | undefined;
  #isHalted = false;

  constructor(options: MeshOptions) {
    const { name, rules, revision, addresses, outputs, prove, check } = options;
    this.name = name;
    this.#options = options;
    this.roll = new Membership({ mesh: name, rules, revision, addresses, outputs, prove });
    const { directory } = this.roll;
    this.updates = new LogBroadcaster(rules.draw(), directory, rules.limits);
    this.#presence = new FailureDetector({
      limits: rules.limits,
      completeness: this.#completeness,
      member: (id) => this.roll.standing(id),
      check: (member) => check(name, member),
      lose: (id, reason) => this.roll.remove(id, "lost", reason),
    });
    this.#shared = new SharedAddressDetector(rules.limits);
    const completeness = this.#completeness;
    this.#outlook = new CompletenessReporter({
      mesh: name,
      rules,
      directory,
      completeness,
      updates: this.updates,
      outputs,
    });
  }

  /** How much is kept of it. */
  get size(): number {
    return this.roll.size + this.updates.size + this.#presence.size + this.#classics.size;
  }

  get hasEnded(): boolean {
    return this.#isHalted;
  }

  /** How it has ended, if it has. */
  get ending(): MeshEndReason | undefined {
    return this.#ending;
  }

  /** True while somebody is in it, or about to be, or while it has an end to come to. */
  get isPeopled(): boolean {
    const { directory, admission } = this.roll;
    return !this.#isHalted && (directory.size > 0 || admission.isAppending || this.#finishAt !== undefined);
  }

  /** True when it may be forgotten: nobody is in it or on the way, and no end is to come. */
  get isIdle(): boolean {
    return !this.isPeopled && !this.#presence.isHeard && !this.#isHalted;
  }

  /** The members that have a live session, in join order. */
  get present(): Member[] {
    return this.#completeness.members(true);
  }

  /** True when no session of it lives, and nobody was found at the addresses of its members. */
  get isDeserted(): boolean {
    return this.#mayBeForgotten && this.#presence.isDeserted(this.roll.directory.size);
  }

  /** True when no session of it has lived for a lease, and nobody is judged: whoever comes back joins anew. */
  isAbandoned(now: number): boolean {
    const at = this.#forgetAt;
    return at !== undefined && at <= now;
  }

  get #forgetAt(): number | undefined {
    return this.#mayBeForgotten ? this.#presence.forgetAt : undefined;
  }

  /** A full mesh ends by itself, and one that has ended is remembered, so that whoever comes late is told. */
  get #mayBeForgotten(): boolean {
    return !this.#isHalted && this.#finishAt === undefined && !this.roll.isAppending;
  }

  // The way in.

  /** Takes a registration whose address needs no proof, or has been proved. */
  register(session: MemberSession, candidate: Candidate, now: number): AdmissionVerdict {
    const verdict = this.roll.register(session, candidate);
    if (verdict.type !== "refuse") this.#presence.begin(session, now);
    const replaced = verdict.type === "admit" ? this.roll.directory.member(verdict.replaces ?? "") : undefined;
    // Somebody else has proved its address, so it is not there, whatever its session looks like.
    if (replaced !== undefined) this.#completeness.setAbsent(replaced);
    return verdict;
  }

  /** Takes the correction of a classic member's address. */
  correct(session: MemberSession, address: Address, now: number): AdmissionVerdict {
    this.#classics.delete(session);
    const corrected = session.state === "member" ? this.roll.directory.member(session.candidate?.id ?? "") : undefined;
    const verdict = this.roll.correct(session, address, now);
    // Its old entry is still to be removed, and its session is no longer that entry's.
    if (corrected !== undefined) this.#completeness.setAbsent(corrected);
    if (verdict.type !== "refuse") this.#presence.begin(session, now);
    return verdict;
  }

  /** The member that may come back with this id, log and address; undefined if there is none. */
  returning({ id, address }: Candidate, log: Id): Member | undefined {
    const member = this.roll.standing(id);
    const isIt = member?.address === address && member.dialect === "native" && log === this.updates.log;
    return isIt && !this.#isHalted ? member : undefined;
  }

  /** A session is to prove that this member is back. */
  proving(session: MemberSession, { id }: Member): void {
    this.#presence.proving(session, id);
  }

  /** A member has come back on this session. Returns the session that it had, if that is still open. */
  resume(session: MemberSession, member: Member, revision: number, now: number): MemberSession | undefined {
    session.step("resumed");
    this.roll.admission.setAbsent(member, false);
    const older = this.#presence.attach(member.id, session, now);
    if (older !== undefined) this.updates.end(older);
    this.updates.begin(session, member.order, revision);
    this.#completeness.setBack(member);
    return older;
  }

  /** An entry has come back from the log. */
  appended(answer: Extract<LogAnswer, { type: "appended" }>, now: number): AppendResult {
    const { entry } = answer;
    const changed = this.roll.appended(answer, now);
    if (changed === undefined) return {};
    this.updates.add(entry);
    const { removed, entered } = changed;
    const fenced = removed === undefined ? undefined : this.#remove(removed, now);
    if (entry.type === "replaced") this.#replaced(entry, fenced !== undefined, now);
    else if (removed !== undefined) this.#shared.forget(removed.id);
    if (removed !== undefined) this.#noteGone(removed, entry);
    if (entered !== undefined) this.#enter(entered.member, entered.session, now);
    const newcomer = entered?.session;
    return { ...(newcomer === undefined ? {} : { newcomer }), ...(fenced === undefined ? {} : { fenced }) };
  }

  /** An append was rejected: what was held for it is free again. */
  rejected({ key, reason }: Extract<LogAnswer, { type: "rejected" }>, now: number): RejectedAppend | undefined {
    const result = this.roll.rejected(key, reason, now);
    for (const id of result?.replaced ?? []) this.#reviewPresence(id, now);
    return result;
  }

  /** A member whose place somebody else was to take is there again if it has a session, and watched if it has none. */
  #reviewPresence(id: Id, now: number): void {
    const member = this.roll.directory.member(id);
    if (member === undefined) return;
    if (this.roll.standing(id) === undefined) {
      this.#completeness.setAbsent(member);
    } else if (this.#presence.has(id)) {
      this.#completeness.setThere(member);
    } else {
      this.roll.admission.setAbsent(member, true);
      this.#presence.expect(member, now);
    }
  }

  /** Owes every classic member the newest list, because this newcomer is in it. */
  listDue(newcomer: MemberSession, now: number): void {
    if (this.#classics.size > 0) this.#options.delivery.listsDue(this.#classics, newcomer, now);
  }

  // What becomes of sessions.

  /** A session is over. A native member whose session breaks is a member still; everybody else goes with it. */
  depart(session: MemberSession, type: "left" | "lost", reason: string, now: number): void {
    this.#classics.delete(session);
    this.updates.end(session);
    if (this.#isHalted) return;
    const mayComeBack = session.state === "member" && session.dialect === "native" && type === "lost";
    if (!mayComeBack) this.roll.depart(session, type, reason, now);
    const absent = this.#presence.end(session, reason, now);
    if (absent !== undefined) this.roll.admission.setAbsent(absent, true);
    const member = session.state === "member" ? this.roll.directory.member(session.candidate?.id ?? "") : undefined;
    // An older session of a member that has come back is not the one that it has.
    if (member !== undefined && !this.#presence.has(member.id)) this.#completeness.setAbsent(member);
  }

  report(session: MemberSession, report: LinkReport, now: number): void {
    // One that is about to be removed may stay, if the log rejects that.
    const member = this.roll.directory.member(session.candidate?.id ?? "");
    if (member !== undefined) this.#presence.judge(this.#completeness.report(member, report, now), now);
  }

  /** The address of a member has been dialed, to see whether it is there. */
  checked(id: Id, found: VerificationResult["found"], detail: string, now: number): void {
    if (!this.#isHalted) this.#presence.checked(id, found, detail, now);
  }

  /** Somebody in another mesh has proved the address of a member that has no session. */
  evict(id: Id, mesh: string): void {
    this.roll.remove(id, "lost", `its address belongs to a member of "${printable(mesh)}" now`);
  }

  /** Frees all that it holds. Its log ends without an entry, because nobody is there to read one; its owner is told. */
  forget(): void {
    const { addresses, outputs, rules } = this.#options;
    const mesh = this.name;
    const reason = `nobody of its mesh was heard for ${rules.limits.leaseMs / 1000} s`;
    for (const { id, address, order, dialect } of this.roll.directory.members) {
      addresses.free(address, id);
      if (this.#isHalted) continue;
      outputs.push({ type: "event", event: { type: "lost", mesh, id, address, order, dialect, reason } });
    }
  }

  // How whole it is, and the end.

  /** Looks at what the last input has changed. Returns how the mesh is to end now, if it is. */
  review(now: number): MeshEnd | undefined {
    if (this.#isHalted) return undefined;
    this.#noteFull(now);
    this.#outlook.review(now);
    const { isComplete } = this.#outlook;
    if ((this.#endsAt ?? Number.POSITIVE_INFINITY) <= now) {
      const { finishMs } = this.#options.rules.limits;
      const reason = isComplete ? "capacity reached" : `not complete within ${finishMs / 1000} s`;
      return { reason, isTooLate: !isComplete };
    }
    this.updates.handleTimeout(now);
    return undefined;
  }

  /** Tells how the mesh stands at its end, and ends it. Its sessions are still to be told what this returns. */
  end({ reason, isTooLate }: MeshEnd): MeshEndReason {
    const { rules, addresses, outputs } = this.#options;
    this.#outlook.tellComplete();
    const { figures } = this.#outlook;
    const { there } = this.#completeness;
    const missing = this.#outlook.missing();
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
    this.updates.finish();
    this.halt();
    for (const { address, id } of this.roll.directory.members) addresses.free(address, id);
    return this.#ending;
  }

  /** From now on the mesh changes no more, and takes nobody in. */
  halt(): void {
    this.#isHalted = true;
    this.roll.admission.seal();
    this.#presence.stop();
  }

  nextTimeout(): number | undefined {
    if (this.#isHalted) return undefined;
    return earliest(
      this.updates.nextTimeout(),
      this.roll.nextTimeout(),
      this.#presence.nextTimeout(),
      this.#outlook.nextTimeout(),
      this.#forgetAt,
      this.#endsAt,
    );
  }

  handleTimeout(now: number): void {
    if (this.#isHalted) return;
    this.#presence.handleTimeout(now);
    this.roll.handleTimeout(now);
    this.#outlook.handleTimeout(now);
  }

  #enter(member: Member, session: MemberSession | undefined, now: number): void {
    this.#completeness.enter(member, session !== undefined, now);
    if (session === undefined) {
      // Another writer has appended it: it has one lease to show itself here.
      if (member.dialect === "native" && this.roll.standing(member.id) !== undefined)
        this.#reviewPresence(member.id, now);
      return;
    }
    if (member.dialect === "classic") {
      this.#classics.add(session);
      return;
    }
    this.#presence.attach(member.id, session, now);
    this.updates.begin(session, member.order);
  }

  /** Whoever pushes out a member that is connected, again and again, shares its address with it. */
  #replaced({ replaces, id, address }: Extract<Entry, { type: "replaced" }>, wasConnected: boolean, now: number): void {
    const times = this.#shared.replaced(replaces, wasConnected, id, now);
    if (times === 0) return;
    const message = `${times} times in a row somebody else has proved it while the member that had it was connected`;
    this.#options.outputs.push({ type: "note", note: { code: "ADDRESS_SHARED", message, remote: address } });
  }

  #remove(member: Member, now: number): MemberSession | undefined {
    const session = this.#presence.remove(member.id);
    this.#presence.judge(this.#completeness.remove(member, now), now);
    if (session !== undefined) this.updates.end(session);
    return session;
  }

  #noteFull(now: number): void {
    const { there } = this.#completeness;
    const { rules, outputs } = this.#options;
    if (this.#fullAt !== undefined || there < rules.capacity) return;
    this.#fullAt = now;
    outputs.push({ type: "event", event: { type: "full", mesh: this.name, members: there } });
  }

  /** Who goes once the mesh has been full may be missed at its end. */
  #noteGone({ address }: Member, entry: Entry): void {
    if (this.#fullAt === undefined || (entry.type !== "left" && entry.type !== "lost")) return;
    this.#gone.push([address, `${entry.type}: ${entry.reason}`]);
    if (this.#gone.length > this.#options.rules.limits.namedPairs) this.#gone.shift();
  }

  /** Listed members without a session, and the newest of those who have gone and whose slots are empty. */
  #absent(): AbsentMemberRow[] {
    const { directory } = this.roll;
    const listed = this.#completeness.members(false).map(({ id, address }): AbsentMemberRow => {
      return [address, `no session: ${this.#presence.whyAbsent(id) ?? "it goes"}`];
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
    const { rules, delivery } = this.#options;
    if (this.#fullAt === undefined || this.#finishAt === undefined || !this.#outlook.isComplete) return this.#finishAt;
    const needsTime = this.roll.admission.classicMembers > 1 || this.#completeness.natives === 0;
    return needsTime ? Math.max(this.#fullAt, delivery.lastListAt) + rules.limits.settleMs : this.#fullAt;
  }
}
