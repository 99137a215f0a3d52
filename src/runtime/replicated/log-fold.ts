import type { Limits } from "../../core/limits.js";
import type { Address } from "../../protocol/address.js";
import {
  type Candidate,
  type Change,
  Directory,
  type Entry,
  entryOf,
  type Id,
  mostRecoveryGap,
} from "../../protocol/directory.js";
import { storedBytes, storedMembersBytes } from "../../rendezvous/stored-members.js";
import type { Attachment, LogAppend, LogFact, LogState } from "../../rendezvous/types.js";
import type { EntryContent, LogHead, LogSnapshot, PlacedFact, StoredReport } from "./store-keys.js";

/** Writers that are remembered: those of a snapshot that deletes their entries must be, and more than so many are long dead. */
const mostWriters = 64;

/** Numbers of a writer that did not count are remembered so far back; a writer never has as many that are not settled. */
export const rememberedNumbers = 256;

/**
 * What became of an entry: it is appended, or a fact that counts, or it does not count, because of what came before it.
 * `attachment`: the number that a member has got with it.
 */
export type FoldResult =
  | { readonly type: "appended"; readonly entry: Entry; readonly attachment?: number }
  | { readonly type: "published"; readonly fact: PlacedFact; readonly attachment?: number }
  | { readonly type: "rejected" };

interface WriterState {
  number: number;
  /** Those of its newest numbers that did not count. */
  rejected: number[];
}

/**
 * The log of one mesh in a store that several servers share, folded to its state. It decides what counts, and nothing else
 * does: all servers fold the same entries in the same order, and so come to the same.
 *
 * The order is that of the store. The place of an entry, counted from 1, is the number of the attachment that it makes. Only
 * members and claims that change take a revision.
 */
export class LogFold {
  readonly head: LogHead;
  readonly #limits: Pick<Limits, "tombstones">;
  readonly #directory: Directory;
  readonly #addresses = new Map<Address, Id>();
  readonly #attachments = new Map<Id, Attachment>();
  /** The newest ids that were removed, the oldest first. */
  readonly #removed = new Set<Id>();
  readonly #writers = new Map<Id, WriterState>();
  readonly #reports = new Map<Id, Extract<LogFact, { type: "reported" }>>();
  #storedBytes = 0;
  #place = 0;
  #nextRank = 0;
  #ended: Extract<LogFact, { type: "ended" }> | undefined;

  /** `snapshot`: what it begins with, otherwise with nothing. */
  constructor(head: LogHead, limits: Pick<Limits, "tombstones">, snapshot?: LogSnapshot) {
    this.head = head;
    this.#limits = limits;
    this.#directory = new Directory(head.base);
    if (snapshot !== undefined) this.#restore(snapshot);
  }

  /** How many entries have come, whether they counted or not. */
  get place(): number {
    return this.#place;
  }

  get revision(): number {
    return this.#directory.revision;
  }

  get ended(): Extract<LogFact, { type: "ended" }> | undefined {
    return this.#ended;
  }

  isListed(id: Id): boolean {
    return this.#directory.member(id) !== undefined;
  }

  /** True if the member has its session at this server. */
  isAttached(id: Id, server: Id): boolean {
    return this.#attachments.get(id)?.server === server;
  }

  /** Takes the next entry. Undefined for one that has been taken before, which changes nothing. */
  add(writer: Id, number: number, content: EntryContent): FoldResult | undefined {
    const known = this.#writers.get(writer) ?? { number: 0, rejected: [] };
    if (number <= known.number) return undefined;
    known.number = number;
    // The one that has written last is the last of them.
    this.#writers.delete(writer);
    this.#writers.set(writer, known);
    this.#place += 1;
    const result = "fact" in content ? this.#publish(content.fact, writer) : this.#append(content, writer);
    if (result !== undefined) return result;
    known.rejected = [...known.rejected.filter((each) => each > number - rememberedNumbers), number];
    return { type: "rejected" };
  }

  /** Whether an entry has counted; undefined if it has not come. Of the newest ones of a writer. */
  outcomeOf(writer: Id, number: number): boolean | undefined {
    const known = this.#writers.get(writer);
    if (known === undefined || number > known.number) return undefined;
    return !known.rejected.includes(number);
  }

