import type { Address } from "./address.js";

/**
 * How far the link of a pair has come that is not up:
 * - `waiting`: its owner has not dialed yet;
 * - `dialing`: there is no connection;
 * - `hello`: there is one, and the other end has not answered;
 * - `refused`: the other end has refused the newest attempt;
 * - `broken`: its connection is gone, and no later attempt has come to anything;
 * - `unreported`: an end that should have reported the link to the server has not, or the two do not report the same;
 * - `classic`: one end is classic, and the other does not report the link.
 */
export const linkStages = ["waiting", "dialing", "hello", "refused", "broken", "unreported", "classic"] as const;

export type LinkStage = (typeof linkStages)[number];

/** Why a link is not up. */
export interface LinkFailure {
  readonly stage: LinkStage;
  /** The number of the newest attempt that is known, 0 for none. */
  readonly attempt: number;
  readonly reason: string;
}

/** Two members that should be linked and are not; `Who` is how they are named. */
export interface MissingPair<Who = Address> extends LinkFailure {
  /** The two ends in join order. */
  readonly a: Who;
  readonly b: Who;
  /** Who is to dial the other one: `a`. */
  readonly owner: Who;
  /** When the link broke, or when `b` joined, in milliseconds on the clock of whoever says so. */
  readonly since: number;
}

/** The same on another clock, which is ahead by so many milliseconds. */
export function movedPair<Who>(pair: MissingPair<Who>, byMs: number): MissingPair<Who> {
  return { ...pair, since: Math.round(pair.since + byMs) };
}

/** Names the two members in another way. */
export function renamedPair<Who, Name>(pair: MissingPair<Who>, nameOf: (who: Who) => Name): MissingPair<Name> {
  return { ...pair, a: nameOf(pair.a), b: nameOf(pair.b), owner: nameOf(pair.owner) };
}

/** Who should dial whom, how far it has come, for how long, and why it is no further. */
export function missingPairText(pair: MissingPair<string>, now: number): string {
  const { a, b, stage, attempt, reason, since } = pair;
  const who = stage === "unreported" ? `${a} - ${b}` : `${a} should dial ${b}`;
  const tried = attempt === 0 ? "" : `, attempt ${attempt}`;
  return `${who} (${stage}${tried}, for ${(Math.max(0, now - since) / 1000).toFixed(1)} s): ${reason}`;
}

/** How many pairs are not linked, and which: those that are named, and how many others there are. */
export function missingPairsText(count: number, pairs: readonly MissingPair<string>[], now: number): string {
  const more = count - pairs.length;
  const named = pairs.map((pair) => missingPairText(pair, now));
  if (more > 0) named.push(`and ${more} more`);
  return `${count === 1 ? "1 pair is" : `${count} pairs are`} not linked: ${named.join("; ")}`;
}
