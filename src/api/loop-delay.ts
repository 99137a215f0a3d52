import type { IntervalHistogram } from "node:perf_hooks";

/** By how much callbacks were late, in seconds. */
export interface LoopDelayFigures {
  readonly mean: number;
  readonly p99: number;
  readonly max: number;
}

/** Measures how late callbacks are. It wakes the process again and again, so it begins with the first who asks. */
export class LoopDelay {
  #histogram: IntervalHistogram | undefined;
  #hasStopped = false;

  /** What was measured since the last call; nothing once it has stopped. */
  read(): LoopDelayFigures {
    if (this.#hasStopped) return { mean: 0, p99: 0, max: 0 };
    if (this.#histogram === undefined) {
      // Loaded only here, because it takes time.
      this.#histogram = process.getBuiltinModule("node:perf_hooks").monitorEventLoopDelay({ resolution: 20 });
      this.#histogram.enable();
    }
    const { mean, max } = this.#histogram;
    const figures = {
      mean: secondsOf(mean),
      p99: secondsOf(this.#histogram.percentile(99)),
      max: secondsOf(max),
    };
    this.#histogram.reset();
    return figures;
  }

  stop(): void {
    this.#histogram?.disable();
    this.#hasStopped = true;
  }
}

/** Nothing was measured yet where there is no number. */
function secondsOf(nanoseconds: number): number {
  return Number.isFinite(nanoseconds) ? nanoseconds / 1e9 : 0;
}
