import type { Address } from "./address.js";
import type { MissingPair } from "./missing-pair.js";
import type { ClaimStatus, Departure, MemberStatus, MeshStatus, ServerStatus } from "./status.js";

/**
 * One thing that has changed between two looks at a mesh. All that is needed to make the later status of the earlier one is in
 * the changes between them; whoever draws a mesh shows them one after the other.
 */
export type StatusChange =
  /** A member is there that was not: listed, expected or in line; or what is known of it has changed. */
  | { readonly type: "joined" | "expected" | "waiting" | "suspect" | "member"; readonly member: MemberStatus }
  /** It is not there any more. A member that was listed has gone for a reason, which `departed` says. */
  | { readonly type: "gone"; readonly address: Address }
  | ({ readonly type: "departed" } & { readonly departure: Departure })
  /** A pair is linked. */
  | { readonly type: "linked"; readonly a: Address; readonly b: Address }
  /** It is not, or stands at another stage. */
  | { readonly type: "missing"; readonly pair: MissingPair }
  | { readonly type: "claimed"; readonly claim: ClaimStatus }
  | { readonly type: "unclaimed"; readonly key: string }
  /** What concerns the mesh or the server as a whole. */
  | {
      readonly type: "state";
      readonly revision: number;
      readonly complete: boolean;
      readonly gathering: boolean;
      readonly links: MeshStatus["links"];
      readonly server: ServerStatus;
    };

/** Where many members come at once, so many of their links are told one by one. */
const mostNewPairs = 1_000;

/** What has changed from one status of a mesh to a later one: who has gone, who has come, links, claims, then the whole. */
export function changesBetween(before: MeshStatus, after: MeshStatus): StatusChange[] {
  const states = [stateOf(after)].filter((state) => !isSame(stateOf(before), state));
  const members = memberChanges(before, after);
  // A new incarnation takes the missing pairs of the one before along.
  const { missing } = members.reduce((status, change) => withChange(status, change), before);
  return [
    ...newDepartures(before, after).map((departure): StatusChange => ({ type: "departed", departure })),
    ...members,
    ...newPairs(before, after).map(({ a, b }): StatusChange => ({ type: "linked", a, b })),
    ...linkChanges(missing, after),
    ...claimChanges(before, after),
    ...states,
  ];
}

function memberChanges(before: MeshStatus, after: MeshStatus): StatusChange[] {
  const known = new Map(before.members.map((member) => [keyOf(member), member]));
  const addresses = new Set(after.members.map(({ address }) => address));
  // A new incarnation takes the place of the one that had its address.
  const gone = before.members.filter(({ address }) => !addresses.has(address));
  const changed = after.members.filter((member) => !isSame(known.get(keyOf(member)), member));
  return [
    ...gone.map(({ address }): StatusChange => ({ type: "gone", address })),
    ...changed.map((member): StatusChange => ({ type: typeOf(known.get(keyOf(member)), member), member })),
  ];
}

function linkChanges(missingBefore: readonly MissingPair[], after: MeshStatus): StatusChange[] {
  const pairsBefore = new Map(missingBefore.map((pair) => [pairKey(pair), pair]));
  const pairsAfter = new Set(after.missing.map(pairKey));
  const listed = new Set(after.members.filter(({ rank }) => rank !== null).map(({ address }) => address));
  const linked = missingBefore.filter(
    (pair) => !pairsAfter.has(pairKey(pair)) && listed.has(pair.a) && listed.has(pair.b),
  );
  const missing = after.missing.filter((pair) => !isSame(pairsBefore.get(pairKey(pair)), pair));
  return [
    ...linked.map(({ a, b }): StatusChange => ({ type: "linked", a, b })),
    ...missing.map((pair): StatusChange => ({ type: "missing", pair })),
  ];
}

