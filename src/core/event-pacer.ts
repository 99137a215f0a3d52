/**
 * The least time between two events of one kind that others can cause as often as they like.
 *
 * The first one is never held back. While they follow one another as fast as they may, each interval is twice the last
 * one; after a pause of two intervals they begin anew with the shortest.
 */
export class EventPacer {
  #lastAt = Number.NEGATIVE_INFINITY;
  #intervalMs = 0;

  /** The earliest time of the next one. */
  get nextAt(): number {
    return this.#lastAt + this.#intervalMs;
  }

  /** One has been now. The next one may be after `leastMs`, or later, if they go on, but no later than `mostMs`. */
  count(now: number, leastMs: number, mostMs: number): void {
    const isAfterPause = now - this.#lastAt >= 2 * this.#intervalMs;
    this.#intervalMs = isAfterPause ? leastMs : Math.min(mostMs, Math.max(leastMs, 2 * this.#intervalMs));
    this.#lastAt = now;
  }
}
