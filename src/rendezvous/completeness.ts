import { printable } from "../core/escaping.js";
import type { Id, Member } from "../protocol/directory.js";
import type { ControlOf } from "../protocol/native/control.js";

/** A native member's report of its links. */
export type LinkReport = Pick<ControlOf<"links">, "full" | "up" | "down">;

/** Two members, the earlier first, that should be linked and are not. */
export interface UnlinkedPair {
  readonly earlier: Member;
  readonly later: Member;
  readonly reason: string;
  /** When the link broke, or when the later of the two came in. */
  readonly since: number;
}

/** The links of one member, as reported. */
interface MemberLinks {
  readonly member: Member;
  readonly enteredAt: number;
  /** The links that are up: the peer's order, and the attempt. */
  readonly up: Map<number, number>;
  /** The links that are down, and why. */
  readonly down: Map<number, string>;
  /** When the links of its pairs with later members broke. */
  readonly brokenAt: Map<number, number>;
  /** How many of its pairs are attested. */
  attested: number;
  /** It has a live session, in the classic dialect a live connection. */
  isThere: boolean;
  /** It has resumed, and not reported since: what is kept may be outdated. */
  isOutdated: boolean;
}

/** The longest part of a reason that is forwarded. */
const longestPart = 160;

/**
 * Tracks which members of a mesh have a session, and which pairs are linked, by their reports.
 *
 * A mesh is whole only while every member has a session, because the reports of one without may be outdated. For the same
 * reason a member that has resumed counts only after its next report.
 *
 * A pair of native members is linked when the newest reports of both name the same attempt; a pair with one classic end, when
 * the native end reports it; a pair of classic members cannot be verified. The counts are kept up to date with each report,
 * so `isWhole` is cheap; the list of missing pairs is made when it is asked for.
 */
export class CompletenessTracker {
  readonly #members = new Map<number, MemberLinks>();
  #natives = 0;
  #attested = 0;
  #there = 0;
  #outdated = 0;
  #version = 0;

  /** Pairs that are linked, by the reports of every native end. */
  get links(): number {
    return this.#attested;
  }

  /** Pairs that nobody can report: both ends are classic. */
  get unverified(): number {
    return pairsOf(this.#members.size - this.#natives);
  }

  /** Pairs that could be reported as linked, and are not. */
  get missing(): number {
    return pairsOf(this.#members.size) - this.unverified - this.#attested;
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
    return [...this.#members.values()].filter(({ isThere }) => isThere === areThere).map(({ member }) => member);
  }

  /** True if every member has a session, and no pair is missing. */
  get isWhole(): boolean {
    const { size } = this.#members;
    return this.#there === size && this.missing === 0 && (this.#outdated === 0 || size === 1);
  }

  /** Grows whenever the members or the set of linked pairs change. */
  get version(): number {
    return this.#version;
  }

  enter(member: Member, isThere: boolean, now: number): void {
    this.#version += 1;
    this.#members.set(member.order, {
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
    const links = this.#members.get(order);
    if (links?.isThere !== true) return;
    links.isThere = false;
    this.#there -= 1;
  }

  /** A member that counted as absent has its session still: its reports are up to date. */
  setThere({ order }: Member): void {
    const links = this.#members.get(order);
    if (links === undefined || links.isThere) return;
    links.isThere = true;
    this.#there += 1;
  }

  /** A member has resumed, and will report all of its links. */
  setBack({ order }: Member): void {
    const links = this.#members.get(order);
    if (links === undefined) return;
    if (!links.isThere) this.#there += 1;
    if (!links.isOutdated) this.#outdated += 1;
    links.isThere = true;
    links.isOutdated = true;
  }

  /** Removes a member and all reports about it. Returns the ids of those with whom it had reported a link. */
  remove(member: Member, now: number): Id[] {
    const own = this.#members.get(member.order);
    if (own === undefined) return [];
    this.#version += 1;
    const dropped = this.#dropAll(own, now);
    for (const other of this.#members.values()) {
      this.#setUp(other, own, undefined, now);
      other.down.delete(member.order);
      other.brokenAt.delete(member.order);
    }
    this.#members.delete(member.order);
    if (own.isThere) this.#there -= 1;
    this.#renew(own);
    if (member.dialect === "native") this.#natives -= 1;
    return dropped;
  }

  /** Applies a report. Returns the ids of those with whom the reporter is not linked any more. */
  report(member: Member, { full, up, down }: LinkReport, now: number): Id[] {
    const own = this.#members.get(member.order);
    if (own === undefined) return [];
    this.#renew(own);
    const before =
      full === true ? [...own.up.keys()] : down.map(([order]) => order).filter((order) => own.up.has(order));
    const stillUp = new Set(full === true ? up.map(([order]) => order) : []);
    if (full === true) {
      own.down.clear();
      for (const order of before) if (!stillUp.has(order)) this.#setUp(own, this.#members.get(order), undefined, now);
    }
    for (const [order, attempt] of up) {
      own.down.delete(order);
      this.#setUp(own, this.#members.get(order), attempt, now);
    }
    for (const [order, stage, reason] of down) {
      const other = this.#members.get(order);
      if (other === undefined || other === own) continue;
      this.#setUp(own, other, undefined, now);
      own.down.set(order, `${printable(stage, longestPart)}: ${printable(reason, longestPart)}`);
    }
    return before.filter((order) => !own.up.has(order)).flatMap((order) => this.#members.get(order)?.member.id ?? []);
  }

  /** True if a member that fits reports a link with this one. */
  isHeld({ order }: Member, fits: (holder: Member) => boolean): boolean {
    for (const { member, up } of this.#members.values()) if (up.has(order) && fits(member)) return true;
    return false;
  }

  /** The ids of those with whom a member reports a link. */
  heldBy({ order }: Member): Id[] {
    const up = this.#members.get(order)?.up.keys() ?? [];
    return [...up].flatMap((other) => this.#members.get(other)?.member.id ?? []);
  }

  /**
   * Missing pairs in the order of joining, at most so many. With `until` only those that have been missing since then or
   * longer; if these are too many, the ones count first that are missing only since after `after`.
   */
  firstMissing(most: number, until = Number.POSITIVE_INFINITY, after = Number.NEGATIVE_INFINITY): UnlinkedPair[] {
    const fresh: UnlinkedPair[] = [];
    const rest: UnlinkedPair[] = [];
    const short = [...this.#members.values()].filter((links) => {
      return links.enteredAt <= until && links.attested < this.#attestableOf(links);
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

  /** Its reports are up to date. */
  #renew(links: MemberLinks): void {
    if (links.isOutdated) this.#outdated -= 1;
    links.isOutdated = false;
  }

  #attestableOf({ member }: MemberLinks): number {
    return member.dialect === "native" ? this.#members.size - 1 : this.#natives;
  }

  #dropAll(own: MemberLinks, now: number): Id[] {
    const dropped: Id[] = [];
    for (const order of [...own.up.keys()]) {
      const other = this.#members.get(order);
      if (other !== undefined) dropped.push(other.member.id);
      this.#setUp(own, other, undefined, now);
    }
    return dropped;
  }

  /** One end reports that the link is up with this attempt, or down. */
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

/** Why a pair is missing, by the report of its owner, else of the other end. */
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
