/**
 * Events of one type may take so many characters at once, and so many a second from then on. The first is what two joins of
 * 8,192 members each, or 16 directories of that many, take in a log; the second is less than 100 MB a day.
 */
const burstLength = 4 * 1024 * 1024;
const lengthPerSecond = 1_024;

interface RateBudget {
  /** What may still be written, as of `at`; less than 0 while the last one has taken more than there was. */
  left: number;
  at: number;
  leftOut: number;
}

/**
 * Lets events through to a log or a pipe, up to a rate for each type, and counts what it leaves out: one host that joins
 * and leaves as fast as it can, or one member that breaks its links, must not fill a disk, and must not go unmentioned.
 *
 * Long events count for more. An event that comes while there is any budget goes through whole.
 */
export class EventRateLimiter {
  readonly #budgets = new Map<string, RateBudget>();

  /**
   * Whether an event of this type and length goes through: undefined if not, else how many of its type have been left out
   * since the last one that did. `now` in milliseconds, on a clock that never goes back.
   */
  pass(type: string, length: number, now: number): number | undefined {
    const budget = this.#budgets.get(type) ?? { left: burstLength, at: now, leftOut: 0 };
    this.#budgets.set(type, budget);
    budget.left = Math.min(burstLength, budget.left + ((now - budget.at) / 1_000) * lengthPerSecond);
    budget.at = now;
    if (budget.left <= 0) {
      budget.leftOut += 1;
      return undefined;
    }
    budget.left -= length;
    const { leftOut } = budget;
    budget.leftOut = 0;
    return leftOut;
  }

  /** How many of which type have been left out and not been told of; told once. */
  finish(): [type: string, count: number][] {
    const leftOut = Array.from(this.#budgets, ([type, budget]): [string, number] => [type, budget.leftOut]);
    for (const budget of this.#budgets.values()) budget.leftOut = 0;
    return leftOut.filter(([, count]) => count > 0);
  }
}
