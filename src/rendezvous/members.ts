import { type Candidate, Directory, type Id, type MemberEntry } from "../protocol/directory.js";
import { MemberRecord } from "./member-session.js";

/** What an entry has changed. */
export interface MembershipChange {
  readonly entered?: MemberRecord;
  readonly removed?: MemberRecord;
  /** The one that entered was appended here. */
  readonly isOwn: boolean;
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
  readonly #byOrder = new Map<number, MemberRecord>();
  readonly #present = new Set<MemberRecord>();
  #replacing = 0;
  #classics = 0;
  #listedNatives = 0;
  #addressBytes = 0;

  constructor(mesh: string, revision: number) {
    this.mesh = mesh;
    this.directory = new Directory(revision);
  }

  /** Members and registrations under way. */
  get size(): number {
    return this.#byId.size;
  }

  /** The slots that these take: a registration that replaces a member takes none of its own. */
  get slots(): number {
    return this.#byId.size - this.#replacing;
  }

  get isAppending(): boolean {
    return this.#byId.size > this.#byOrder.size;
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

  /** The addresses of all, each with the byte that separates it from the next. */
  get addressBytes(): number {
    return this.#addressBytes;
  }

  /** The records of members, by their orders. */
  get listed(): ReadonlyMap<number, MemberRecord> {
    return this.#byOrder;
  }

  get all(): Iterable<MemberRecord> {
    return this.#byId.values();
  }

  /** The member of this id, or the registration of it that is under way. */
  get(id: Id): MemberRecord | undefined {
    return this.#byId.get(id);
  }

  has(record: MemberRecord): boolean {
    return this.#byId.get(record.id) === record;
  }

  /** The append of a registration is under way. */
  begin(candidate: Candidate, replaces?: MemberRecord): MemberRecord {
    const record = this.#add(candidate);
    if (replaces !== undefined) {
      record.replaces = replaces;
      replaces.replacedBy = record;
      this.#replacing += 1;
    }
    return record;
  }

  /** The append of this registration was rejected. */
  drop(record: MemberRecord): void {
    this.#delete(record);
  }

  /** An entry has come back from the log. Returns what it has changed; undefined if it was known. */
  apply(entry: MemberEntry): MembershipChange | undefined {
    if (!this.directory.apply(entry)) return undefined;
    if (entry.type === "left" || entry.type === "lost") {
      const removed = this.#byId.get(entry.id);
      if (removed?.member === undefined) return { isOwn: false };
      this.#delete(removed);
      return { removed, isOwn: false };
    }
    const known = this.#byId.get(entry.id);
    const removed = entry.type === "replaced" ? this.#byId.get(entry.replaces) : undefined;
    if (removed !== undefined) this.#delete(removed);
    const member = this.directory.member(entry.id);
    const change = { isOwn: known !== undefined, ...(removed === undefined ? {} : { removed }) };
    if (member === undefined || known?.member !== undefined) return change;
    const entered = known ?? this.#add(member);
    this.#ownSlot(entered);
    entered.member = member;
    this.#byOrder.set(member.order, entered);
    if (member.dialect === "native") this.#listedNatives += 1;
    this.#countPresence(entered);
    return { ...change, entered };
  }

  #countPresence(record: MemberRecord): void {
    if (record.isPresent && this.has(record)) this.#present.add(record);
    else this.#present.delete(record);
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
    this.#count(record, -1);
    this.#ownSlot(record);
    if (record.replacedBy !== undefined) this.#ownSlot(record.replacedBy);
    if (record.member === undefined) return;
    this.#byOrder.delete(record.order);
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

  #count({ address, dialect }: MemberRecord, by: 1 | -1): void {
    this.#addressBytes += by * (address.length + 1);
    if (dialect === "classic") this.#classics += by;
  }
}
