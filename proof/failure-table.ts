/** One thing that somebody notices of a failure, with the seconds of each round. */
interface Row {
  readonly failure: string;
  readonly observer: string;
  readonly sees: string;
  readonly seconds: number[];
  readonly atMost: number | undefined;
}

/** Who notices what of which failure, and after how long. */
export class FailureTable {
  readonly #rows = new Map<string, Row>();
  /** What was not as it has to be, one sentence each. */
  readonly faults: string[] = [];

  /** Adds what was measured in one round. More than `atMost` seconds are a fault. */
  add(failure: string, observer: string, sees: string, ms: number, atMost?: number): void {
    const key = JSON.stringify([failure, observer, sees]);
    const row = this.#rows.get(key) ?? { failure, observer, sees, seconds: [], atMost };
    this.#rows.set(key, row);
    const seconds = ms / 1_000;
    row.seconds.push(seconds);
    if (atMost !== undefined && seconds > atMost) {
      this.faults.push(`${failure}: ${observer}: ${sees}: after ${seconds} s, and ${atMost} s are allowed`);
    }
  }

  /** Adds a fault for each thing that should not have happened. */
  none(failure: string, meaning: string, found: readonly unknown[]): void {
    for (const one of found.slice(0, 3)) this.faults.push(`${failure}: ${meaning}: ${JSON.stringify(one)}`);
  }

  /** As Markdown: the failures in the order of `failures`, each with what was noticed in the order of time. */
  markdown(failures: readonly string[]): string {
    const lines = failures.flatMap((failure) =>
      [...this.#rows.values()]
        .filter((row) => row.failure === failure)
        .sort((a, b) => median(a.seconds) - median(b.seconds))
        .map(({ observer, sees, seconds }, index) => {
          const cells = [
            index === 0 ? failure : "",
            observer,
            sees,
            figure(median(seconds)),
            figure(Math.max(...seconds)),
          ];
          return `| ${cells.join(" | ")} |`;
        }),
    );
    return ["| what happens | who | notices | median s | longest s |", "|---|---|---|--:|--:|", ...lines].join("\n");
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function figure(seconds: number): string {
  return seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1);
}
