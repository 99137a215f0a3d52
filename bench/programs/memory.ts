import { pause } from "./program.js";

/** What is resident once everything is gone that nobody needs; the process runs with `--expose-gc`. */
export async function residentBytes(): Promise<number> {
  for (let count = 0; count < 3; count += 1) {
    await pause(100);
    globalThis.gc?.();
  }
  return process.memoryUsage.rss();
}
