import type { Address } from "./address.js";

/** 128 random bits as 32 hexadecimal digits in lower case: one incarnation of a member, or one log. */
export type Id = string;

/** Which protocol a member speaks with its peers. */
export type Dialect = "classic" | "native";

/** What a member says of itself beyond its address: an object of JSON values. */
export type Meta = Readonly<Record<string, unknown>>;

/** A member as the directory has it. Nothing in it ever changes: a restart is a new member. */
export interface Member {
  readonly id: Id;
  /** Unique in the mesh, given at admission and kept for life, larger for whoever joins later. */
  readonly order: number;
  readonly address: Address;
  readonly dialect: Dialect;
  readonly name?: string;
  readonly meta?: Meta;
}

/** A member that is still to be given its order. */
export type Candidate = Omit<Member, "order">;

/** It said that it goes, or it was found to be gone. */
interface DepartureOf<Type> {
  readonly type: Type;
  readonly id: Id;
  readonly reason: string;
}
type Departure = DepartureOf<"left"> | DepartureOf<"lost">;

/** A change of membership that somebody wants. */
export type MemberChange =
  | ({ readonly type: "joined" } & Candidate)
  /** A new incarnation takes the place of the one that had its address: the old one out and the new one in, in one step. */
  | ({ readonly type: "replaced"; readonly replaces: Id } & Candidate)
  | Departure;

/** A change of who holds a key. */
export type ClaimChange =
  /** `token`: of a claim that an earlier log has granted already. */
  | { readonly type: "claimed"; readonly key: string; readonly holder: Id; readonly token?: number }
  | { readonly type: "unclaimed"; readonly key: string; readonly reason: string };

/** A change that somebody wants. */
export type Change = MemberChange | ClaimChange;

/** A change of membership that has happened. Its revision is one more than that of the entry before. */
export type MemberEntry = { readonly revision: number } & (
  | ({ readonly type: "joined" } & Member)
  | ({ readonly type: "replaced"; readonly replaces: Id } & Member)
  | Departure
);

export type ClaimEntry = { readonly revision: number } & ClaimChange;

/** A change that has happened. */
export type Entry = MemberEntry | ClaimEntry;

/** What a change becomes when the log gives it a revision: that is also the order of a new member. */
export function happened(change: Change, revision: number): Entry {
  if (change.type === "joined" || change.type === "replaced") return { ...change, order: revision, revision };
  return { ...change, revision };
}

/** True for an entry that tells of a claim, and not of a member. */
export function isClaimEntry(entry: Entry): entry is ClaimEntry {
  return entry.type === "claimed" || entry.type === "unclaimed";
}

/** A key that one member holds. */
export interface Claim {
  readonly key: string;
  /** The revision at which it was granted: it rises with each claim of a key, so a resource can turn old holders away. */
  readonly token: number;
  readonly holder: Id;
  /** The holder as it was listed when the claim was read; undefined if it was not listed. */
  readonly member: Member | undefined;
}

/** Where two members stand in the join order, smaller is earlier; ids break a tie. */
export function compareMembers(a: Member, b: Member): number {
  return a.order - b.order || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/**
 * The fold of the log: who is a member now, in join order, and who holds which key. A claim outlives the membership of its
 * holder: only `unclaimed`, or a claim with a higher token, ends it.
 *
 * The server and every member keep one. Entries come by rising revision; one that has been applied before changes nothing.
 */
export class Directory {
  readonly #members = new Map<Id, Member>();
  readonly #claims = new Map<string, Claim>();
  #inOrder: readonly Member[] | undefined = [];
  /** True while members have come in their order, as they nearly always do: then there is nothing to sort. */
  #cameInOrder = true;
  #newest: Member | undefined;
  #revision: number;

  /** `revision`: that of the newest entry before the first. */
  constructor(revision = 0) {
    this.#revision = revision;
  }

  /** The revision of the newest entry applied. */
  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#members.size;
  }

  /** In join order; the same array until something changes. */
  get members(): readonly Member[] {
    if (this.#inOrder !== undefined) return this.#inOrder;
    const members = [...this.#members.values()];
    this.#inOrder = this.#cameInOrder ? members : members.sort(compareMembers);
    return this.#inOrder;
  }

  member(id: Id): Member | undefined {
    return this.#members.get(id);
  }

  /** The keys that are held, by key. */
  get claims(): ReadonlyMap<string, Claim> {
    return this.#claims;
  }

  /** Takes the next entry. Returns whether it was new. */
  apply(entry: Entry): boolean {
    if (entry.revision <= this.#revision) return false;
    this.#revision = entry.revision;
    if (isClaimEntry(entry)) {
      this.#applyClaim(entry);
      return true;
    }
    this.#inOrder = undefined;
    if (entry.type === "replaced") this.#members.delete(entry.replaces);
    if (entry.type !== "joined" && entry.type !== "replaced") this.#members.delete(entry.id);
    // Nothing in a member ever changes.
    else if (!this.#members.has(entry.id)) this.#add(memberOf(entry));
    return true;
  }

  /** Takes a whole state of the log instead of the entries that lead to it. */
  restore(members: readonly Member[], revision: number, claims: readonly Omit<Claim, "member">[] = []): void {
    this.#members.clear();
    this.#cameInOrder = true;
    this.#newest = undefined;
    for (const member of members) this.#add(member);
    this.#inOrder = undefined;
    this.#revision = revision;
    const before = new Map(this.#claims);
    this.#claims.clear();
    for (const { key, token, holder } of claims) {
      const known = before.get(key);
      const member = this.#members.get(holder) ?? (known?.holder === holder ? known.member : undefined);
      this.#claims.set(key, { key, token, holder, member });
    }
  }

  #applyClaim(entry: ClaimEntry): void {
    if (entry.type === "unclaimed") {
      this.#claims.delete(entry.key);
      return;
    }
    const { key, holder, token = entry.revision } = entry;
    // Two members may both present a claim of an earlier log: the newer one stays.
    if ((this.#claims.get(key)?.token ?? 0) >= token) return;
    this.#claims.set(key, { key, token, holder, member: this.#members.get(holder) });
  }

  #add(member: Member): void {
    if (this.#newest !== undefined && compareMembers(this.#newest, member) > 0) this.#cameInOrder = false;
    else this.#newest = member;
    this.#members.set(member.id, member);
  }
}

function memberOf({ id, order, address, dialect, name, meta }: Member): Member {
  return {
    id,
    order,
    address,
    dialect,
    ...(name === undefined ? {} : { name }),
    ...(meta === undefined ? {} : { meta }),
  };
}
