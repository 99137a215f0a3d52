import type { Limits } from "../core/limits.js";
import type { MissingPair } from "../protocol/missing-pair.js";
import type { LinkCounts, MemberStatus, MeshStatus, ServerStatus } from "../protocol/status.js";
import { byAddress } from "./completeness-reporter.js";
import { inJoinOrder, type UnlinkedPair } from "./completeness-tracker.js";
import type { MemberRecord } from "./member-record.js";
import type { Mesh } from "./mesh.js";

/** The status of a mesh that has no members, and of which nothing is known. */
export function emptyStatus(mesh: string, server: ServerStatus): MeshStatus {
  const links = { expected: 0, up: 0 };
  return {
    mesh,
    revision: 0,
    complete: false,
    gathering: false,
    members: [],
    links,
    missing: [],
    claims: [],
    recent: [],
    server,
  };
}

/** What is known of a mesh. Times are on the machine's clock. */
export function statusOf(
  mesh: Mesh,
  server: ServerStatus,
  limits: Pick<Limits, "statusPairs">,
  now: number,
): MeshStatus {
  const gathering = mesh.recovery.isGathering(now);
  // Whom a server that still learns the mesh does not list is on the way back, and no sign of a second server.
  const unlinked = mesh.completeness
    .overdue(limits.statusPairs)
    .filter(({ unlisted }) => unlisted === undefined || !gathering);
  const missing = missingPairs(mesh, unlinked, limits.statusPairs);
  const listed = missing.length - unlinked.filter(({ unlisted }) => unlisted !== undefined).length;
  return {
    mesh: mesh.name,
    revision: mesh.members.directory.revision,
    complete: mesh.isComplete,
    gathering,
    members: [...listedMembers(mesh), ...expectedMembers(mesh), ...waitingMembers(mesh)],
    links: linkCounts(mesh, listed),
    missing,
    claims: mesh.claims.status,
    recent: [...mesh.departures],
    server,
  };
}

function listedMembers({ members, attachments }: Mesh): MemberStatus[] {
  return members.directory.members.map(({ id, address, order, dialect, name }, rank) => {
    const record = members.get(id);
    const server = attachments.serverOf(record);
    // Whoever has a session at a server that is late is looked for, and counts as present.
    const suspect = record?.isAttached === true ? undefined : record?.suspect;
    return {
      address,
      ...(dialect === "classic" ? {} : { id }),
      order,
      rank,
      dialect,
      ...(name === undefined ? {} : { name }),
      state: suspect === undefined ? "member" : "suspect",
      since: suspect?.since ?? record?.enteredAt ?? 0,
      ...(suspect === undefined ? {} : { reason: suspect.refusal ?? suspect.reason }),
      ...(server === undefined ? {} : { server }),
    };
  });
}

function expectedMembers({ members }: Mesh): MemberStatus[] {
  return Array.from(members.expected, ({ id, address, dialect, candidate, expectation }) => ({
    address,
    id,
    order: expectation?.order ?? null,
    rank: null,
    dialect,
    ...(candidate.name === undefined ? {} : { name: candidate.name }),
    state: "expected",
    since: expectation?.since ?? 0,
  }));
}

function waitingMembers({ membership }: Mesh): MemberStatus[] {
  return Array.from(membership.admission.line).flatMap(({ candidate, waitingSince = 0 }) => {
    if (candidate === undefined) return [];
    const { address, id, dialect, name } = candidate;
    const who = { address, ...(dialect === "classic" ? {} : { id }), ...(name === undefined ? {} : { name }) };
    return [{ ...who, order: null, rank: null, dialect, state: "waiting" as const, since: waitingSince }];
  });
}

/** These pairs, and behind them those of classic members, which nobody can report; at most so many. */
function missingPairs({ members }: Mesh, unlinked: readonly UnlinkedPair[], most: number): MissingPair[] {
  const pairs = inJoinOrder(unlinked).map(byAddress);
  const records = members.directory.members.flatMap(({ id }) => members.get(id) ?? []);
  const classics = records.filter(({ dialect }) => dialect === "classic");
  for (const [index, earlier] of classics.entries()) {
    for (const later of classics.slice(index + 1)) {
      if (pairs.length >= most) return pairs;
      pairs.push(classicPair(earlier, later));
    }
  }
  return pairs;
}

function classicPair(earlier: MemberRecord, later: MemberRecord): MissingPair {
  const [a, b] = [earlier.address, later.address];
  const since = Math.max(earlier.enteredAt, later.enteredAt);
  return { a, b, owner: a, stage: "classic", attempt: 0, reason: "classic members do not report their links", since };
}

function linkCounts({ completeness }: Mesh, named: number): LinkCounts {
  const { pairs: expected, links: up } = completeness;
  if (named >= expected - up) return { expected, up };
  const bits = Array.from(completeness.upBits(), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { expected, up, bits };
}
