import type { Address } from "./address.js";
import type { Dialect, Id } from "./directory.js";
import type { LinkStage, MissingPair } from "./missing-pair.js";

/**
 * What a server knows of one mesh, for people and programs that look at it.
 *
 * Times are milliseconds on the clock of whoever made it; `movedInTime` brings them to another one. What is not known is
 * left out.
 */
export interface MeshStatus {
  readonly mesh: string;
  /** Of the newest entry of the log. */
  readonly revision: number;
  readonly complete: boolean;
  /** The server began a while ago and still learns who the members are. */
  readonly gathering: boolean;
  /** In join order, then those that are expected, then the waiting line. */
  readonly members: readonly MemberStatus[];
  readonly links: LinkCounts;
  /**
   * The pairs that are not linked, in join order; the first of them, if there are many. Also links with somebody that this server
   * does not list.
   */
  readonly missing: readonly MissingPair[];
  readonly claims: readonly ClaimStatus[];
  /** The newest members that have gone, the newest last. */
  readonly recent: readonly Departure[];
  readonly server: ServerStatus;
}

/**
 * `member`: listed, with a session. `suspect`: listed, without one. `expected`: known from other members, after a restart of
 * the server. `waiting`: in line for a slot.
 */
export type MemberState = "member" | "suspect" | "expected" | "waiting";

export interface MemberStatus {
  readonly address: Address;
  /** Classic members have none. */
  readonly id?: Id;
  /** null while it is not listed. */
  readonly order: number | null;
  /** Its place in join order, 0 for the oldest; null while it is not listed. */
  readonly rank: number | null;
  readonly dialect: Dialect;
  readonly name?: string;
  readonly state: MemberState;
  /** When it came into this state. */
  readonly since: number;
  /** Why it is suspected. */
  readonly reason?: string;
  /** The other server at which it has its session, where servers share the log. */
  readonly server?: Address;
}

export interface LinkCounts {
  /** Pairs of listed members. */
  readonly expected: number;
  /** Pairs that every end has reported that can report links. */
  readonly up: number;
  /**
   * Only where `missing` does not name every missing pair: a bit for each pair that is up, in hexadecimal. The pairs come in join
   * order, (0, 1), (0, 2) up to (0, n - 1), then (1, 2) and so on; the lowest bit of a byte comes first.
   */
  readonly bits?: string;
}

export interface ClaimStatus {
  readonly key: string;
  /** The address of the holder; its id if that was never listed. */
  readonly holder: Address | Id;
  readonly token: number;
  readonly since: number;
  /** How many members wait for it. */
  readonly waiting: number;
}

export interface Departure {
  readonly type: "left" | "lost" | "replaced";
  readonly address: Address;
  readonly name?: string;
  readonly order: number;
  readonly reason: string;
  readonly at: number;
}

export interface ServerStatus {
  readonly version: string;
  readonly startedAt: number;
  /** Connections that are open. */
  readonly connections: number;
  /** How many were refused, by their codes. */
  readonly refusals: Readonly<Record<string, number>>;
}

/** What is known of two listed members and their link. Times are as those of `MeshStatus`. */
export interface PairStatus {
  readonly mesh: string;
  /** The two agree that they are linked, as far as they can report it. */
  readonly isUp: boolean;
  /** The ends in join order: the first one owns the link. */
  readonly ends: readonly [PairEnd, PairEnd];
}

/** One end of a link. What it has not said is left out. */
export interface PairEnd {
  readonly address: Address;
  readonly name?: string;
  /** Classic members report no links. */
  readonly dialect: Dialect;
  /** What it has said last of this link. */
  readonly report?: EndReport;
  /** The shortest round trip on the present connection. */
  readonly roundTripMs?: number;
  /** Bytes that wait here for the other end, or that it has not acknowledged. */
  readonly queuedBytes?: number;
}

export interface EndReport {
  readonly stage: LinkStage | "up";
  /** The number of the attempt; 0 for none, and where the other end is classic. */
  readonly attempt: number;
  /** Why it is not up. */
  readonly reason?: string;
  /** Since when it says so. */
  readonly at: number;
}

/** The same with all times moved by so many milliseconds, rounded to whole ones. */
export function movedPairStatus(pair: PairStatus, byMs: number): PairStatus {
  const moved = ({ report, ...end }: PairEnd): PairEnd =>
    report === undefined ? end : { ...end, report: { ...report, at: Math.round(report.at + byMs) } };
  return { ...pair, ends: [moved(pair.ends[0]), moved(pair.ends[1])] };
}

/** The same with all times moved by so many milliseconds, rounded to whole ones. */
export function movedInTime(status: MeshStatus, byMs: number): MeshStatus {
  const moved = (time: number): number => Math.round(time + byMs);
  const since = <Row extends { readonly since: number }>(row: Row): Row => ({ ...row, since: moved(row.since) });
  return {
    ...status,
    members: status.members.map(since),
    missing: status.missing.map(since),
    claims: status.claims.map(since),
    recent: status.recent.map((departure) => ({ ...departure, at: moved(departure.at) })),
    server: { ...status.server, startedAt: moved(status.server.startedAt) },
  };
}

/** Which pairs of listed members are linked, asked by their ranks in either order. */
export function linkReader({ links, members, missing }: MeshStatus): (rank: number, other: number) => boolean {
  const { bits } = links;
  const listed = members.filter(({ rank }) => rank !== null);
  const count = listed.length;
  if (bits === undefined) {
    const rankOf = new Map(listed.map(({ address }, rank) => [address, rank]));
    const unlinked = new Set(missing.map(({ a, b }) => (rankOf.get(a) ?? 0) * count + (rankOf.get(b) ?? 0)));
    return (rank, other) => !unlinked.has(Math.min(rank, other) * count + Math.max(rank, other));
  }
  return (rank, other) => {
    const [earlier, later] = [Math.min(rank, other), Math.max(rank, other)];
    const at = earlier * count - (earlier * (earlier + 1)) / 2 + later - earlier - 1;
    const byte = Number.parseInt(bits.slice(2 * (at >> 3), 2 * (at >> 3) + 2), 16);
    return ((byte >> (at & 7)) & 1) === 1;
  };
}

/** A time for people, such as `4 s`, `12 min` or `3 h`. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
