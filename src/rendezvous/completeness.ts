import { printable } from "../core/escaping.js";
import type { Id, Member } from "../protocol/directory.js";
import type { ControlOf } from "../protocol/native/control.js";

/** What a native member says of its links, as it was last reported. */
export type LinkReport = Pick<ControlOf<"links">, "full" | "up" | "down">;

/** Two members, the earlier first, that should be linked and are not. */
export interface UnlinkedPair {
  readonly earlier: Member;
  readonly later: Member;
  readonly reason: string;
  /** When the link broke, or when the later of the two came in. */
  readonly since: number;
}

/** What is kept of one member. */
interface MemberLinks {
  readonly member: Member;
  readonly enteredAt: number;
  /** The links that it holds: the other's order, and the attempt. */
  readonly up: Map<number, number>;
  /** The links that it is short of, and why. */
  readonly down: Map<number, string>;
  /** When its pairs with later members were last attested, of those that were and are not. */
  readonly brokenAt: Map<number, number>;
  /** How many of its pairs are attested. */
  attested: number;
  /** It has a live session, in the classic dialect a live connection. */
  isThere: boolean;
  /** It has come back, and what is kept of it was reported before that: it may be true no more. */
  isOutdated: boolean;
}

/** The longest part of a reason that is passed on. */
const longestPart = 160;

/**
 * Who of a mesh is there, and which of its pairs are linked, as far as its members say.
 *
 * A member is there while it has a session: what a member without one reported may be true no more, and nobody knows
 * whether it lives. So a mesh in which one is not there is not whole, whatever was reported; neither is one in which a
 * member has come back and not yet said how its links are.
 *
 * A pair of native members counts when the newest reports of both name the same attempt; a pair with one classic end, when
 * the native end reports it; a pair of classic members cannot be attested by anybody. The counts follow each changed
 * report, so knowing whether a mesh is whole costs nothing; what is missing and why is worked out when somebody asks.
 */
export class CompletenessTracker {
  readonly #accounts = new Map<number, MemberLinks>();
  #natives = 0;
  #attested = 0;
  #there = 0;
  #outdated = 0;
  #version = 0;

  /** Pairs that are linked, by the word of every end that can speak. */
  get links(): number {
    return this.#attested;
  }

  /** Pairs of which nobody can speak. */
  get unverified(): number {
    return pairsOf(this.#accounts.size - this.#natives);
  }

  /** Pairs that could be attested and are not. */
  get missing(): number {
    return pairsOf(this.#accounts.size) - this.unverified - this.#attested;
  }

  get natives(): number {
    return this.#natives;
  }

  /** Members that have a session. */
  get there(): number {
    return this.#there;
  }

  /** Members with a session, or those without, in the order of joining. */
  members(areThere: boolean): Member[] {
    return [...this.#accounts.values()].filter(({ isThere }) => isThere === areThere).map(({ member }) => member);
  }

  /** True if everybody is there, and nothing that could be attested is missing. */
  get isWhole(): boolean {
    const { size } = this.#accounts;
    return this.#there === size && this.missing === 0 && (this.#outdated === 0 || size === 1);
  }

  /** Grows whenever the members or the set of linked pairs change. */
  get version(): number {
    return this.#version;
  }

  enter(member: Member, isThere: boolean, now: number): void {
    this.#version += 1;
    this.#accounts.set(member.order, {
      member,
      enteredAt: now,
      up: new Map(),
      down: new Map(),
      brokenAt: new Map(),
      attested: 0,
      isThere,
      isOutdated: false,
    });
    if (isThere) this.#there += 1;
    if (member.dialect === "native") this.#natives += 1;
  }

  /** A member has no session any more. */
  setAbsent({ order }: Member): void {
    const account = this.#accounts.get(order);
    if (account?.isThere !== true) return;
    account.isThere = false;
    this.#there -= 1;
  }

  /** A member that was thought to be gone is there: what it has reported is as new as before. */
  setThere({ order }: Member): void {
    const account = this.#accounts.get(order);
    if (account === undefined || account.isThere) return;
    account.isThere = true;
    this.#there += 1;
  }

  /** A member has a session again, on which it is going to report all of its links. */
  setBack({ order }: Member): void {
    const account = this.#accounts.get(order);
    if (account === undefined) return;
    if (!account.isThere) this.#there += 1;
    if (!account.isOutdated) this.#outdated += 1;
    account.isThere = true;
    account.isOutdated = true;
  }

  /** Takes a member out, and all that was said of it. Returns the ids of those with whom it said it was linked. */
  remove(member: Member, now: number): Id[] {
    const own = this.#accounts.get(member.order);
    if (own === undefined) return [];
    this.#version += 1;
    const dropped = this.#dropAll(own, now);
    for (const other of this.#accounts.values()) {
      this.#setUp(other, own, undefined, now);
      other.down.delete(member.order);
      other.brokenAt.delete(member.order);
    }
    this.#accounts.delete(member.order);
    if (own.isThere) this.#there -= 1;
    this.#renew(own);
    if (member.dialect === "native") this.#natives -= 1;
    return dropped;
  }

  /** Takes a report. Returns the ids of those with whom the reporter said it was linked, and says it no more. */
  report(member: Member, { full, up, down }: LinkReport, now: number): Id[] {
    const own = this.#accounts.get(member.order);
    if (own === undefined) return [];
    this.#renew(own);
    const before =
      full === true ? [...own.up.keys()] : down.map(([order]) => order).filter((order) => own.up.has(order));
    const stillUp = new Set(full === true ? up.map(([order]) => order) : []);
    if (full === true) {
      own.down.clear();
      for (const order of before) if (!stillUp.has(order)) this.#setUp(own, this.#accounts.get(order), undefined, now);
    }
    for (const [order, attempt] of up) {
      own.down.delete(order);
      this.#setUp(own, this.#accounts.get(order), attempt, now);
    }
    for (const [order, stage, reason] of down) {
      const other = this.#accounts.get(order);
      if (other === undefined || other === own) continue;
      this.#setUp(own, other, undefined, now);
      own.down.set(order, `${printable(stage, longestPart)}: ${printable(reason, longestPart)}`);
    }
    return before.filter((order) => !own.up.has(order)).flatMap((order) => this.#accounts.get(order)?.member.id ?? []);
  }

  /** True if somebody who fits says that it holds a link with this member. */
  isHeld({ order }: Member, fits: (holder: Member) => boolean): boolean {
    for (const { member, up } of this.#accounts.values()) if (up.has(order) && fits(member)) return true;
    return false;
  }

  /** The ids of those with whom a member says that it holds a link. */
  heldBy({ order }: Member): Id[] {
    const up = this.#accounts.get(order)?.up.keys() ?? [];
    return [...up].flatMap((other) => this.#accounts.get(other)?.member.id ?? []);
  }

  /**
   * Missing pairs in the order of joining, at most so many. With `until` only those that have been missing since then or
   * longer; if these are too many, the ones count first that are missing only since after `after`.
   */
  firstMissing(most: number, until = Number.POSITIVE_INFINITY, after = Number.NEGATIVE_INFINITY): UnlinkedPair[] {
    const fresh: UnlinkedPair[] = [];
    const rest: UnlinkedPair[] = [];
    const short = [...this.#accounts.values()].filter((account) => {
      return account.enteredAt <= until && account.attested < this.#attestableOf(account);
    });
    for (const [index, earlier] of short.entries()) {
      for (let next = index + 1; next < short.length && fresh.length < most; next += 1) {
        const later = short[next];
        if (later === undefined || !isAttestable(earlier, later) || isAttested(earlier, later)) continue;
        const since = missingSince(earlier, later);
        const found = since > after ? fresh : rest;
        if (since > until || found.length >= most) continue;
        found.push({ earlier: earlier.member, later: later.member, reason: reasonFor(earlier, later), since });
      }
    }
    const found = [...fresh, ...rest].slice(0, most);
    return found.sort((a, b) => a.earlier.order - b.earlier.order || a.later.order - b.later.order);
  }

  /** What is kept of it is no older than its session. */
  #renew(account: MemberLinks): void {
    if (account.isOutdated) this.#outdated -= 1;
    account.isOutdated = false;
  }

  #attestableOf({ member }: MemberLinks): number {
    return member.dialect === "native" ? this.#accounts.size - 1 : this.#natives;
  }

  #dropAll(own: MemberLinks, now: number): Id[] {
    const dropped: Id[] = [];
    for (const order of [...own.up.keys()]) {
      const other = this.#accounts.get(order);
      if (other !== undefined) dropped.push(other.member.id);
      this.#setUp(own, other, undefined, now);
    }
    return dropped;
  }

