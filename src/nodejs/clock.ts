import type { ClockPort } from "../runtime/ports.js";

/** The longest time of `setTimeout`. A later deadline is checked again then. */
const longestTimerMs = 2 ** 31 - 1;

/** Not `performance.now()`: Node loads its modules at the first call, which adds 2 ms to each start. */
function now(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1_000_000;
}

/** Node's monotonic clock and timers. */
export const nodeClock: ClockPort = {
  now,
  wallTime: () => Date.now(),
  setTimer(at, fire) {
    const timer = setTimeout(fire, Math.min(longestTimerMs, Math.max(0, Math.ceil(at - now()))));
    return () => clearTimeout(timer);
  },
  // Ticks run after the current callback, and after the current microtask and all that follow from it.
  afterTurn: (run) => process.nextTick(run),
  // Immediates run after the poll phase, in which sockets report what has arrived.
  afterPoll: (run) => {
    setImmediate(run);
  },
};
