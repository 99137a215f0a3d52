import type { MemberStatus, MeshStatus } from "../protocol/status.js";
import { drawMatrix, type LinkMatrix, legend } from "./link-matrix.js";

/** Rows of each list that are shown; the rest is counted. `--json` has all. */
const mostRows = 20;

const signs = "> linked, the row dials   < linked, the column dials   x not linked";

/** A status for people: the mesh in a line, the matrix, and what is not as it should be. */
export function statusText(status: MeshStatus, server: string, now: number, columns?: number): string[] {
  const matrix = statusMatrix(status);
  const hasMembers = matrix.labels.length > 0;
  return [
    headline(status, server),
    ...(hasMembers ? [...drawMatrix(matrix, columns), legend(matrix, signs, columns)] : []),
    ...list("not linked:", status.missing.length, missingLines(status, now), status.links.expected - status.links.up),
    ...memberList("suspected", status, "suspect", now),
    ...memberList("expected back", status, "expected", now),
    ...memberList("in the waiting line", status, "waiting", now),
    ...list("claims:", status.claims.length, claimLines(status, now)),
    ...list("gone lately:", status.recent.length, departureLines(status, now)),
    serverLine(status, now),
  ];
}

/** The mesh in one line. */
export function headline({ mesh, members, links, complete, gathering }: MeshStatus, server: string): string {
  const listed = members.filter(({ rank }) => rank !== null).length;
  const state = complete ? "complete" : gathering ? "gathering" : "not complete";
  const counts = `${counted(listed, "member")}, ${links.up} of ${counted(links.expected, "link")}`;
  return `mesh "${mesh}" at ${server}: ${counts}, ${state}`;
}

function statusMatrix(status: MeshStatus): LinkMatrix {
  const listed = status.members.filter(({ rank }) => rank !== null);
  const rankOf = new Map(listed.map(({ address }, rank) => [address, rank]));
  const isLinked =
    status.links.bits === undefined ? isNotMissing(status, rankOf) : inBits(status.links.bits, listed.length);
  return {
    labels: listed.map(shown),
    sign: (row, column) => (isLinked(Math.min(row, column), Math.max(row, column)) ? (row < column ? ">" : "<") : "x"),
    isLinked: (row, column) => isLinked(Math.min(row, column), Math.max(row, column)),
  };
}

type IsLinked = (earlier: number, later: number) => boolean;

function isNotMissing({ missing, members }: MeshStatus, rankOf: ReadonlyMap<string, number>): IsLinked {
  const count = members.length;
  // A pair with somebody who is not listed has no place here.
  const listed = missing.filter(({ a, b }) => rankOf.has(a) && rankOf.has(b));
  const unlinked = new Set(listed.map(({ a, b }) => (rankOf.get(a) ?? 0) * count + (rankOf.get(b) ?? 0)));
  return (earlier, later) => !unlinked.has(earlier * count + later);
}

/** See `LinkCounts.bits`. */
function inBits(bits: string, count: number): IsLinked {
  return (earlier, later) => {
    const at = earlier * count - (earlier * (earlier + 1)) / 2 + later - earlier - 1;
    const byte = Number.parseInt(bits.slice(2 * (at >> 3), 2 * (at >> 3) + 2), 16);
    return ((byte >> (at & 7)) & 1) === 1;
  };
}

function missingLines({ missing, members }: MeshStatus, now: number): string[] {
  const names = new Map(members.map((member) => [member.address, shown(member)]));
  return missing.slice(0, mostRows).map(({ a, b, stage, attempt, reason, since }) => {
    const tries = attempt === 0 ? "" : `, attempt ${attempt}`;
    return `${names.get(a) ?? a} -> ${names.get(b) ?? b}: ${stage}${tries}, for ${duration(now - since)}: ${reason}`;
  });
}

function memberList(title: string, status: MeshStatus, state: MemberStatus["state"], now: number): string[] {
  const members = status.members.filter((member) => member.state === state);
  const lines = members.slice(0, mostRows).map((member) => {
    const reason = member.reason === undefined ? "" : `: ${member.reason}`;
    return `${shown(member)}, for ${duration(now - member.since)}${reason}`;
  });
  return list(`${title}:`, members.length, lines);
}

function claimLines({ claims, members }: MeshStatus, now: number): string[] {
  const names = new Map<string, string>(members.map((member) => [member.address, shown(member)]));
  return claims.slice(0, mostRows).map(({ key, holder, token, since, waiting }) => {
    const line = waiting === 0 ? "" : `, ${counted(waiting, "member")} in line`;
    return `${key}: held by ${names.get(holder) ?? holder}, token ${token}, for ${duration(now - since)}${line}`;
  });
}

function departureLines({ recent }: MeshStatus, now: number): string[] {
  return recent
    .slice(-mostRows)
    .reverse()
    .map(
      (departure) => `${shown(departure)} ${departure.type} ${duration(now - departure.at)} ago: ${departure.reason}`,
    );
}

function serverLine({ server, revision }: MeshStatus, now: number): string {
  const refused = Object.entries(server.refusals).map(([code, count]) => `${code} ${count}`);
  const refusals = refused.length === 0 ? "nobody refused" : `refused: ${refused.join(", ")}`;
  const up = `up for ${duration(now - server.startedAt)}, ${counted(server.connections, "connection")}`;
  return `server ${server.version}, ${up}, ${refusals}; revision ${revision}`;
}

/** `all`: how many there are, of which `count` were sent and `lines` are shown. */
function list(title: string, count: number, lines: readonly string[], all = count): string[] {
  if (count === 0) return [];
  const rest = all - lines.length;
  return [title, ...lines.map((line) => `  ${line}`), ...(rest > 0 ? [`  and ${rest} more`] : [])];
}

function shown({ name, address }: { readonly name?: string; readonly address: string }): string {
  return name === undefined ? address : `${name} (${address})`;
}

/** Such as `1 link` or `2 links`. */
function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Such as `4 s`, `12 min` or `3 h`. */
function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
