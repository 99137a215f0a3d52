import type { ErrorCode } from "../../core/errors.js";
import { longestLeap } from "./link-states.js";

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
  /** The highest attempt that the listener has taken from this id, or used for it. */
  readonly highest: number;
  /** The attempt that the listener, which owns the link, has granted the sender and not withdrawn. */
  readonly granted: number | undefined;
  /** The resume states of the two ends fit. Asked last, because asking takes up the sender's acknowledgement. */
  readonly fits: () => boolean;
}

/** A row of the table by which hellos are judged; docs/protocol/native.md prints it. */
export interface HelloRule {
  /** Names of the sequences of events that go wrong without the rule, each of them a test. Empty: it follows from the others. */
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
    tags: "",
    when: "one end has sent `goodbye` on the link",
    applies: ({ isLeaving }) => isLeaving,
    verdict: "GONE",
  },
  {
    tags: "A1 A4 B5 C5",
    when: "`attempt` is not higher than every attempt taken or used before, and is not the one that the listener has granted",
    applies: ({ attempt, highest, granted }) => attempt <= highest && attempt !== granted,
    verdict: "STALE_ATTEMPT",
  },
  {
    tags: "C6 C7",
    when: "`from` joined after the listener, and `attempt` is not the one that the listener has granted",
    applies: ({ sender, attempt, granted }) => sender === "later" && attempt !== granted,
    verdict: "NOT_OWNER",
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
export function judgeHello(hello: HelloCase): HelloRule["verdict"] | "take" {
  return helloRules.find(({ applies }) => applies(hello))?.verdict ?? "take";
}
