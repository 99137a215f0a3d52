/**
 * The burst and the rate of events of one type, in characters. The burst is what two joins of 8,192 members each, or 16
 * directories of that many, take in a log; the rate is less than 100 MB a day.
 */
const burstLength = 4 * 1024 * 1024;
const lengthPerSecond = 1_024;

interface RateBudget {
  /** The characters that may be written as of `at`. Below 0 after an event that was longer. */
  left: number;
  at: number;
  dropped: number;
}

/**
 * Limits the rate of events of each type, in characters, and counts those that are dropped: a host that joins and leaves as fast
 * as it can, or a member that breaks its links, must not fill a disk, and must not go unreported. An event passes as a whole
 * while there is any budget.
 */
export class EventRateLimiter {
  readonly #budgets = new Map<string, RateBudget>();

  /**
   * Undefined if this event is dropped, else how many of its type were dropped since the last one that passed. `now` in
   * milliseconds, on a monotonic clock.
   */
  pass(type: string, length: number, now: number): number | undefined {
    const budget = this.#budgets.get(type) ?? { left: burstLength, at: now, dropped: 0 };
    this.#budgets.set(type, budget);
    budget.left = Math.min(burstLength, budget.left + ((now - budget.at) / 1_000) * lengthPerSecond);
    budget.at = now;
    if (budget.left <= 0) {
      budget.dropped += 1;
      return undefined;
    }
    budget.left -= length;
    const { dropped } = budget;
    budget.dropped = 0;
    return dropped;
  }

  /** The dropped events of each type that have not been reported. */
  finish(): [type: string, count: number][] {
    const dropped = Array.from(this.#budgets, ([type, budget]): [string, number] => [type, budget.dropped]);
    for (const budget of this.#budgets.values()) budget.dropped = 0;
    return dropped.filter(([, count]) => count > 0);
  }
}
