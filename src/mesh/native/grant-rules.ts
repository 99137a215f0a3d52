import type { ErrorCode } from "../../core/errors.js";
import { longestLeap } from "./link-states.js";

/** A grant, and what its receiver knows of the link. */
export interface GrantCase {
  /** `later` is the receiver's own id, and it has a link that `owner` owns. */
  readonly isForMe: boolean;
  /** One of the two has said goodbye on the link. */
  readonly isLeaving: boolean;
  readonly attempt: number;
  /** The highest attempt that the receiver has taken from `owner`. */
  readonly highest: number;
}

/** A row of the table of reasons to ignore a grant; docs/protocol/native.md prints it. */
export interface GrantRule {
  /** As in `HelloRule`. */
  readonly tags: string;
  readonly when: string;
  readonly applies: (grant: GrantCase) => boolean;
  readonly verdict: ErrorCode;
}

/** The first rule that applies says why a grant is ignored. If none does, the owner is dialed. */
export const grantRules: readonly GrantRule[] = [
  {
    tags: "D1",
    when: "`later` is not the receiver's id, or it has no link that `owner` owns",
    applies: ({ isForMe }) => !isForMe,
    verdict: "WRONG_TARGET",
  },
  {
    tags: "",
    when: "one end has sent `goodbye` on the link",
    applies: ({ isLeaving }) => isLeaving,
    verdict: "GONE",
  },
  {
    tags: "C4",
    when: "`attempt` is not higher than every attempt taken before",
    applies: ({ attempt, highest }) => attempt <= highest,
    verdict: "STALE_ATTEMPT",
  },
  {
    tags: "A5",
    when: "`attempt` is more than 2^32 above every attempt taken before",
    applies: ({ attempt, highest }) => attempt > highest + longestLeap,
    verdict: "BAD_FRAME",
  },
];
