import type { ErrorCode } from "../../core/errors.js";

/**
 * The life of a link, as data: the two transition tables, and the rules by which a hello is judged. PROTOCOL.md prints
 * them. The tags in brackets name the shortest sequences of events that go wrong without a rule; each is a test.
 */

/** The earlier member owns the link: it alone starts attempts, one at a time, and numbers them from 1. */
export const ownerTransitions = {
  /** No attempt is open; the next one is due at once or after a pause. */
  idle: { dial: "dialing", removed: "ended", left: "ended" },
  /** An attempt is open, until its answer, its refusal, its end or its time-out. Giving it up closes our own end first. */
  dialing: { answered: "up", failed: "idle", rejected: "suspended", removed: "ended", left: "ended" },
  /** The other end says that it is not, or no more, who we mean: nothing is dialed until a directory lists it again [D0f]. */
  suspended: { relisted: "idle", removed: "ended", left: "ended" },
  /** The answer has come on the connection of the attempt. */
  up: { broken: "idle", removed: "ended", left: "draining" },
  /** The peer leaves, or this node does: what is under way is still delivered and acknowledged. */
  draining: { broken: "ended", removed: "ended", left: "draining" },
  ended: {},
} as const;

/** The later member answers. It never redials by itself [C6 C7]. */
export const acceptorTransitions = {
  /** There is no connection; the owner is to say hello. */
  waiting: { accepted: "up", removed: "ended", left: "ended" },
  /** A hello has been taken, and answered. A higher attempt takes its place. */
  up: { accepted: "up", broken: "waiting", removed: "ended", left: "draining" },
  draining: { broken: "ended", removed: "ended", left: "draining" },
  ended: {},
} as const;

export type LinkState = keyof typeof ownerTransitions | keyof typeof acceptorTransitions;
export type LinkTrigger =
  | "dial"
  | "answered"
  | "failed"
  | "rejected"
  | "relisted"
  | "accepted"
  | "broken"
  | "removed"
  | "left";

/** By how much one message of the peer may raise the number of an attempt, so that it cannot use up all numbers. */
const longestLeap = 2 ** 32;

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

/** A hello, and what the listener knows about its sender. */
export interface HelloCase {
  /** `to` is the listener's own id. */
  readonly isForMe: boolean;
  /** The server has admitted the listener. */
  readonly isAdmitted: boolean;
  /** What the listener's directory says of `from`, as seen from the listener. */
  readonly sender: "unknown" | "removed" | "classic" | "earlier" | "later";
  /** One of the two has said goodbye on the link. */
  readonly isLeaving: boolean;
  readonly attempt: number;
  /** The highest attempt that the listener has taken from this id. */
  readonly highest: number;
  /** The replay states of the two ends fit. Asked last, because asking takes up the sender's acknowledgement. */
  readonly fits: () => boolean;
}

export interface HelloRule {
  /** The rule's tags, empty for those that no sequence of events needs but plain sense. */
  readonly tags: string;
  readonly when: string;
  readonly applies: (hello: HelloCase) => boolean;
  /** `park`: keep it, within bounds, and judge it afresh when the directory moves. */
  readonly verdict: "park" | ErrorCode;
}

/** The first rule that applies decides. If none does, the hello is taken. */
export const helloRules: readonly HelloRule[] = [
  {
    tags: "D1",
    when: "`to` is not the listener's id",
    applies: ({ isForMe }) => !isForMe,
    verdict: "WRONG_TARGET",
  },
  {
    tags: "D2 D8",
    when: "`from` has been removed from the directory",
    applies: ({ sender }) => sender === "removed",
    verdict: "GONE",
  },
  {
    tags: "D4",
    when: "the listener has not been admitted yet, or `from` is unknown to it",
    applies: ({ isAdmitted, sender }) => !isAdmitted || sender === "unknown",
    verdict: "park",
  },
  {
    tags: "",
    when: "`from` is listed as classic",
    applies: ({ sender }) => sender === "classic",
    verdict: "WRONG_DIALECT",
  },
  {
    tags: "C6 C7",
    when: "`from` joined after the listener",
    applies: ({ sender }) => sender === "later",
    verdict: "NOT_OWNER",
  },
  {
    tags: "",
    when: "one end has sent `goodbye` on the link",
    applies: ({ isLeaving }) => isLeaving,
    verdict: "GONE",
  },
  {
    tags: "A1 A4 B5",
    when: "`attempt` is not higher than every attempt taken before",
    applies: ({ attempt, highest }) => attempt <= highest,
    verdict: "STALE_ATTEMPT",
  },
  {
    tags: "A5",
    when: "`attempt` is more than 2^32 above every attempt taken before, so that one number cannot use up all others",
    applies: ({ attempt, highest }) => attempt > highest + longestLeap,
    verdict: "BAD_FRAME",
  },
  {
    tags: "F0",
    when: "`since` or `received` does not fit what the listener has kept",
    applies: ({ fits }) => !fits(),
    verdict: "SESSION_LOST",
  },
];

/** Judges a hello. */
export function judgeHello(hello: HelloCase, rules: readonly HelloRule[] = helloRules): HelloRule["verdict"] | "take" {
  return rules.find(({ applies }) => applies(hello))?.verdict ?? "take";
}
