import { printable } from "../core/escaping.js";
import type { Limits } from "../core/limits.js";
import type { Id, Member } from "../protocol/directory.js";
import type { LinkFailure } from "../protocol/missing-pair.js";
import type { ControlOf } from "../protocol/native/control.js";
import type { MemberRecord, UnlistedLink, UnlistedMember } from "./member-record.js";
import type { Members } from "./members.js";

/** A native member's report of its links. */
export type LinkReport = Pick<ControlOf<"links">, "full" | "up" | "down" | "unlisted">;

/** Two members, the earlier first, that should be linked and are not; or that are, and one of them is not listed. */
export interface UnlinkedPair {
  readonly earlier: Pick<Member, "address" | "id" | "order">;
  readonly later: Pick<Member, "address" | "id" | "order">;
  readonly why: LinkFailure;
  /** When the link broke, when the later of the two came in, or when the link was first reported. */
  readonly since: number;
  /** When that is long enough to be reported. */
  readonly overdueAt: number;
  /** The one of the two that the log does not list. */
  readonly unlisted?: UnlistedMember;
}

/** The longest part of a reason that is forwarded. */
const longestPart = 160;

/** So many reported links with ids that are not listed are kept of one member: one is enough to bar completeness. */
const mostUnlisted = 64;

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
  readonly #limits: Limits;
  #attested = 0;
  #outdated = 0;
  #unlisted = 0;
  /** Members that have had no session for a lease, and since when that lease is over. */
  readonly #away = new Map<MemberRecord, number>();
  #version = 0;
  readonly #isRemoved: (id: Id) => boolean;

  /** `isRemoved`: the log has removed this id. */
  constructor(members: Members, limits: Limits, isRemoved: (id: Id) => boolean) {
    this.#members = members;
    this.#limits = limits;
    this.#isRemoved = isRemoved;
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

  /** Reported links with ids that the log has neither listed nor removed. */
  get unlisted(): number {
    return this.#unlisted;
  }

  /** Members that have had no session for a lease, and are listed because others report links with them. */
  get away(): number {
    return this.#away.size;
  }

  /** True if every member has a session, no pair is missing, and nobody knows a member that is not listed. */
  get isWhole(): boolean {
    const { listed, present, unsettled, awaitedElsewhere } = this.#members;
    if (unsettled + awaitedElsewhere > 0 || this.#members.readers > 0 || this.#unlisted > 0) return false;
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
    this.#settleUnlisted(record.id);
  }

  /** The log has removed an id that it had not listed. */
  forgetUnlisted(id: Id): void {
    this.#version += 1;
    this.#settleUnlisted(id);
    for (const { up, down } of this.#members.listed.values()) {
      up.delete(id);
      down.delete(id);
    }
  }

  /** The lease of a member without a session is over since then, and others hold it; undefined: that is not so, or not any more. */
  setAway(record: MemberRecord, since: number | undefined): void {
    if (this.#away.has(record) === (since !== undefined)) return;
    this.#version += 1;
    if (since === undefined) this.#away.delete(record);
    else this.#away.set(record, since);
  }

  /** A member has resumed, and will report all of its links. */
  setBack(record: MemberRecord): void {
    if (!record.isOutdated) this.#outdated += 1;
    record.isOutdated = true;
  }

  /** A member is not listed any more: all reports about it go. Returns those with whom it had reported a link. */
  remove(own: MemberRecord, now: number): MemberRecord[] {
    this.#version += 1;
    this.#away.delete(own);
    const dropped = this.heldBy(own);
    for (const other of dropped) this.#setUp(own, other, undefined, now);
    for (const other of this.#members.listed.values()) {
      this.#setUp(other, own, undefined, now);
      other.down.delete(own.id);
      other.brokenAt.delete(own.id);
    }
    this.#unlisted -= own.unlisted.size;
    own.unlisted.clear();
    this.#settleUnlisted(own.id);
    this.#renew(own);
    return dropped;
  }

  /** Applies a report. Returns those with whom the reporter is not linked any more, the expected ones included. */
  report(own: MemberRecord, { full, up, down, unlisted = [] }: LinkReport, now: number): MemberRecord[] {
    this.#renew(own);
    const named = new Map(unlisted.map((member) => [member.id, member]));
    const before = full === true ? [...own.up.keys()] : down.map(([id]) => id).filter((id) => own.up.has(id));
    if (full === true) {
      const stillUp = new Set(up.map(([id]) => id));
      own.down.clear();
      for (const id of before) if (!stillUp.has(id)) this.#setDown(own, id, now);
    }
    for (const [id, attempt] of up) {
      own.down.delete(id);
      this.#setReported(own, id, attempt, named.get(id), now);
    }
    // Of a link that one report calls both, the worse is taken.
    for (const [id, stage, attempt, reason] of down) {
      this.#setDown(own, id, now);
      if (id === own.id || this.#members.get(id) === undefined) continue;
      own.down.set(id, { stage, attempt, reason: printable(reason, longestPart), at: now });
    }
    return before.filter((id) => !own.up.has(id)).flatMap((id) => this.#members.get(id) ?? []);
  }

  /** True if a native member with a session reports a link with this one; `exceptLate`: not at a server that is late. */
  isHeld(id: Id, exceptLate = false): boolean {
    for (const { dialect, isAttached, isWatched, up } of this.#members.listed.values()) {
      if (up.has(id) && (exceptLate ? isWatched : isAttached) && dialect === "native") return true;
    }
    return false;
  }

  /** Those with whom a member reports a link. */
  heldBy({ up }: MemberRecord): MemberRecord[] {
    return [...up.keys()].flatMap((id) => this.#members.get(id) ?? []);
  }

  /** When the next reported link with somebody that is not listed has been reported for a lease; undefined if none will. */
  nextOverdueAt(now: number): number | undefined {
    let next: number | undefined;
    for (const { unlisted } of this.#members.listed.values()) {
      for (const { since } of unlisted.values()) {
        const at = since + this.#limits.leaseMs;
        if (at > now && at < (next ?? Number.POSITIVE_INFINITY)) next = at;
      }
    }
    return next;
  }

  /**
   * Pairs that have been missing for `degradedMs` at `now`, and linked ones with a member that has not been listed, or has had no
   * session, for a lease: at most so many, the most telling first. These are those that have been missing for so long only since `after`, and of them
   * those whose ends lack the fewest others: a member that breaks its own links, or makes links up, crowds nobody else out.
   */
  overdue(most: number, now = Number.POSITIVE_INFINITY, after = Number.NEGATIVE_INFINITY): UnlinkedPair[] {
    const { degradedMs } = this.#limits;
    const fresh: UnlinkedPair[] = [];
    const rest: UnlinkedPair[] = [];
    const take = (pair: UnlinkedPair): void => {
      const found = pair.overdueAt > after ? fresh : rest;
      if (pair.overdueAt <= now && found.length < most) found.push(pair);
    };
    const linked = [...this.#awayPairs(), ...this.#unlistedPairs()].filter(({ overdueAt }) => overdueAt <= now);
    linked.splice(0, most / 2).forEach(take);
    const lacking = (record: MemberRecord): number => this.#attestableOf(record) - record.attested;
    const short = [...this.#members.listed.values()]
      .filter((record) => record.enteredAt + degradedMs <= now && lacking(record) > 0)
      .sort((a, b) => lacking(a) - lacking(b) || compareRecords(a, b));
    for (const [index, one] of short.entries()) {
      for (let at = 0; at < index && fresh.length < most; at += 1) {
        const other = short[at];
        if (other === undefined || !isAttestable(one, other) || isAttested(one, other)) continue;
        const [earlier, later] = ordered(one, other);
        const since = Math.max(earlier.enteredAt, later.enteredAt, earlier.brokenAt.get(later.id) ?? 0);
        take({ earlier, later, why: whyMissing(earlier, later), since, overdueAt: since + degradedMs });
      }
    }
    linked.forEach(take);
    return [...fresh, ...rest].slice(0, most);
  }

  /** Each member that is away, with one of those that hold a link with it. */
  #awayPairs(): UnlinkedPair[] {
    return [...this.#away].flatMap(([record, overdueAt]): UnlinkedPair[] => {
      const { suspect } = record;
      const witnesses = this.heldBy(record).filter((other) => other.isAttached && isAttested(record, other));
      const [witness] = witnesses.sort(compareRecords);
      if (suspect === undefined || witness === undefined) return [];
      const [earlier, later] = ordered(record, witness);
      return [{ earlier, later, why: whyAway(record, witness, suspect.reason), since: suspect.since, overdueAt }];
    });
  }

  /** Reported links with somebody that is not listed, as far as it is known who that is. Those of members with the fewest come first. */
  #unlistedPairs(): UnlinkedPair[] {
    const reporters = [...this.#members.listed.values()].filter(({ unlisted }) => unlisted.size > 0);
    reporters.sort((a, b) => a.unlisted.size - b.unlisted.size || compareRecords(a, b));
    return reporters.flatMap((own) =>
      [...own.unlisted].flatMap(([id, { since, peer }]): UnlinkedPair[] => {
        const record = this.#members.get(id);
        const { address, order } = (record?.expectation === undefined ? peer : record) ?? {};
        if (address === undefined || order === undefined) return [];
        const unlisted: UnlistedMember = { id, order, address };
        const [earlier, later] = ordered<UnlistedMember>(own, unlisted);
        const overdueAt = since + this.#limits.leaseMs;
        return [{ earlier, later, why: whyUnlisted(own, unlisted), since, overdueAt, unlisted }];
      }),
    );
  }

  /** Pairs of listed members. */
  get pairs(): number {
    return pairsOf(this.#members.listed.size);
  }

  /** A bit for each pair that is linked, in join order, the lowest bit of a byte first. */
  upBits(): Uint8Array {
    const sorted = [...this.#members.listed.values()].sort(compareRecords);
    const bits = new Uint8Array(Math.ceil(pairsOf(sorted.length) / 8));
    let at = 0;
    for (const [index, earlier] of sorted.entries()) {
      for (const later of sorted.slice(index + 1)) {
        if (isAttestable(earlier, later) && isAttested(earlier, later))
          bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7));
        at += 1;
      }
    }
    return bits;
  }

  /** Its reports are up to date. */
  #renew(record: MemberRecord): void {
    if (record.isOutdated) this.#outdated -= 1;
    record.isOutdated = false;
  }

  #attestableOf({ dialect }: MemberRecord): number {
    return dialect === "native" ? this.#members.listed.size - 1 : this.#members.natives;
  }

  /** One end reports a link that is up, perhaps with somebody who is not listed; `peer`: who that is. */
  #setReported(own: MemberRecord, id: Id, attempt: number, peer: UnlistedLink["peer"], now: number): void {
    if (id === own.id || this.#isRemoved(id)) return;
    const other = this.#members.get(id);
    if (other?.member !== undefined) {
      this.#setUp(own, other, attempt, now);
      return;
    }
    const isNew = !own.unlisted.has(id);
    const isCounted = !isNew || own.unlisted.size < mostUnlisted;
    // Whoever holds a link with an expected member keeps it, however many there are.
    if (isCounted || other?.expectation !== undefined) own.up.set(id, { attempt, at: now });
    if (!isNew || !isCounted) return;
    own.unlisted.set(id, { since: now, peer });
    this.#unlisted += 1;
    this.#version += 1;
  }

  /** One end reports that a link is not up. */
  #setDown(own: MemberRecord, id: Id, now: number): void {
    const other = this.#members.listed.get(id);
    if (other !== undefined) this.#setUp(own, other, undefined, now);
    else own.up.delete(id);
    if (own.unlisted.delete(id)) {
      this.#unlisted -= 1;
      this.#version += 1;
    }
  }

  #settleUnlisted(id: Id): void {
    for (const { unlisted } of this.#members.listed.values()) if (unlisted.delete(id)) this.#unlisted -= 1;
  }

  /** One end reports that the link is up with this attempt, or down. */
  #setUp(own: MemberRecord, other: MemberRecord, attempt: number | undefined, now: number): void {
    if (own === other) return;
    const was = isAttested(own, other);
    if (attempt === undefined) own.up.delete(other.id);
    else if (own.up.get(other.id)?.attempt !== attempt) own.up.set(other.id, { attempt, at: now });
    const is = isAttested(own, other);
    if (was === is) return;
    this.#version += 1;
    const by = is ? 1 : -1;
    this.#attested += by;
    own.attested += by;
    other.attested += by;
    const [earlier, later] = ordered(own, other);
    if (is) earlier.brokenAt.delete(later.id);
    else earlier.brokenAt.set(later.id, now);
  }
}

/** Below 0 if `a` comes before `b` in join order. */
function compareRecords(a: Pick<Member, "id" | "order">, b: Pick<Member, "id" | "order">): number {
  return a.order - b.order || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

export function inJoinOrder(pairs: readonly UnlinkedPair[]): UnlinkedPair[] {
  return [...pairs].sort((one, other) => {
    return compareRecords(one.earlier, other.earlier) || compareRecords(one.later, other.later);
  });
}

export function ordered<Each extends Pick<Member, "id" | "order">>(a: Each, b: Each): [earlier: Each, later: Each] {
  return compareRecords(a, b) < 0 ? [a, b] : [b, a];
}

/** How many pairs so many members make. */
function pairsOf(size: number): number {
  return size < 2 ? 0 : (size * (size - 1)) / 2;
}

function isAttestable(a: MemberRecord, b: MemberRecord): boolean {
  return a.dialect === "native" || b.dialect === "native";
}

export function isAttested(a: MemberRecord, b: MemberRecord): boolean {
  const byA = a.up.get(b.id)?.attempt;
  const byB = b.up.get(a.id)?.attempt;
  if (a.dialect === "classic") return byB !== undefined;
  return byA !== undefined && (b.dialect === "classic" || byA === byB);
}

/** Why a pair is missing, by the report of its owner, else of the other end. */
function whyMissing(earlier: MemberRecord, later: MemberRecord): LinkFailure {
  const reported = earlier.down.get(later.id) ?? later.down.get(earlier.id);
  const [a, b] = [earlier.up.get(later.id)?.attempt, later.up.get(earlier.id)?.attempt];
  const attempt = Math.max(a ?? 0, b ?? 0);
  const silent = [earlier, later].filter(
    ({ dialect, up }, index) => dialect === "native" && !up.has((index === 0 ? later : earlier).id),
  );
  const reason = `not reported by ${silent.map(({ address }) => address).join(" and ")}`;
  if (earlier.dialect === "classic" || later.dialect === "classic") {
    return { stage: "classic", attempt: 0, reason: reported?.reason ?? reason };
  }
  if (reported !== undefined) return { stage: reported.stage, attempt: reported.attempt, reason: reported.reason };
  if (silent.length > 0) return { stage: "unreported", attempt, reason };
  return { stage: "unreported", attempt, reason: `attempt ${a} at ${earlier.address}, ${b} at the other end` };
}

function whyAway({ id, address }: MemberRecord, witness: MemberRecord, reason: string): LinkFailure {
  const what = `${witness.address} holds this link, but ${address} has no session with this server (${reason})`;
  return { stage: "unreported", attempt: witness.up.get(id)?.attempt ?? 0, reason: `${what}: is it at another one?` };
}

function whyUnlisted({ address, up }: MemberRecord, unlisted: UnlistedMember): LinkFailure {
  const what = `${address} holds this link, but this server does not list ${unlisted.address}`;
  return {
    stage: "unreported",
    attempt: up.get(unlisted.id)?.attempt ?? 0,
    reason: `${what}: are two servers behind one address?`,
  };
}