/** The pairs of members that are new, as far as they are linked already: the first of them. */
function newPairs(before: MeshStatus, after: MeshStatus): Pick<MissingPair, "a" | "b">[] {
  // Otherwise it is not known which are missing.
  if (after.links.bits !== undefined) return [];
  const known = new Set(before.members.map(keyOf));
  const missing = new Set(after.missing.map(pairKey));
  const listed = after.members.filter(({ rank }) => rank !== null);
  const pairs: Pick<MissingPair, "a" | "b">[] = [];
  for (const [index, later] of listed.entries()) {
    for (const earlier of listed.slice(0, index)) {
      if (pairs.length >= mostNewPairs) return pairs;
      const pair = { a: earlier.address, b: later.address };
      const isNew = !known.has(keyOf(later)) || !known.has(keyOf(earlier));
      if (isNew && !missing.has(pairKey(pair))) pairs.push(pair);
    }
  }
  return pairs;
}

function claimChanges(before: MeshStatus, after: MeshStatus): StatusChange[] {
  const claimsBefore = new Map(before.claims.map((claim) => [claim.key, claim]));
  const keysAfter = new Set(after.claims.map(({ key }) => key));
  const ended = before.claims.filter(({ key }) => !keysAfter.has(key));
  const begun = after.claims.filter((claim) => !isSame(claimsBefore.get(claim.key), claim));
  return [
    ...ended.map(({ key }): StatusChange => ({ type: "unclaimed", key })),
    ...begun.map((claim): StatusChange => ({ type: "claimed", claim })),
  ];
}

/** The status after this change. `most`: so many departures are kept. */
export function withChange(status: MeshStatus, change: StatusChange, most = 100): MeshStatus {
  switch (change.type) {
    case "departed":
      return { ...status, recent: [...status.recent, change.departure].slice(-most) };
    case "gone":
      return without(status, change.address);
    case "linked":
      return { ...status, missing: status.missing.filter((pair) => pairKey(pair) !== pairKey(change)) };
    case "missing": {
      const others = status.missing.filter((pair) => pairKey(pair) !== pairKey(change.pair));
      return { ...status, missing: [...others, change.pair] };
    }
    case "claimed": {
      const others = status.claims.filter(({ key }) => key !== change.claim.key);
      return { ...status, claims: [...others, change.claim] };
    }
    case "unclaimed":
      return { ...status, claims: status.claims.filter(({ key }) => key !== change.key) };
    case "state": {
      const { type: _, ...state } = change;
      return { ...status, ...state };
    }
    default: {
      const { member } = change;
      const isKnown = status.members.some((known) => keyOf(known) === keyOf(member));
      // Links of the incarnation before are no links of this one.
      const base = isKnown && member.rank !== null ? status : without(status, member.address);
      const others = base.members.filter((known) => keyOf(known) !== keyOf(member));
      return { ...base, members: [...others, member].sort(compare) };
    }
  }
}

function without(status: MeshStatus, address: Address): MeshStatus {
  return {
    ...status,
    members: status.members.filter((member) => member.address !== address),
    missing: status.missing.filter(({ a, b }) => a !== address && b !== address),
  };
}

function typeOf(known: MemberStatus | undefined, member: MemberStatus): "joined" | MemberStatus["state"] {
  return known === undefined && member.state === "member" ? "joined" : member.state;
}

/** Those that were not among the recent ones before. */
function newDepartures(before: MeshStatus, after: MeshStatus): readonly Departure[] {
  const newest = before.recent.at(-1);
  if (newest === undefined) return after.recent;
  return after.recent.slice(after.recent.findLastIndex((departure) => isSame(departure, newest)) + 1);
}

function stateOf({
  revision,
  complete,
  gathering,
  links,
  server,
}: MeshStatus): Extract<StatusChange, { type: "state" }> {
  return { type: "state", revision, complete, gathering, links, server };
}

/** One incarnation. Classic members have no id. */
function keyOf({ id, address, order }: MemberStatus): string {
  return id ?? `${address} ${order}`;
}

function pairKey({ a, b }: Pick<MissingPair, "a" | "b">): string {
  return `${a} ${b}`;
}

/** Listed members in join order, then those that are expected, then the waiting line. */
function compare(a: MemberStatus, b: MemberStatus): number {
  const groups = ["member", "suspect", "expected", "waiting"];
  const groupOf = ({ rank, state }: MemberStatus): number => (rank === null ? groups.indexOf(state) : 0);
  return groupOf(a) - groupOf(b) || (a.rank ?? 0) - (b.rank ?? 0) || a.since - b.since;
}

/** Both come from JSON or go there, with their keys in the same order. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
