import { readFileSync } from "node:fs";

/** What the whole machine and we ourselves have used of the CPU so far, in ticks; undefined where there is no /proc. */
interface Usage {
  readonly all: number;
  /** Used by processes, also of other machines on the same host. */
  readonly busy: number;
  /** Used by this process and those of its children that have ended. */
  readonly own: number;
}

/**
 * Tells which share of the CPU other processes have taken since it was made. The children that were started meanwhile must
 * have ended, because only then the system counts them as ours. Work of the kernel for nobody in particular, such as that
 * for packets, counts for nobody.
 */
export class OthersWatch {
  readonly #start = usage();

  /** From 0 to 1; undefined where the system does not say. */
  get share(): number | undefined {
    const now = usage();
    if (now === undefined || this.#start === undefined || now.all === this.#start.all) return undefined;
    const others = now.busy - this.#start.busy - (now.own - this.#start.own);
    return Math.max(0, others / (now.all - this.#start.all));
  }
}

function usage(): Usage | undefined {
  try {
    const [all = ""] = readFileSync("/proc/stat", "utf8").split("\n");
    const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, hard = 0, soft = 0, stolen = 0] = numbersOf(all);
    // The name of the command may hold blanks and parentheses; what follows the last one are numbers from the third on.
    const own = readFileSync("/proc/self/stat", "utf8").replace(/^.*\)\s+\S/s, "");
    const busy = user + nice + system + stolen;
    return {
      all: busy + idle + wait + hard + soft,
      busy,
      // utime, stime, cutime, cstime, which are the 14th to 17th field.
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
