import { readFileSync } from "node:fs";

/** CPU time used so far, in ticks. */
interface CpuUsage {
  readonly all: number;
  /** Used by all processes, and stolen by other machines on the same host. */
  readonly busy: number;
  /** Used by this process and those of its children that have ended. */
  readonly own: number;
}

/**
 * Measures the share of the CPU that other processes have used since its construction. Child processes count as ours only
 * once they have ended. Work of the kernel that belongs to no process, such as interrupts, is not counted.
 */
export class CpuNoiseMonitor {
  readonly #start = usage();

  /** From 0 to 1; undefined on a system without /proc. */
  get othersShare(): number | undefined {
    const now = usage();
    if (now === undefined || this.#start === undefined || now.all === this.#start.all) return undefined;
    const othersTicks = now.busy - this.#start.busy - (now.own - this.#start.own);
    return Math.max(0, othersTicks / (now.all - this.#start.all));
  }
}

function usage(): CpuUsage | undefined {
  try {
    const [all = ""] = readFileSync("/proc/stat", "utf8").split("\n");
    const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, hard = 0, soft = 0, stolen = 0] = numbersOf(all);
    // The command name may contain blanks and parentheses; the numbers from the third field on follow the last parenthesis.
    const own = readFileSync("/proc/self/stat", "utf8").replace(/^.*\)\s+\S/s, "");
    const busy = user + nice + system + stolen;
    return {
      all: busy + idle + wait + hard + soft,
      busy,
      // utime, stime, cutime, cstime: the 14th to 17th field.
      own: numbersOf(own)
        .slice(10, 14)
        .reduce((sum, ticks) => sum + ticks, 0),
    };
  } catch {
    return undefined;
  }
}

function numbersOf(text: string): number[] {
  return Array.from(text.matchAll(/-?\d+/g), ([digits]) => Number(digits));
}
