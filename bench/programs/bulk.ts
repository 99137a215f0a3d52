import { Readable } from "node:stream";
import { nowMs, percentilesOf } from "./program.js";
import { requestFor } from "./rate.js";

/** What the programs with a bulk stream share. */

const chunkBytes = 65_536;

/** The bytes of the transfer that warms up: half of those that count. */
function warmBytesOf(streamBytes: number): number {
  return streamBytes / 2;
}

/** True when one of the two transfers has ended, at which the receiver answers. */
export function isTransferEnd(received: number, streamBytes: number): boolean {
  const warmBytes = warmBytesOf(streamBytes);
  return received === warmBytes || received === warmBytes + streamBytes;
}

/** `bytes` bytes, in chunks of 64 KiB. */
export function sourceOf(bytes: number): Readable {
  const chunk = Buffer.alloc(chunkBytes, 1);
  let left = bytes;
  return new Readable({
    highWaterMark: chunkBytes,
    read() {
      const length = Math.min(left, chunkBytes);
      left -= length;
      this.push(length === 0 ? null : chunk.subarray(0, length));
    },
  });
}

/** Sends one request after another while `isRunning`, and returns the times to the replies in microseconds. */
async function requestWhile(isRunning: () => boolean, request: () => Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  while (isRunning()) {
    const before = nowMs();
    await request();
    samples.push((nowMs() - before) * 1000);
  }
  return samples;
}

/**
 * The MiB a second of one transfer, after a shorter one that warms up. With requests: also the 99th percentile of their times
 * without a transfer (`idle`) and during one (`beside`), in microseconds, and the ratio of both (`slowdown`).
 */
export async function measureStream(
  { streamBytes, hasRequests, warmMs, ms }: { streamBytes: number; hasRequests: boolean; warmMs: number; ms: number },
  request: () => Promise<unknown>,
  transfer: (bytes: number) => Promise<void>,
): Promise<Readonly<Record<string, number>>> {
  await transfer(warmBytesOf(streamBytes));
  if (hasRequests) await requestFor(warmMs, 1, request);
  const idle = hasRequests ? (await requestFor(ms, 1, request)).p99 : 0;
  let isUnderWay = true;
  const startedAt = nowMs();
  const transferred = transfer(streamBytes).then(() => {
    isUnderWay = false;
    return streamBytes / 2 ** 20 / ((nowMs() - startedAt) / 1000);
  });
  const samples = hasRequests ? await requestWhile(() => isUnderWay, request) : [];
  const rate = await transferred;
  if (!hasRequests) return { rate };
  const beside = percentilesOf(samples).p99;
  return { rate, idle, beside, slowdown: beside / idle };
}
