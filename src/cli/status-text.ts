import { durationText, linkReader, type MemberStatus, type MeshStatus } from "../protocol/status.js";
import { drawMatrix, type LinkMatrix, legend } from "./link-matrix.js";

/** Rows of each list that are shown; the rest is counted. `--json` has all. */
const mostRows = 20;

export const statusSigns = "> linked, the row dials   < linked, the column dials   x not linked";

/** A status for people: the mesh in a line, the matrix, and what is not as it should be. */
export function statusText(status: MeshStatus, server: string, now: number, columns?: number): string[] {
  const matrix = statusMatrix(status);
  const hasMembers = matrix.labels.length > 0;
  return [
    headline(status, server),
    ...(hasMembers ? [...drawMatrix(matrix, columns), legend(matrix, statusSigns, columns)] : []),
    ...list("not linked:", status.missing.length, missingLines(status, now), status.links.expected - status.links.up),
    ...serverList(status),
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

/** Which pairs of listed members are linked. */
export function statusMatrix(status: MeshStatus): LinkMatrix {
  const isLinked = linkReader(status);
  return {
    labels: status.members.filter(({ rank }) => rank !== null).map(shown),
    sign: (row, column) => (isLinked(row, column) ? (row < column ? ">" : "<") : "x"),
    isLinked,
  };
}

function missingLines({ missing, members }: MeshStatus, now: number): string[] {
  const names = new Map(members.map((member) => [member.address, shown(member)]));
  return missing.slice(0, mostRows).map(({ a, b, stage, attempt, reason, since }) => {
    const tries = attempt === 0 ? "" : `, attempt ${attempt}`;
    return `${names.get(a) ?? a} -> ${names.get(b) ?? b}: ${stage}${tries}, for ${durationText(now - since)}: ${reason}`;
  });
}

function memberList(title: string, status: MeshStatus, state: MemberStatus["state"], now: number): string[] {
  const members = status.members.filter((member) => member.state === state);
  const lines = members.slice(0, mostRows).map((member) => {
    const reason = member.reason === undefined ? "" : `: ${member.reason}`;
    return `${shown(member)}, for ${durationText(now - member.since)}${reason}`;
  });
  return list(`${title}:`, members.length, lines);
}

/** How many members have their sessions at each other server that shares the log. */
function serverList({ members }: MeshStatus): string[] {
  const counts = new Map<string, number>();
  for (const { server } of members) if (server !== undefined) counts.set(server, (counts.get(server) ?? 0) + 1);
  return list(
    "at other servers:",
    counts.size,
    Array.from(counts, ([server, count]) => `${server}: ${counted(count, "member")}`),
  );
}

function claimLines({ claims, members }: MeshStatus, now: number): string[] {
  const names = new Map<string, string>(members.map((member) => [member.address, shown(member)]));
  return claims.slice(0, mostRows).map(({ key, holder, token, since, waiting }) => {
    const line = waiting === 0 ? "" : `, ${counted(waiting, "member")} in line`;
    return `${key}: held by ${names.get(holder) ?? holder}, token ${token}, for ${durationText(now - since)}${line}`;
  });
}

function departureLines({ recent }: MeshStatus, now: number): string[] {
  return recent
    .slice(-mostRows)
    .reverse()
    .map(
      (departure) =>
        `${shown(departure)} ${departure.type} ${durationText(now - departure.at)} ago: ${departure.reason}`,
    );
}

function serverLine({ server, revision }: MeshStatus, now: number): string {
  const refused = Object.entries(server.refusals).map(([code, count]) => `${code} ${count}`);
  const refusals = refused.length === 0 ? "nobody refused" : `refused: ${refused.join(", ")}`;
  const up = `up for ${durationText(now - server.startedAt)}, ${counted(server.connections, "connection")}`;
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
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
