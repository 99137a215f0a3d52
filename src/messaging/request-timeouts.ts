/**
 * When requests may run out of time. They come and go by the thousand, and hardly ever run out, so a look at them all is
 * planned for the earliest moment at which one may, and a reply moves nothing: that look then finds nothing due.
 */
export class RequestTimeouts {
  #waiting = 0;
  #lookAt: number | undefined;

  /** A request waits until `by`, in the milliseconds of `now`; Infinity for one that waits without a bound. */
  begin(by: number): void {
    this.#waiting += 1;
    this.lookAt(by);
  }

  /** A request waits no longer. */
  end(): void {
    this.#waiting -= 1;
    if (this.#waiting === 0) this.#lookAt = undefined;
  }

  /** A request that still waits does so until `by`. */
  lookAt(by: number): void {
    if (by < (this.#lookAt ?? Number.POSITIVE_INFINITY)) this.#lookAt = by;
  }

  nextTimeout(): number | undefined {
    return this.#lookAt;
  }

  /** True if it is time to look at all requests; those that go on waiting are to say until when. */
  isDue(now: number): boolean {
    if (this.#lookAt === undefined || this.#lookAt > now) return false;
    this.#lookAt = undefined;
    return true;
  }
}
