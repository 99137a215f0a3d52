import { nowMs, percentilesOf } from "./program.js";

/** The loops that all programs share. */

/** When the programs measure, in milliseconds. */
export interface Stretches {
  /** The length of the first stretch, which begins with the first message of processes that have just started. */
  readonly startedMs: number;
  /** How long after its first message a program begins the second stretch. */
  readonly warmMs: number;
  /** The length of the second stretch. */
  readonly ms: number;
}

/** Messages between two looks at the clock. */
const clockEvery = 64;

/**
 * Sends for `ms` milliseconds as an application does: until `send` returns false, then on when `drained` resolves. Resolves
 * with how many messages were sent.
 */
async function sendFor(ms: number, send: () => boolean, drained: () => Promise<unknown>): Promise<number> {
  const until = nowMs() + ms;
  let sent = 0;
  while (sent % clockEvery !== 0 || nowMs() < until) {
    sent += 1;
    if (!send()) await drained();
  }
  return sent;
}

/** A sender, and what it knows of those that receive. */
export interface Sender {
  readonly receivers: number;
  send(): boolean;
  drained(): Promise<unknown>;
  /** Resolves, when all that was sent has arrived, with how many messages all receivers have together. */
  received(): Promise<number>;
}

/** Deliveries a second: `started` in the first stretch, `rate` in the second. A stretch lasts until everything has arrived. */
export async function measureSending(
  { startedMs, warmMs, ms }: Stretches,
  { receivers, send, drained, received }: Sender,
): Promise<{ readonly started: number; readonly rate: number }> {
  const startedAt = nowMs();
  let sent = 0;
  const deliveriesIn = async (stretchMs: number): Promise<number> => {
    const count = await sendFor(stretchMs, send, drained);
    sent += count;
    const arrived = await received();
    if (arrived !== sent * receivers) throw new Error(`sent ${sent} to ${receivers}, received ${arrived}`);
    return count * receivers;
  };
  const rateIn = async (stretchMs: number): Promise<number> => {
    const from = nowMs();
    return (await deliveriesIn(stretchMs)) / ((nowMs() - from) / 1000);
  };
  const started = await rateIn(startedMs);
  await deliveriesIn(startedAt + warmMs - nowMs());
  return { started, rate: await rateIn(ms) };
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

/** What `requestFor` says of the second stretch; of the first, `started` is the rate and `startedP50` the median. */
export async function measureRequests(
  { startedMs, warmMs, ms, inFlight }: Stretches & { readonly inFlight: number },
  request: () => Promise<unknown>,
): Promise<Readonly<Record<"started" | "startedP50" | "rate" | "p50" | "p99", number>>> {
  const startedAt = nowMs();
  const first = await requestFor(startedMs, inFlight, request);
  await requestFor(startedAt + warmMs - nowMs(), inFlight, request);
  const { rate, p50, p99 } = await requestFor(ms, inFlight, request);
  return { started: first.rate, startedP50: first.p50, rate, p50, p99 };
}
