import { pause } from "./program.js";

/** Resident bytes after garbage collection; the process runs with `--expose-gc`. */
export async function residentBytes(): Promise<number> {
  for (let count = 0; count < 3; count += 1) {
    await pause(100);
    globalThis.gc?.();
  }
  return process.memoryUsage.rss();
}
