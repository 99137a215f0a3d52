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
import type { HelloCase } from "./link-states.js";

/** What an entry, or a whole directory, has brought about. */
export type DirectoryChange =
  | { readonly type: "met"; readonly member: Member }
  /** Of one that was never listed here there is no order. */
  | { readonly type: "left" | "gone"; readonly id: Id; readonly order: number | undefined; readonly reason: string }
  | ClaimTransition;

/** A key has a new holder, or none. */
export type ClaimTransition =
  | { readonly type: "claimed"; readonly claim: Claim }
  | { readonly type: "unclaimed"; readonly claim: Claim; readonly reason: string };

/**
 * The directory as this node sees it: who is a member, who has been one, and on which side of this node everybody stands.
 * An id that has been removed never comes back; it is remembered for as long as somebody may still act in its name.
 */
export class DirectoryView {
  /** This incarnation. */
  id: Id;
  #directory = new Directory();
  /** Removed ids, the oldest first. */
  readonly #tombstones = new Set<Id>();
  readonly #limits: Limits;

  constructor(id: Id, limits: Limits) {
    this.id = id;
    this.#limits = limits;
  }

  /** In join order; the same array until something changes. */
  get members(): readonly Member[] {
    return this.#directory.members;
  }

  /** How many members and claims it has. */
  get size(): number {
    return this.#directory.size + this.claims.size;
  }

  get claims(): ReadonlyMap<string, Claim> {
    return this.#directory.claims;
  }

  get revision(): number {
    return this.#directory.revision;
  }

  /** This node as the directory has it; undefined before it is admitted. */
  get self(): Member | undefined {
    return this.#directory.member(this.id);
  }

  member(id: Id): Member | undefined {
    return this.#directory.member(id);
  }

  /** Who the sender of a hello is, seen from here. */
  senderOf(id: Id): HelloCase["sender"] {
    if (this.#tombstones.has(id)) return "removed";
    const { self } = this;
    const member = this.#directory.member(id);
    if (member === undefined || self === undefined) return "unknown";
    if (member.dialect === "classic") return "classic";
    return compareMembers(member, self) < 0 ? "earlier" : "later";
  }

  /** Takes the next entry of the log. */
  apply(entry: Entry): DirectoryChange[] {
    if (isClaimEntry(entry)) return this.#applyClaim(entry);
    const id = entry.type === "replaced" ? entry.replaces : entry.id;
    const order = this.#directory.member(id)?.order;
    if (!this.#directory.apply(entry)) return [];
    if (entry.type === "left") return [this.#bury(id, order, "left", entry.reason)];
    if (entry.type === "lost") return [this.#bury(id, order, "gone", `lost: ${entry.reason}`)];
    const changes: DirectoryChange[] = [];
    if (entry.type === "replaced") changes.push(this.#bury(id, order, "gone", "replaced by a new incarnation"));
    const member = this.#directory.member(entry.id);
    return member === undefined ? changes : [...changes, { type: "met", member }];
  }

  /** Takes a whole directory: who is not in it is gone. */
  restore(
    members: readonly Member[],
    revision: number,
    claims: readonly Omit<Claim, "member">[] = [],
  ): DirectoryChange[] {
    const now = new Set(members.map(({ id }) => id));
    const gone = this.#directory.members.filter(({ id }) => !now.has(id));
    const before = new Set(this.#directory.members.map(({ id }) => id));
    const claimsBefore = new Map(this.claims);
    this.#directory.restore(members, revision, claims);
    return [
      ...gone.map(({ id, order }) => this.#bury(id, order, "gone", "no longer in the directory")),
      ...members.filter(({ id }) => !before.has(id)).map((member): DirectoryChange => ({ type: "met", member })),
      ...this.#claimsSince(claimsBefore),
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
    this.#directory = new Directory();
    this.id = id;
  }

  #bury(id: Id, order: number | undefined, type: "left" | "gone", reason: string): DirectoryChange {
    this.#tombstones.add(id);
    for (const oldest of this.#tombstones) {
      if (this.#tombstones.size <= this.#limits.tombstones) break;
      this.#tombstones.delete(oldest);
    }
    return { type, id, order, reason };
  }
}
