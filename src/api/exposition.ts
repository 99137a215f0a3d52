import type { Histogram } from "../core/histogram.js";

/** A family of series with one name. */
export interface MetricFamily {
  readonly type: "gauge" | "counter" | "histogram";
  readonly help: string;
}

export type Labels = Readonly<Record<string, string>>;

/** The content type of the format. */
export const expositionType = "text/plain; version=0.0.4; charset=utf-8";

/** Writes figures in the text format of Prometheus, version 0.0.4: each family once, with its help and type. */
export class Exposition<Name extends string> {
  readonly #families: Readonly<Record<Name, MetricFamily>>;
  readonly #samples = new Map<Name, string[]>();

  constructor(families: Readonly<Record<Name, MetricFamily>>) {
    this.#families = families;
  }

  add(name: Name, value: number, labels: Labels = {}): void {
    this.#push(name, name, value, labels);
  }

  /** `unit`: how many of what was measured are one of the unit in the name, such as 1,000 milliseconds of a second. */
  addHistogram(name: Name, { bounds, counts, sum }: Histogram, unit: number, labels: Labels = {}): void {
    let count = 0;
    for (const [index, within] of counts.entries()) {
      count += within;
      const bound = bounds[index];
      const le = bound === undefined ? "+Inf" : String(bound / unit);
      this.#push(name, `${name}_bucket`, count, { ...labels, le });
    }
    this.#push(name, `${name}_sum`, sum / unit, labels);
    this.#push(name, `${name}_count`, count, labels);
  }

  get text(): string {
    const texts = Array.from(this.#samples, ([name, lines]) => {
      const { type, help } = this.#families[name];
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("\n")}\n`;
    });
    return texts.join("");
  }

  #push(family: Name, name: string, value: number, labels: Labels): void {
    const lines = this.#samples.get(family) ?? [];
    this.#samples.set(family, lines);
    lines.push(`${name}${labelsText(labels)} ${value}`);
  }
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** As the format asks for it. */
function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
