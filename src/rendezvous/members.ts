import { type Candidate, Directory, type Id, type MemberEntry } from "../protocol/directory.js";
import { MemberRecord } from "./member-record.js";
import type { MemberSession } from "./member-session.js";
import { storedBytes } from "./stored-members.js";

/** What an entry has changed. */
export interface MembershipChange {
  readonly entered?: MemberRecord;
  readonly removed?: MemberRecord;
}

/**
 * The members of one mesh and the registrations whose append is under way: the directory, and a record of each.
 *
 * All counts are kept up to date, so a registration costs the same in a mesh of ten and of a thousand.
 */
export class Members {
  readonly mesh: string;
  readonly directory: Directory;
  readonly #byId = new Map<Id, MemberRecord>();
  /** Those that the directory lists, in the order in which they came. */
  readonly #listed = new Map<Id, MemberRecord>();
  readonly #expected = new Set<MemberRecord>();
  /** Members of an earlier log that are back, and whose append is under way. */
  readonly #returning = new Set<MemberRecord>();
  /** Removed ids that members may remember from an earlier log, the oldest first. */
  readonly #goneOfEarlierLogs = new Set<Id>();
  readonly #tombstones: number;
  /** Sessions of members of an earlier log that are saying whom they know. */
  readers = 0;
  /** Expected ones that somebody has said to have ended. */
  #doubted = 0;
  /** How many members of an earlier log other servers await. */
  awaitedElsewhere = 0;
  readonly #present = new Set<MemberRecord>();
  readonly #elsewhere = new Set<MemberRecord>();
  #replacing = 0;
  #classics = 0;
  #listedNatives = 0;
  #addressBytes = 0;
  #storedBytes = 0;

  /** `revision`: the one before the first entry. `tombstones`: how many removed ids are kept. */
  constructor(mesh: string, revision: number, tombstones: number) {
    this.mesh = mesh;
    this.#tombstones = tombstones;
    this.directory = new Directory(revision);
  }

  /** Members and registrations under way. */
  get size(): number {
    return this.#byId.size;
  }

  /** The slots that these take: a registration that replaces a member takes none of its own. */
  get slots(): number {
    return this.#byId.size - this.#replacing - this.#doubted;
  }

  get isAppending(): boolean {
    return this.#byId.size > this.#listed.size + this.#expected.size;
  }

  /** Classic members and registrations under way. */
  get classics(): number {
    return this.#classics;
  }

  /** Native members. */
  get natives(): number {
    return this.#listedNatives;
  }

  /** Members that have a session, and stay. */
  get present(): number {
    return this.#present.size;
  }

  /** Members that have a session at another server. */
  get elsewhere(): number {
    return this.#elsewhere.size;
  }

  /** The addresses of all, each with the byte that separates it from the next. */
  get addressBytes(): number {
    return this.#addressBytes;
  }

  /** What all take in a store. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  /** The records of members, by their ids, in the order in which they came to this log. */
  get listed(): ReadonlyMap<Id, MemberRecord> {
    return this.#listed;
  }

  /** Members of earlier logs that others have named, and that have not come back. */
  get expected(): ReadonlySet<MemberRecord> {
    return this.#expected;
  }

  /** How many members of earlier logs are expected, or are just being let in. */
  get unsettled(): number {
    return this.#expected.size + this.#returning.size;
  }

  /** How many of these are waited for: nobody has said that they have ended. */
  get awaited(): number {
    return this.#expected.size - this.#doubted + this.#returning.size;
  }

  /**
   * Ids that this log has removed, and that members may remember from an earlier one, the newest ones: also those that it has
   * listed, because whoever was let in may not have read that.
   */
  get goneOfEarlierLogs(): ReadonlySet<Id> {
    return this.#goneOfEarlierLogs;
  }

  get all(): Iterable<MemberRecord> {
    return this.#byId.values();
  }

  /** The member of this id, or the registration of it that is under way. */
  get(id: Id): MemberRecord | undefined {
    return this.#byId.get(id);
  }

  /** The member, or the registration under way, that a session speaks for. */
  of(session: MemberSession): MemberRecord | undefined {
    const record = this.#byId.get(session.candidate?.id ?? "");
    return record?.session === session ? record : undefined;
  }

  has(record: MemberRecord): boolean {
    return this.#byId.get(record.id) === record;
  }

  /** The append of a registration is under way, or that of a member which `returns` from an earlier log. */
  begin(candidate: Candidate, replaces: MemberRecord | undefined, returns: boolean): MemberRecord {
    // Whoever was expected, and is back, has one record still.
    const expected = this.#byId.get(candidate.id);
    if (expected !== undefined) this.#delete(expected);
    const record = this.#add(candidate);
    if (returns) this.#returning.add(record);
    if (replaces !== undefined) {
      record.replaces = replaces;
      replaces.replacedBy = record;
      this.#replacing += 1;
    }
    return record;
  }

