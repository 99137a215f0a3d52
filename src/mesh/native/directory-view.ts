import type { Limits } from "../../core/limits.js";
import {
  type Claim,
  type ClaimEntry,
  compareMembers,
  Directory,
  type Entry,
  type Id,
  isClaimEntry,
  type Member,
} from "../../protocol/directory.js";
import type { HelloCase } from "./hello-rules.js";

/** What an entry, or a whole directory, has brought about. */
export type DirectoryChange =
  | { readonly type: "met"; readonly member: Member }
  /** The present log lists a member that was remembered. */
  | { readonly type: "kept"; readonly member: Member }
  /** Of one that was never listed here there is no order. `isUnsaid`: no entry of the present log says so. */
  | {
      readonly type: "left" | "gone";
      readonly id: Id;
      readonly order: number | undefined;
      readonly reason: string;
      readonly isUnsaid?: true;
    }
  | ClaimTransition;

/** A key has a new holder, or none. */
export type ClaimTransition =
  | { readonly type: "claimed"; readonly claim: Claim }
  | { readonly type: "unclaimed"; readonly claim: Claim; readonly reason: string };

/** So many of the newest ended ids are said to a server that has another log. */
const mostGone = 256;

/**
 * The directory as this node sees it: who is a member, who has been one, and on which side of this node everybody stands.
 *
 * A server that was started again has another log. Whoever the old one listed is remembered until the new one lists or
 * removes it: nobody is gone because a log does not name it. An id that has been removed never comes back; it is kept for as
 * long as somebody may still act in its name.
 */
export class DirectoryView {
  /** This incarnation. */
  id: Id;
  #log: Id | undefined;
  /** The fold of the present log. */
  #directory = new Directory();
  /** Members of earlier logs of which the present one has said nothing. */
  readonly #remembered = new Map<Id, Member>();
  /** Both in join order; undefined when it has to be made anew. */
  #members: readonly Member[] | undefined;
  /** Removed ids, the oldest first. */
  readonly #tombstones = new Set<Id>();
  /** Members that have said goodbye, and that no log has removed yet. */
  readonly #departed = new Set<Id>();
  #highest = 0;
  readonly #limits: Limits;

  constructor(id: Id, limits: Limits) {
    this.id = id;
    this.#limits = limits;
  }