  /** One end says that the link is up with this attempt, or that it is not. */
  #setUp(own: MemberLinks | undefined, other: MemberLinks | undefined, attempt: number | undefined, now: number): void {
    // A report may name somebody who has just been removed.
    if (own === undefined || other === undefined || own === other) return;
    const was = isAttested(own, other);
    if (attempt === undefined) own.up.delete(other.member.order);
    else own.up.set(other.member.order, attempt);
    const is = isAttested(own, other);
    if (was === is) return;
    this.#version += 1;
    const by = is ? 1 : -1;
    this.#attested += by;
    own.attested += by;
    other.attested += by;
    const [earlier, later] = own.member.order < other.member.order ? [own, other] : [other, own];
    if (is) earlier.brokenAt.delete(later.member.order);
    else earlier.brokenAt.set(later.member.order, now);
  }
}

/** How many pairs so many members make. */
function pairsOf(size: number): number {
  return size < 2 ? 0 : (size * (size - 1)) / 2;
}

function isAttestable(a: MemberLinks, b: MemberLinks): boolean {
  return a.member.dialect === "native" || b.member.dialect === "native";
}

function isAttested(a: MemberLinks, b: MemberLinks): boolean {
  const byA = a.up.get(b.member.order);
  const byB = b.up.get(a.member.order);
  if (a.member.dialect === "classic") return byB !== undefined;
  return byA !== undefined && (b.member.dialect === "classic" || byA === byB);
}

function missingSince(earlier: MemberLinks, later: MemberLinks): number {
  return Math.max(earlier.enteredAt, later.enteredAt, earlier.brokenAt.get(later.member.order) ?? 0);
}

/** Why a pair is missing, by the word of its owner, then of the other end. */
function reasonFor(earlier: MemberLinks, later: MemberLinks): string {
  const said = earlier.down.get(later.member.order) ?? later.down.get(earlier.member.order);
  if (said !== undefined) return said;
  const [a, b] = [earlier.up.get(later.member.order), later.up.get(earlier.member.order)];
  if (a !== undefined && b !== undefined) return `attempt ${a} at ${earlier.member.address}, ${b} at the other end`;
  const silent = [earlier, later].filter(
    ({ member, up }, index) => member.dialect === "native" && !up.has((index === 0 ? later : earlier).member.order),
  );
  return `not reported by ${silent.map(({ member }) => member.address).join(" and ")}`;
}
