import { nowMs, percentilesOf } from "./program.js";

/** The loops that all programs share. */

/** Messages between two looks at the clock. */
const clockEvery = 64;

/**
 * Sends for `ms` milliseconds as an application does: until `send` returns false, then on when `drained` resolves. Resolves
 * with how many messages were sent.
 */
export async function sendFor(ms: number, send: () => boolean, drained: () => Promise<unknown>): Promise<number> {
  const until = nowMs() + ms;
  let sent = 0;
  while (sent % clockEvery !== 0 || nowMs() < until) {
    sent += 1;
    if (!send()) await drained();
  }
  return sent;
}

/**
 * Sends requests for `ms` milliseconds, with `inFlight` of them in flight all the time. Resolves with the replies a second,
 * and the median and the 99th percentile of the time to a reply, in microseconds.
 */
export async function requestFor(
  ms: number,
  inFlight: number,
  request: () => Promise<unknown>,
): Promise<{ readonly rate: number; readonly p50: number; readonly p99: number }> {
  const samples: number[] = [];
  const startedAt = nowMs();
  const until = startedAt + ms;
  const requestInTurn = async (): Promise<void> => {
    for (let before = nowMs(); before < until; ) {
      await request();
      const after = nowMs();
      samples.push((after - before) * 1000);
      before = after;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, requestInTurn));
  return { rate: samples.length / ((nowMs() - startedAt) / 1000), ...percentilesOf(samples) };
}