  /** A member of an earlier log has been named. */
  expect(candidate: Candidate, order: number, now: number): MemberRecord {
    const record = this.#add(candidate);
    record.expectation = { order, since: now, isDoubted: false, isOverdue: false, refusal: undefined };
    this.#expected.add(record);
    return record;
  }

  /** Somebody has said that an expected member has ended. */
  doubt({ expectation }: MemberRecord): void {
    if (expectation === undefined || expectation.isDoubted) return;
    expectation.isDoubted = true;
    this.#doubted += 1;
  }

  /** An expected member is listed. */
  #settle(record: MemberRecord): void {
    if (!this.#expected.delete(record)) return;
    if (record.expectation?.isDoubted === true) this.#doubted -= 1;
    record.expectation = undefined;
  }

  /** The append of this registration was rejected. */
  drop(record: MemberRecord): void {
    this.#delete(record);
  }

  /** An entry has come back from the log. Returns what it has changed; undefined if it was known. */
  apply(entry: MemberEntry): MembershipChange | undefined {
    if (!this.directory.apply(entry)) return undefined;
    if (entry.type === "left" || entry.type === "lost") return this.#depart(entry.id);
    const known = this.#byId.get(entry.id);
    const removed = entry.type === "replaced" ? this.#byId.get(entry.replaces) : undefined;
    if (entry.type === "replaced" && mayBeRemembered(removed)) this.noteGone(entry.replaces);
    if (removed !== undefined) this.#delete(removed);
    const member = this.directory.member(entry.id);
    const change = removed === undefined ? {} : { removed };
    if (member === undefined || known?.member !== undefined) return change;
    const entered = known ?? this.#add(member);
    this.#ownSlot(entered);
    this.#settle(entered);
    this.#returning.delete(entered);
    entered.member = member;
    this.#listed.set(member.id, entered);
    if (member.dialect === "native") this.#listedNatives += 1;
    this.#countPresence(entered);
    return { ...change, entered };
  }

  #depart(id: Id): MembershipChange {
    const removed = this.#byId.get(id);
    if (mayBeRemembered(removed)) this.noteGone(id);
    if (removed === undefined || (removed.member === undefined && removed.expectation === undefined)) return {};
    this.#delete(removed);
    return { removed };
  }

  /** Members may remember this id, though this log has removed it: a whole directory says so. */
  noteGone(id: Id): void {
    this.#goneOfEarlierLogs.add(id);
    const [oldest] = this.#goneOfEarlierLogs;
    if (this.#goneOfEarlierLogs.size > this.#tombstones && oldest !== undefined) this.#goneOfEarlierLogs.delete(oldest);
  }

  #countPresence(record: MemberRecord): void {
    if (record.isPresent && this.has(record)) this.#present.add(record);
    else this.#present.delete(record);
    if (record.isElsewhere && this.has(record)) this.#elsewhere.add(record);
    else this.#elsewhere.delete(record);
  }

  #add(candidate: Candidate): MemberRecord {
    const record = new MemberRecord(this.mesh, candidate, (changed) => this.#countPresence(changed));
    this.#byId.set(candidate.id, record);
    this.#count(record, 1);
    return record;
  }

  #delete(record: MemberRecord): void {
    this.#byId.delete(record.id);
    this.#present.delete(record);
    this.#elsewhere.delete(record);
    if (this.#expected.delete(record) && record.expectation?.isDoubted === true) this.#doubted -= 1;
    this.#returning.delete(record);
    this.#count(record, -1);
    this.#ownSlot(record);
    if (record.replacedBy !== undefined) this.#ownSlot(record.replacedBy);
    if (record.member === undefined) return;
    this.#listed.delete(record.id);
    if (record.dialect === "native") this.#listedNatives -= 1;
  }

  /** It replaces nobody any more, and takes a slot of its own. */
  #ownSlot(record: MemberRecord): void {
    const { replaces } = record;
    if (replaces === undefined) return;
    record.replaces = undefined;
    replaces.replacedBy = undefined;
    this.#replacing -= 1;
  }

  #count({ address, dialect, candidate }: MemberRecord, by: 1 | -1): void {
    this.#addressBytes += by * (address.length + 1);
    this.#storedBytes += by * storedBytes(candidate);
    if (dialect === "classic") this.#classics += by;
  }
}

/** True of whoever the log has never listed, and of a member of an earlier log. */
function mayBeRemembered(removed: MemberRecord | undefined): boolean {
  return removed?.member === undefined || removed.recovery !== undefined;
}
