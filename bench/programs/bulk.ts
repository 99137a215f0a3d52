import { Readable } from "node:stream";
import { nowMs, percentilesOf } from "./program.js";
import { askFor } from "./rate.js";

/** What the programs with a bulk stream have in common. */

const chunkBytes = 65_536;

/** What goes through before it counts: half as much again. */
function warmBytesOf(streamBytes: number): number {
  return streamBytes / 2;
}

/** True where one of the two transfers has come to its end, so many bytes from the beginning; the receiver says so. */
export function isMark(received: number, streamBytes: number): boolean {
  const warmBytes = warmBytesOf(streamBytes);
  return received === warmBytes || received === warmBytes + streamBytes;
}

/** So many bytes, in chunks of 64 KiB. */
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

/** Asks one after the other for as long as `goesOn`, and returns the times in microseconds. */
async function askWhile(goesOn: () => boolean, ask: () => Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  while (goesOn()) {
    const before = nowMs();
    await ask();
    samples.push((nowMs() - before) * 1000);
  }
  return samples;
}

/**
 * The MiB a second of one transfer, behind a shorter one. With requests: also the slowest hundredth of them without a
 * transfer (`idle`) and beside one (`beside`), in microseconds, and how many times slower that is (`slowdown`).
 */
export async function measureStream(
  { streamBytes, hasRequests, warmMs, ms }: { streamBytes: number; hasRequests: boolean; warmMs: number; ms: number },
  ask: () => Promise<unknown>,
  transfer: (bytes: number) => Promise<void>,
): Promise<Readonly<Record<string, number>>> {
  await transfer(warmBytesOf(streamBytes));
  if (hasRequests) await askFor(warmMs, 1, ask);
  const idle = hasRequests ? (await askFor(ms, 1, ask)).p99 : 0;
  let isUnderWay = true;
  const startedAt = nowMs();
  const transferred = transfer(streamBytes).then(() => {
    isUnderWay = false;
    return streamBytes / 2 ** 20 / ((nowMs() - startedAt) / 1000);
  });
  const samples = hasRequests ? await askWhile(() => isUnderWay, ask) : [];
  const rate = await transferred;
  if (!hasRequests) return { rate };
  const beside = percentilesOf(samples).p99;
  return { rate, idle, beside, slowdown: beside / idle };
}
