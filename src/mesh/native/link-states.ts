import type { ErrorCode } from "../../core/errors.js";

/**
 * The life of a link, as data: the two transition tables, and what its refusals and numbers of attempts mean.
 * docs/protocol/native.md prints the tables. The tags in brackets name the shortest sequences of events that go wrong without
 * a rule; each is a test.
 */

/** The earlier member owns the link: it alone starts attempts, one at a time, and numbers them from 1. */
export const ownerTransitions = {
  /** No attempt is open; the next one is due at once or after a pause. */
  idle: { dial: "dialing", grant: "granted", removed: "ended", left: "ended" },
  /** An attempt is open, until its answer, its refusal, its end or its time-out. Giving it up closes our own end first. */
  dialing: { answered: "up", failed: "idle", rejected: "suspended", removed: "ended", left: "ended" },
  /** The other end may open the next attempt, until its hello or a time-out. */
  granted: { accepted: "up", failed: "idle", removed: "ended", left: "ended" },
  /** The other end says that it is not, or no more, who we mean: nothing is dialed until a directory lists it again [D0f]. */
  suspended: { relisted: "idle", removed: "ended", left: "ended" },
  /** The answer has come on the connection of the attempt. */
  up: { broken: "idle", removed: "ended", left: "draining" },
  /** The peer leaves, or this node does: what is under way is still delivered and acknowledged. */
  draining: { broken: "ended", removed: "ended", left: "draining" },
  ended: {},
} as const;

/** The later member answers. It dials only what the owner has granted, and never redials by itself [C6 C7]. */
export const acceptorTransitions = {
  /** There is no connection; the owner is to say hello. */
  waiting: { accepted: "up", granted: "dialing", removed: "ended", left: "ended" },
  /** A reverse dial is open. A hello of a higher attempt takes its place, and so does a grant of one. */
  dialing: {
    accepted: "up",
    answered: "up",
    granted: "dialing",
    failed: "waiting",
    removed: "ended",
    left: "ended",
  },
  /** A hello has been taken, and answered. A higher attempt takes its place. */
  up: { accepted: "up", broken: "waiting", removed: "ended", left: "draining" },
  draining: { broken: "ended", removed: "ended", left: "draining" },
  ended: {},
} as const;

export type LinkState = keyof typeof ownerTransitions | keyof typeof acceptorTransitions;
export type LinkTrigger =
  | "dial"
  | "grant"
  | "granted"
  | "answered"
  | "failed"
  | "rejected"
  | "relisted"
  | "accepted"
  | "broken"
  | "removed"
  | "left";

/** By how much one message of the peer may raise the number of an attempt, so that it cannot use up all numbers. */
export const longestLeap = 2 ** 32;

/** The peer cannot raise it further: what is left suffices for as many attempts as one message may skip. */
const highestRaised = 2 ** 53 - longestLeap;

/** The highest number that an owner's attempt may be raised to when it is refused; a higher one is the peer's fault. */
export function highestAttemptAfter(attempt: number): number {
  return Math.max(attempt, Math.min(attempt + longestLeap, highestRaised));
}

/**
 * Refusals, in either direction, of what came on a link that is up. It would come again, as it is, on every further
 * connection, so the link ends with the first.
 */
const linkEnds: ReadonlySet<string> = new Set<ErrorCode>([
  "SESSION_LOST",
  "BAD_FRAME",
  "FRAME_TOO_LARGE",
  "UNKNOWN_MESSAGE",
  "UNEXPECTED_MESSAGE",
]);

/** True if a link on which this was said of what came, by either end, is of no use any more. */
export function endsLink(code: string): boolean {
  return linkEnds.has(code);
}
