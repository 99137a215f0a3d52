/** What has been measured of one thing. */
interface Figure {
  readonly values: number[];
  readonly atMost: number;
}

/** What a scenario measures, and the bounds that it has to keep. */
export class Figures {
  readonly #figures = new Map<string, Figure>();
  /** What was wrong, one sentence each. */
  readonly faults: string[] = [];

  /** Adds a value to a figure, whose name ends in its unit. Every value above `atMost` breaks the scenario. */
  add(name: string, value: number, atMost = Number.POSITIVE_INFINITY): void {
    const figure = this.#figures.get(name) ?? { values: [], atMost };
    this.#figures.set(name, figure);
    figure.values.push(Math.round(value));
    if (value > figure.atMost) this.faults.push(`${name}: ${value}, and at most ${figure.atMost} are allowed`);
  }

  /** Adds how many there are of what may not be. The first ones are named. */
  none(name: string, found: readonly unknown[]): void {
    this.add(name, found.length, 0);
    for (const one of found.slice(0, 5)) this.faults.push(`${name}: ${JSON.stringify(one)}`);
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
}