  /** Takes the newest report of a member. Returns the fact if it counts: only on the attachment that the member has. */
  report(id: Id, writer: Id, { attachment, up, down, unlisted }: StoredReport): LogFact | undefined {
    const current = this.#attachments.get(id);
    if (current?.server !== writer || current.attachment !== attachment || this.#ended !== undefined) return undefined;
    const report = { up, down, ...(unlisted === undefined ? {} : { unlisted }) };
    const fact = { type: "reported", id, attachment, report } as const;
    this.#reports.set(id, fact);
    return fact;
  }

  /** The newest report of a member that counts. */
  reportOf(id: Id): LogFact | undefined {
    return this.#reports.get(id);
  }

  /** What everything adds up to; the log does not know who awaits whom. */
  get state(): Omit<LogState, "awaiting"> {
    const { members, claims, revision } = this.#directory;
    return {
      log: this.head.log,
      revision,
      members,
      claims: Array.from(claims.values(), ({ key, token, holder }) => ({ key, token, holder })),
      removed: [...this.#removed],
      attachments: [...this.#attachments.values()],
      reports: [...this.#reports.values()],
      ...(this.#ended === undefined ? {} : { ended: this.#ended }),
    };
  }

  /**
   * The same to be stored, with what the fold itself needs. `covers`: the revision of the store up to which it has read. `kept`:
   * writers with entries in the store, whose numbers must be known to whoever reads these again.
   */
  snapshot(covers: number, kept: ReadonlyMap<Id, unknown>): LogSnapshot {
    const { log, revision, members, claims, removed, attachments } = this.state;
    const { kind, reason, incomplete } = this.#ended ?? {};
    return {
      log,
      covers,
      place: this.#place,
      revision,
      members: [...members],
      claims: [...claims],
      removed: [...removed],
      attachments: attachments.map(({ id, server, attachment }) => [id, server ?? null, attachment]),
      writers: Array.from(this.#writers, ([writer, { number, rejected }]): [Id, number, number[]] => [
        writer,
        number,
        rejected,
      ]).filter(([writer], index) => kept.has(writer) || this.#isRecent(index)),
      nextRank: this.#nextRank,
      ...(kind === undefined || reason === undefined
        ? {}
        : { ended: { kind, reason, ...(incomplete === undefined ? {} : { incomplete }) } }),
    };
  }

  /** Writers that a snapshot does not name any more, and that have not written of late, are long dead. */
  forgetWriters({ writers }: LogSnapshot): void {
    const named = new Set(writers.map(([writer]) => writer));
    const old = [...this.#writers.keys()].filter((writer, index) => !named.has(writer) && !this.#isRecent(index));
    for (const writer of old) this.#writers.delete(writer);
  }

  /** True of the newest writers, by their place among all. */
  #isRecent(index: number): boolean {
    return index >= this.#writers.size - mostWriters;
  }

  #restore({ place, revision, members, claims, removed, attachments, writers, nextRank, ended }: LogSnapshot): void {
    this.#place = place;
    this.#directory.restore(members, revision, claims);
    for (const member of members) {
      this.#addresses.set(member.address, member.id);
      this.#storedBytes += storedBytes(member);
    }
    for (const id of removed) this.#removed.add(id);
    for (const [id, server, attachment] of attachments) {
      this.#attachments.set(id, { id, server: server ?? undefined, attachment });
    }
    for (const [writer, number, rejected] of writers) this.#writers.set(writer, { number, rejected });
    this.#nextRank = nextRank;
    if (ended !== undefined) this.#ended = { type: "ended", ...ended };
  }

  #append(
    { change, after, judges }: Pick<LogAppend, "change" | "after" | "judges">,
    writer: Id,
  ): FoldResult | undefined {
    if (this.#ended !== undefined || !this.#counts(change, judges, writer)) return undefined;
    const entry = entryOf(change, this.#nextRevision(change, after));
    // The old address is free before the new one is taken: it may be the same.
    if (change.type === "replaced") this.#remove(change.replaces);
    else if (change.type === "left" || change.type === "lost") this.#remove(change.id);
    this.#directory.apply(entry);
    if (entry.type !== "joined" && entry.type !== "replaced") return { type: "appended", entry };
    this.#addresses.set(entry.address, entry.id);
    this.#storedBytes += storedBytes(entry);
    if (rankOf(entry) === this.#nextRank) this.#nextRank += 1;
    return { type: "appended", entry, attachment: this.#attach(entry.id, writer) };
  }

  /** Above all that was given in this log, and above what the change carries from an earlier one. */
  #nextRevision(change: Change, after: number): number {
    const order = change.type === "joined" || change.type === "replaced" ? change.order : undefined;
    const token = change.type === "claimed" ? change.token : undefined;
    const carried = Math.max(after, order ?? 0, token ?? 0);
    return Math.max(this.revision, Math.min(carried, this.head.clock + mostRecoveryGap)) + 1;
  }

  #counts(change: Change, judges: number | undefined, writer: Id): boolean {
    switch (change.type) {
      case "joined":
        return this.#isNew(change, undefined) && this.#fits(change, undefined) && this.#hasSlot(change, undefined);
      case "replaced":
        return this.#replaces(change, writer);
      case "left":
        return !this.#removed.has(change.id);
      case "lost":
        return !this.#removed.has(change.id) && this.#isJudged(change.id, judges);
      case "claimed": {
        const held = this.#directory.claims.get(change.key);
        return this.isListed(change.holder) && (held === undefined || (change.token ?? 0) > held.token);
      }
      case "unclaimed": {
        const held = this.#directory.claims.get(change.key);
        return held !== undefined && (judges === undefined || held.token === judges);
      }
    }
  }

  /** Nobody has its id, or has had it, and nobody else its address. */
  #isNew({ id, address }: Candidate, replaces: Id | undefined): boolean {
    const holder = this.#addresses.get(address);
    return (
      !this.isListed(id) && !this.#removed.has(id) && id !== replaces && (holder === undefined || holder === replaces)
    );
  }

  /** All members fit into the value of a snapshot. */
  #fits(candidate: Candidate, replaced: Candidate | undefined): boolean {
    const freed = replaced === undefined ? 0 : storedBytes(replaced);
    return this.#storedBytes - freed + storedBytes(candidate) <= storedMembersBytes;
  }

  /** There is room, and it is its turn. A member of an earlier log, which has its order, comes back in any case. */
  #hasSlot(candidate: Candidate & { readonly order?: number }, replaces: Id | undefined): boolean {
    if (candidate.order !== undefined) return true;
    const isSwap = replaces !== undefined && this.isListed(replaces);
    const { capacity } = this.head.rules;
    if (!isSwap && capacity !== null && this.#directory.size >= capacity) return false;
    return this.#isRankDue(candidate, replaces);
  }

  /** In a gang each rank comes for the first time after all lower ones, and is had by one member at a time. */
  #isRankDue(candidate: Candidate, replaces: Id | undefined): boolean {
    const { gangSize } = this.head.rules;
    if (gangSize === undefined) return true;
    const rank = rankOf(candidate) ?? gangSize;
    if (rank >= gangSize || rank > this.#nextRank) return false;
    return this.#directory.members.every((member) => member.id === replaces || rankOf(member) !== rank);
  }

  /**
   * A new incarnation proves the address of the old one; or the server of a classic member corrects its address. A member of
   * an earlier log may be replaced that this one has not listed.
   */
  #replaces(change: Extract<Change, { type: "replaced" }>, writer: Id): boolean {
    const { replaces, address, dialect } = change;
    if (this.#removed.has(replaces) || !this.#isNew(change, replaces) || !this.#hasSlot(change, replaces)) return false;
    const old = this.#directory.member(replaces);
    if (!this.#fits(change, old)) return false;
    if (old === undefined || old.address === address) return true;
    return old.dialect === "classic" && dialect === "classic" && this.#attachments.get(replaces)?.server === writer;
  }

  /** The member has not come back since, at this server or at another one. One that is not listed has no attachment. */
  #isJudged(id: Id, judges: number | undefined): boolean {
    const current = this.#attachments.get(id);
    return current === undefined || judges === undefined || current.attachment === judges;
  }

  /** A member has joined, or has come back, behind this attachment. */
  #hasNewer(judges = Number.POSITIVE_INFINITY): boolean {
    return [...this.#attachments.values()].some(({ attachment }) => attachment > judges);
  }

  #remove(id: Id): void {
    const member = this.#directory.member(id);
    if (member !== undefined) {
      this.#storedBytes -= storedBytes(member);
      if (this.#addresses.get(member.address) === id) this.#addresses.delete(member.address);
    }
    this.#attachments.delete(id);
    this.#reports.delete(id);
    this.#removed.add(id);
    if (this.#removed.size <= this.#limits.tombstones) return;
    for (const oldest of this.#removed) {
      this.#removed.delete(oldest);
      break;
    }
  }

  #attach(id: Id, server: Id): number {
    const attachment = this.#place;
    this.#attachments.set(id, { id, server, attachment });
    // What it has reported on another session may not be so any more.
    this.#reports.delete(id);
    return attachment;
  }

  #publish(fact: PlacedFact, writer: Id): FoldResult | undefined {
    if (this.#ended !== undefined) return undefined;
    switch (fact.type) {
      case "attached":
        return this.isListed(fact.id)
          ? { type: "published", fact, attachment: this.#attach(fact.id, writer) }
          : undefined;
      case "detached": {
        const current = this.#attachments.get(fact.id);
        if (current?.server === undefined || current.attachment !== fact.judges) return undefined;
        this.#attachments.set(fact.id, { ...current, server: undefined });
        this.#reports.delete(fact.id);
        return { type: "published", fact };
      }
      case "relayed":
        return this.isListed(fact.to) ? { type: "published", fact } : undefined;
      case "ended":
        if (this.#hasNewer(fact.judges)) return undefined;
        this.#ended = fact;
        return { type: "published", fact };
    }
  }
}

/** The rank that a member of a gang gives in its meta; undefined if it gives none. */
function rankOf({ meta }: Pick<Candidate, "meta">): number | undefined {
  const rank = meta?.rank;
  return typeof rank === "number" && Number.isInteger(rank) && rank >= 0 ? rank : undefined;
}
