/**
 * The contract that every machine of this project keeps.
 *
 * A machine is a sans-I/O state machine: it takes one input at a time, with the time, and queues outputs. It reads no
 * clock, draws no random numbers and opens no socket. So the same machine runs on real sockets, in the simulator and in
 * a test.
 */
export interface Machine<Input, Output> {
  /**
   * Takes one thing that happened, or one wish of the application. `now` is in milliseconds and never goes back; it stands
   * still while this process is held up, and `clocks` do not.
   */
  handle(input: Input, now: number, clocks: Clocks): void;
  /** The next thing the machine wants done, in the order in which it must be done; undefined when there is nothing. */
  poll(): Output | undefined;
  /** When the machine next wants a `timeout` input, in the milliseconds of `now`; undefined if it waits for nothing. */
  nextTimeout(): number | undefined;
  /**
   * False if `flushed` would change nothing on this connection now: it is not given then. Without this method it always is. Each
   * `send` brings one, and most of those that make a link need none.
   */
  awaitsFlush?(connection: string): boolean;
}

/**
 * What the clocks of this computer say, in milliseconds. The monotonic one may stand still while the computer is asleep, the
 * other one may be set.
 */
export interface Clocks {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** How much time has passed between two readings, by whichever clock ran further. */
export function elapsedMs(from: Clocks, to: Clocks): number {
  return Math.max(to.monotonicMs - from.monotonicMs, to.wallMs - from.wallMs);
}

/** The writing end of an output queue, for a part of a machine that decides on some of its outputs. */
export interface OutputSink<in Output> {
  push(output: Output): void;
}

/** The same, for what may come in numbers: more of a kind can be added to what was pushed last. */
export interface BatchingSink<in Output> extends OutputSink<Output> {
  /** What was pushed last, unless it has been polled. */
  readonly newest: unknown;
}
