import { printable } from "../core/escaping.js";
import type { Member } from "../protocol/directory.js";
import type { ControlOf } from "../protocol/native/control.js";
import type { MemberRecord } from "./member-session.js";
import type { Members } from "./members.js";

/** A native member's report of its links. */
export type LinkReport = Pick<ControlOf<"links">, "full" | "up" | "down">;

/** Two members, the earlier first, that should be linked and are not. */
export interface UnlinkedPair {
  readonly earlier: Pick<Member, "address" | "order">;
  readonly later: Pick<Member, "address" | "order">;
  readonly reason: string;
  /** When the link broke, or when the later of the two came in. */
  readonly since: number;
}

/** The longest part of a reason that is forwarded. */
const longestPart = 160;

/**
 * Tracks which pairs of members are linked, by their reports.
 *
 * A mesh is whole only while every member has a session, because the reports of one without may be outdated. For the same
 * reason a member that has resumed counts only after its next report.
 *
 * A pair of native members is linked when the newest reports of both name the same attempt; a pair with one classic end, when
 * the native end reports it; a pair of classic members cannot be verified. The counts are kept up to date with each report,
 * so `isWhole` is cheap; the list of missing pairs is made when it is asked for.
 */
export class CompletenessTracker {
  readonly #members: Members;
  #attested = 0;
  #outdated = 0;
  #version = 0;

  constructor(members: Members) {
    this.#members = members;
  }

  /** Pairs that are linked, by the reports of every native end. */
  get links(): number {
    return this.#attested;
  }