  /** In join order; the same array until something changes. */
  get members(): readonly Member[] {
    if (this.#remembered.size === 0) return this.#directory.members;
    this.#members ??= [...this.#directory.members, ...this.#remembered.values()].sort(compareMembers);
    return this.#members;
  }

  /** How many members and claims it has. */
  get size(): number {
    return this.#directory.size + this.#remembered.size + this.claims.size;
  }

  get claims(): ReadonlyMap<string, Claim> {
    return this.#directory.claims;
  }

  /** The newest revision of the present log that is known here. */
  get revision(): number {
    return this.#directory.revision;
  }

  /** The highest revision that was read in any log. */
  get highest(): number {
    return Math.max(this.#highest, this.#directory.revision);
  }

  /** This node as the directory has it; undefined before it is admitted. */
  get self(): Member | undefined {
    return this.member(this.id);
  }

  member(id: Id): Member | undefined {
    return this.#directory.member(id) ?? this.#remembered.get(id);
  }

  /** A member of an earlier log of which the present one has said nothing. */
  unlisted(id: Id): Pick<Member, "id" | "order" | "address"> | undefined {
    const member = this.#remembered.get(id);
    return member === undefined ? undefined : { id, order: member.order, address: member.address };
  }

  /** Who the sender of a hello is, seen from here. */
  senderOf(id: Id): HelloCase["sender"] {
    if (this.#tombstones.has(id)) return "removed";
    const { self } = this;
    const member = this.member(id);
    if (member === undefined || self === undefined) return "unknown";
    if (member.dialect === "classic") return "classic";
    return compareMembers(member, self) < 0 ? "earlier" : "later";
  }

  /** What a server that has another log must know: the other native members, and ids that have ended. */
  get known(): { readonly members: Member[]; readonly gone: Id[] } {
    const members = this.members.filter(({ id, dialect }) => {
      return id !== this.id && dialect === "native" && !this.#departed.has(id);
    });
    return { members, gone: [...this.#departed, ...[...this.#tombstones].slice(-mostGone)] };
  }

  /**
   * The log that is read from now on. If it is another one, all native members are remembered until it says something of them.
   * Returns the classic ones: they do not come back to another server, and nobody may speak for them.
   */
  enter(log: Id): Member[] {
    const isFirst = this.#log === undefined;
    if (log === this.#log) return [];
    this.#log = log;
    if (isFirst) return [];
    this.#highest = this.highest;
    return this.#rememberAll(0);
  }

  /** There is no log any more, only what is remembered: see `enter`. Returns whether members are gone with it, classic ones. */
  release(): boolean {
    return this.#rememberAll(this.revision).length > 0;
  }

  /** Forgets a member with which the link has ended, and that no log removes any more. Returns whether it was one. */
  forget(id: Id, reason: string): boolean {
    if (!this.#remembered.has(id)) return false;
    this.#bury(id, undefined, "gone", reason);
    return true;
  }

  #rememberAll(revision: number): Member[] {
    const { members } = this.#directory;
    for (const member of members) if (member.dialect === "native") this.#remembered.set(member.id, member);
    this.#directory.restore([], revision, [...this.claims.values()]);
    this.#members = undefined;
    return members.filter(({ dialect }) => dialect === "classic");
  }

  /** A member has said goodbye: it is not one that the server has to wait for. */
  depart(id: Id): void {
    if (this.member(id) !== undefined) this.#departed.add(id);
  }

  /** Takes the next entry of the log. */
  apply(entry: Entry): DirectoryChange[] {
    if (isClaimEntry(entry)) return this.#applyClaim(entry);
    const id = entry.type === "replaced" ? entry.replaces : entry.id;
    const order = this.member(id)?.order;
    if (!this.#directory.apply(entry)) return [];
    if (entry.type === "left") return [this.#bury(id, order, "left", entry.reason)];
    if (entry.type === "lost") return [this.#bury(id, order, "gone", `lost: ${entry.reason}`)];
    const changes: DirectoryChange[] = [];
    if (entry.type === "replaced") changes.push(this.#bury(id, order, "gone", "replaced by a new incarnation"));
    const member = this.#directory.member(entry.id);
    return member === undefined ? changes : [...changes, ...this.#listed(member)];
  }

  /**
   * Takes a whole directory. Whoever this log has listed and does not list any more is gone; so are the ids that it has removed
   * without having listed them.
   */
  restore(
    members: readonly Member[],
    revision: number,
    claims: readonly Omit<Claim, "member">[],
    goneIds: readonly Id[],
  ): DirectoryChange[] {
    const now = new Set(members.map(({ id }) => id));
    const before = this.#directory.members;
    const known = new Set(before.map(({ id }) => id));
    const gone = before.filter(({ id }) => !now.has(id));
    const removed = goneIds.flatMap((id) => this.#remembered.get(id) ?? []);
    const claimsBefore = new Map(this.claims);
    this.#directory.restore(members, revision, claims);
    return [
      ...[...gone, ...removed].map(({ id, order }) => this.#bury(id, order, "gone", "no longer in the directory")),
      ...members.filter(({ id }) => !known.has(id)).flatMap((member) => this.#listed(member)),
      ...this.#claimsSince(claimsBefore),
    ];
  }

  /** The present log lists a member. One that was remembered is nothing new, but whoever was remembered at its address is gone. */
  #listed(member: Member): DirectoryChange[] {
    this.#members = undefined;
    if (this.#remembered.delete(member.id)) return [{ type: "kept", member }];
    const older = [...this.#remembered.values()].filter(({ address }) => address === member.address);
    return [
      ...older.map(({ id, order }): DirectoryChange => {
        return { ...this.#bury(id, order, "gone", "replaced by a new incarnation"), isUnsaid: true };
      }),
      { type: "met", member },
    ];
  }

  #applyClaim(entry: ClaimEntry): ClaimTransition[] {
    const before = this.claims.get(entry.key);
    if (!this.#directory.apply(entry)) return [];
    const claim = this.claims.get(entry.key);
    if (claim === before) return [];
    const reason = entry.type === "unclaimed" ? entry.reason : "claimed with a higher token";
    return [
      ...(before === undefined ? [] : [{ type: "unclaimed" as const, claim: before, reason }]),
      ...(claim === undefined ? [] : [{ type: "claimed" as const, claim }]),
    ];
  }

  /** What a whole directory has changed in who holds what. */
  #claimsSince(before: ReadonlyMap<string, Claim>): ClaimTransition[] {
    const isSame = (claim: Claim, other: Claim | undefined): boolean =>
      other?.token === claim.token && other.holder === claim.holder;
    const ended = [...before.values()].filter((claim) => !isSame(claim, this.claims.get(claim.key)));
    const begun = [...this.claims.values()].filter((claim) => !isSame(claim, before.get(claim.key)));
    return [
      ...ended.map((claim): ClaimTransition => ({ type: "unclaimed", claim, reason: "no longer in the directory" })),
      ...begun.map((claim): ClaimTransition => ({ type: "claimed", claim })),
    ];
  }

  /** A new incarnation of this node begins, and knows nobody. */
  restart(id: Id): void {
    this.#tombstones.add(this.id);
    this.#highest = this.highest;
    this.#log = undefined;
    this.#directory = new Directory();
    this.#remembered.clear();
    this.#departed.clear();
    this.#members = undefined;
    this.id = id;
  }

  #bury(
    id: Id,
    order: number | undefined,
    type: "left" | "gone",
    reason: string,
  ): Extract<DirectoryChange, { type: "left" | "gone" }> {
    this.#remembered.delete(id);
    this.#departed.delete(id);
    this.#members = undefined;
    this.#tombstones.add(id);
    for (const oldest of this.#tombstones) {
      if (this.#tombstones.size <= this.#limits.tombstones) break;
      this.#tombstones.delete(oldest);
    }
    return { type, id, order, reason };
  }
}
