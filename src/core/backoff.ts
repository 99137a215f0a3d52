import type { SeededRandom } from "./random.js";

/**
 * How long to wait after so many failures in a row, in milliseconds: `minMs` after the first, twice as long after each
 * further one, `maxMs` at most, and 0 after none. Each pause is between half and the whole of that, so that those who
 * failed together do not try again together.
 */
export function backoffMs(failures: number, minMs: number, maxMs: number, random: SeededRandom): number {
  if (failures <= 0) return 0;
  return Math.min(maxMs, minMs * 2 ** (failures - 1)) * (0.5 + 0.5 * random.next());
}