  /** Pairs that nobody can report: both ends are classic. */
  get unverified(): number {
    return pairsOf(this.#members.listed.size - this.#members.natives);
  }

  /** Pairs that could be reported as linked, and are not. */
  get missing(): number {
    return pairsOf(this.#members.listed.size) - this.unverified - this.#attested;
  }

  /** True if every member has a session, and no pair is missing. */
  get isWhole(): boolean {
    const { listed, present } = this.#members;
    return present === listed.size && this.missing === 0 && (this.#outdated === 0 || listed.size === 1);
  }

  /** Grows whenever the members or the set of linked pairs change. */
  get version(): number {
    return this.#version;
  }

  /** A member has been listed. */
  enter(record: MemberRecord, now: number): void {
    this.#version += 1;
    record.enteredAt = now;
  }

  /** A member has resumed, and will report all of its links. */
  setBack(record: MemberRecord): void {
    if (!record.isOutdated) this.#outdated += 1;
    record.isOutdated = true;
  }

  /** A member is not listed any more: all reports about it go. Returns those with whom it had reported a link. */
  remove(own: MemberRecord, now: number): MemberRecord[] {
    this.#version += 1;
    const dropped = this.heldBy(own);
    for (const other of dropped) this.#setUp(own, other, undefined, now);
    for (const other of this.#members.listed.values()) {
      this.#setUp(other, own, undefined, now);
      other.down.delete(own.order);
      other.brokenAt.delete(own.order);
    }
    this.#renew(own);
    return dropped;
  }

  /** Applies a report. Returns those with whom the reporter is not linked any more. */
  report(own: MemberRecord, { full, up, down }: LinkReport, now: number): MemberRecord[] {
    const { listed } = this.#members;
    this.#renew(own);
    const before =
      full === true ? [...own.up.keys()] : down.map(([order]) => order).filter((order) => own.up.has(order));
    const stillUp = new Set(full === true ? up.map(([order]) => order) : []);
    if (full === true) {
      own.down.clear();
      for (const order of before) if (!stillUp.has(order)) this.#setUp(own, listed.get(order), undefined, now);
    }
    for (const [order, attempt] of up) {
      own.down.delete(order);
      this.#setUp(own, listed.get(order), attempt, now);
    }
    for (const [order, stage, reason] of down) {
      const other = listed.get(order);
      if (other === undefined || other === own) continue;
      this.#setUp(own, other, undefined, now);
      own.down.set(order, `${printable(stage, longestPart)}: ${printable(reason, longestPart)}`);
    }
    return before.filter((order) => !own.up.has(order)).flatMap((order) => listed.get(order) ?? []);
  }

  /** True if a native member with a session reports a link with this one. */
  isHeld({ order }: MemberRecord): boolean {
    for (const { dialect, session, up } of this.#members.listed.values()) {
      if (up.has(order) && session !== undefined && dialect === "native") return true;
    }
    return false;
  }

  /** Those with whom a member reports a link. */
  heldBy({ up }: MemberRecord): MemberRecord[] {
    return [...up.keys()].flatMap((order) => this.#members.listed.get(order) ?? []);
  }

  /**
   * Missing pairs in the order of joining, at most so many. With `until` only those that have been missing since then or
   * longer; if these are too many, the ones count first that are missing only since after `after`.
   */
  firstMissing(most: number, until = Number.POSITIVE_INFINITY, after = Number.NEGATIVE_INFINITY): UnlinkedPair[] {
    const fresh: UnlinkedPair[] = [];
    const rest: UnlinkedPair[] = [];
    const short = [...this.#members.listed.values()].filter((record) => {
      return record.enteredAt <= until && record.attested < this.#attestableOf(record);
    });
    for (const [index, earlier] of short.entries()) {
      for (let next = index + 1; next < short.length && fresh.length < most; next += 1) {
        const later = short[next];
        if (later === undefined || !isAttestable(earlier, later) || isAttested(earlier, later)) continue;
        const since = missingSince(earlier, later);
        const found = since > after ? fresh : rest;
        if (since > until || found.length >= most) continue;
        found.push({ earlier, later, reason: reasonFor(earlier, later), since });
      }
    }
    const found = [...fresh, ...rest].slice(0, most);
    return found.sort((a, b) => a.earlier.order - b.earlier.order || a.later.order - b.later.order);
  }

  /** Its reports are up to date. */
  #renew(record: MemberRecord): void {
    if (record.isOutdated) this.#outdated -= 1;
    record.isOutdated = false;
  }

  #attestableOf({ dialect }: MemberRecord): number {
    return dialect === "native" ? this.#members.listed.size - 1 : this.#members.natives;
  }

  /** One end reports that the link is up with this attempt, or down. */
  #setUp(own: MemberRecord, other: MemberRecord | undefined, attempt: number | undefined, now: number): void {
    // A report may name somebody who has just been removed.
    if (other === undefined || own === other) return;
    const was = isAttested(own, other);
    if (attempt === undefined) own.up.delete(other.order);
    else own.up.set(other.order, attempt);
    const is = isAttested(own, other);
    if (was === is) return;
    this.#version += 1;
    const by = is ? 1 : -1;
    this.#attested += by;
    own.attested += by;
    other.attested += by;
    const [earlier, later] = own.order < other.order ? [own, other] : [other, own];
    if (is) earlier.brokenAt.delete(later.order);
    else earlier.brokenAt.set(later.order, now);
  }
}

/** How many pairs so many members make. */
function pairsOf(size: number): number {
  return size < 2 ? 0 : (size * (size - 1)) / 2;
}

function isAttestable(a: MemberRecord, b: MemberRecord): boolean {
  return a.dialect === "native" || b.dialect === "native";
}

function isAttested(a: MemberRecord, b: MemberRecord): boolean {
  const byA = a.up.get(b.order);
  const byB = b.up.get(a.order);
  if (a.dialect === "classic") return byB !== undefined;
  return byA !== undefined && (b.dialect === "classic" || byA === byB);
}

function missingSince(earlier: MemberRecord, later: MemberRecord): number {
  return Math.max(earlier.enteredAt, later.enteredAt, earlier.brokenAt.get(later.order) ?? 0);
}

/** Why a pair is missing, by the report of its owner, else of the other end. */
function reasonFor(earlier: MemberRecord, later: MemberRecord): string {
  const reported = earlier.down.get(later.order) ?? later.down.get(earlier.order);
  if (reported !== undefined) return reported;
  const [a, b] = [earlier.up.get(later.order), later.up.get(earlier.order)];
  if (a !== undefined && b !== undefined) return `attempt ${a} at ${earlier.address}, ${b} at the other end`;
  const silent = [earlier, later].filter(
    ({ dialect, up }, index) => dialect === "native" && !up.has((index === 0 ? later : earlier).order),
  );
  return `not reported by ${silent.map(({ address }) => address).join(" and ")}`;
}
