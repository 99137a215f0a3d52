/** What has been measured of one thing. */
interface Figure {
  readonly values: number[];
  readonly atMost: number;
}

/** What a scenario measures, and the bounds that it has to keep. */
export class Figures {
  readonly #figures = new Map<string, Figure>();
  /** What happened and may not, one sentence each. */
  readonly faults: string[] = [];
  /** What took too long: a machine that is busy with something else can cause that. */
  readonly late: string[] = [];

  /** Adds a number to a figure, without a bound. */
  count(name: string, value: number): void {
    this.#add(name, value, Number.POSITIVE_INFINITY);
  }

  /** Adds how many there are of what may not be. The first ones are named. */
  none(name: string, found: readonly unknown[]): void {
    this.#add(name, found.length, 0);
    for (const one of found.slice(0, 5)) this.faults.push(`${name}: ${JSON.stringify(one).slice(0, 400)}`);
  }

  /** Adds how many milliseconds something took, and how many it may take. */
  time(name: string, ms: number, atMostMs = Number.POSITIVE_INFINITY): void {
    this.#add(`${name}, ms`, Math.round(ms), atMostMs);
    if (ms > atMostMs) this.late.push(`${name}: ${Math.round(ms)} ms, and it may take ${atMostMs} ms`);
  }

  /** One line for each figure: its name, how often it was measured, the median, the highest, and what is allowed. */
  rows(): string[][] {
    return Array.from(this.#figures, ([name, { values, atMost }]) => {
      const sorted = [...values].sort((a, b) => a - b);
      const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
      const highest = sorted.at(-1) ?? 0;
      const bound = atMost === Number.POSITIVE_INFINITY ? "" : String(atMost);
      return [name, String(values.length), String(median), String(highest), bound];
    });
  }

  #add(name: string, value: number, atMost: number): void {
    const figure = this.#figures.get(name) ?? { values: [], atMost };
    this.#figures.set(name, figure);
    figure.values.push(value);
  }
}
