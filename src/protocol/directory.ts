import type { Address } from "./address.js";

/** 128 random bits as 32 hexadecimal digits in lower case: one incarnation of a member, or one log. */
export type Id = string;

/** Which protocol a member speaks with its peers. */
export type Dialect = "classic" | "native";

/** What a member publishes about itself beyond its address and name: an object of JSON values. */
export type Meta = Readonly<Record<string, unknown>>;

/** A member of the directory. It never changes: a restart makes a new member. */
export interface Member {
  readonly id: Id;
  /** Unique in the mesh, larger for a member that joined later, never changed. */
  readonly order: number;
  readonly address: Address;
  readonly dialect: Dialect;
  readonly name?: string;
  readonly meta?: Meta;
}

/** A member without its order, which the log gives. */
export type Candidate = Omit<Member, "order">;

/** `left`: the member said so. `lost`: the server found that it is gone. */
interface DepartureOf<Type> {
  readonly type: Type;
  readonly id: Id;
  readonly reason: string;
}
type Departure = DepartureOf<"left"> | DepartureOf<"lost">;

/** A change of membership to append to the log. */
export type MemberChange =
  /** `order`: that of a member which an earlier log has admitted; otherwise it is the revision. */
  | ({ readonly type: "joined"; readonly order?: number } & Candidate)
  /** A new incarnation replaces the one that had its address, in one step. */
  | ({ readonly type: "replaced"; readonly replaces: Id; readonly order?: number } & Candidate)
  | Departure;

/** A change of the holder of a key, to append to the log. */
export type ClaimChange =
  /** `token`: that of a claim which an earlier log has granted. */
  | { readonly type: "claimed"; readonly key: string; readonly holder: Id; readonly token?: number }
  | { readonly type: "unclaimed"; readonly key: string; readonly reason: string };

/** A change to append to the log. */
export type Change = MemberChange | ClaimChange;

/** An entry about a member. Its revision is above that of the entry before. */
export type MemberEntry = { readonly revision: number } & (
  | ({ readonly type: "joined" } & Member)
  | ({ readonly type: "replaced"; readonly replaces: Id } & Member)
  | Departure
);

export type ClaimEntry = { readonly revision: number } & ClaimChange;

/** An entry of the log. */
export type Entry = MemberEntry | ClaimEntry;

/** What a member may claim of earlier logs, as an order or a revision, is this at most: there is room above it for more. */
export const greatestClaim = 2 ** 53 - 2 ** 32;

/**
 * What returned members claim moves revisions so far above the clock of a server at most. Not above what the log before has
 * reached: else one claim after the other would lead them beyond all numbers.
 */
export const mostRecoveryGap = 2 ** 50;

/** The entry of a change with this revision, which is also the order of a new member. */
export function entryOf(change: Change, revision: number): Entry {
  if (change.type === "joined" || change.type === "replaced") {
    return { ...change, order: change.order ?? revision, revision };
  }
  return { ...change, revision };
}

/** True for an entry about a claim, not about a member. */
export function isClaimEntry(entry: Entry): entry is ClaimEntry {
  return entry.type === "claimed" || entry.type === "unclaimed";
}

/** A key that one member holds. */
export interface Claim {
  readonly key: string;
  /** The revision at which it was granted: it rises with each claim of a key, so that a resource can refuse old holders. */
  readonly token: number;
  readonly holder: Id;
  /** The holder as it was listed when the claim was read; undefined if it was not listed. */
  readonly member: Member | undefined;
}

/** Below 0 if `a` comes before `b` in join order. Ids break a tie. */
export function compareMembers(a: Member, b: Member): number {
  return a.order - b.order || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/**
 * The fold of the log: the present members in join order, and the claims. A claim outlives the membership of its holder:
 * only `unclaimed`, or a claim with a higher token, ends it. Entries come with rising revisions; one that was applied before
 * changes nothing.
 */
export class Directory {
  readonly #members = new Map<Id, Member>();
  readonly #claims = new Map<string, Claim>();
  #sorted: readonly Member[] | undefined = [];
  /** True while members have been added in join order, as nearly always: then there is nothing to sort. */
  #isSorted = true;
  #newest: Member | undefined;
  #revision: number;

  /** `revision`: the one before the first entry. */
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
    if (this.#sorted !== undefined) return this.#sorted;
    const members = [...this.#members.values()];
    this.#sorted = this.#isSorted ? members : members.sort(compareMembers);
    return this.#sorted;
  }

  member(id: Id): Member | undefined {
    return this.#members.get(id);
  }

  /** The keys that are held, by key. */
  get claims(): ReadonlyMap<string, Claim> {
    return this.#claims;
  }

  /** Applies the next entry. Returns false for one that was applied before. */
  apply(entry: Entry): boolean {
    if (entry.revision <= this.#revision) return false;
    this.#revision = entry.revision;
    if (isClaimEntry(entry)) {
      this.#applyClaim(entry);
      return true;
    }
    this.#sorted = undefined;
    if (entry.type === "replaced") this.#members.delete(entry.replaces);
    if (entry.type !== "joined" && entry.type !== "replaced") this.#members.delete(entry.id);
    // A member never changes.
    else if (!this.#members.has(entry.id)) this.#add(memberOf(entry));
    return true;
  }

  /** Replaces everything by the state of the log at this revision. */
  restore(members: readonly Member[], revision: number, claims: readonly Omit<Claim, "member">[] = []): void {
    this.#members.clear();
    this.#isSorted = true;
    this.#newest = undefined;
    for (const member of members) this.#add(member);
    this.#sorted = undefined;
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
    if (this.#newest !== undefined && compareMembers(this.#newest, member) > 0) this.#isSorted = false;
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
