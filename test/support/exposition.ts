/** One sample of a series. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** All samples of one metric. */
export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

const familyTypes = ["counter", "gauge", "histogram", "summary", "untyped"];
const metricName = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const sampleLine = new RegExp(`^(${metricName})(?:\\{(.*)\\})? (\\S+)$`);
const oneLabel = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)/;

/** Units that Prometheus has a base unit for, and abbreviations. */
const otherUnits =
  /_(milliseconds|microseconds|nanoseconds|minutes|hours|ms|us|sec|kilobytes|megabytes|kb|mb|bits|percent)(_|$)/;

const comment = new RegExp(`^# (HELP|TYPE) (${metricName}) (.+)$`);

/**
 * Reads the text format of Prometheus, version 0.0.4, as strictly as `promtool check metrics` does, and throws at the first
 * line that breaks a rule of the format or a convention of names.
 */
export function parseExposition(text: string): Family[] {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const reader = new LineReader();
  for (const line of text.slice(0, -1).split("\n")) {
    try {
      reader.read(line);
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${line}`, { cause: error });
    }
  }
  const families = reader.finish();
  for (const family of families) check(family);
  return families;
}

class LineReader {
  readonly #families: { name: string; type: string; help: string; samples: Sample[] }[] = [];
  readonly #seen = new Set<string>();
  /** Whose TYPE is due. */
  #help: { readonly name: string; readonly text: string } | undefined;

  read(line: string): void {
    const [, kind, name = "", rest = ""] = comment.exec(line) ?? [];
    if (kind === "HELP") this.#describe(name, rest);
    else if (kind === "TYPE") this.#begin(name, rest);
    else this.#add(parseSample(line));
  }

  finish(): Family[] {
    if (this.#help !== undefined) throw new Error(`HELP of ${this.#help.name} without a TYPE`);
    return this.#families;
  }

  #describe(name: string, text: string): void {
    if (this.#seen.has(name)) throw new Error("HELP comes twice");
    if (this.#help !== undefined) throw new Error("no TYPE behind the HELP before");
    this.#seen.add(name);
    this.#help = { name, text };
  }

  #begin(name: string, type: string): void {
    if (this.#help?.name !== name) throw new Error("TYPE without its HELP in front");
    if (!familyTypes.includes(type)) throw new Error("an unknown type");
    this.#families.push({ name, type, help: this.#help.text, samples: [] });
    this.#help = undefined;
  }

  #add(sample: Sample | undefined): void {
    const family = this.#families.at(-1);
    if (sample === undefined) throw new Error("no sample, HELP or TYPE");
    if (this.#help !== undefined || family === undefined || !belongs(sample.name, family))
      throw new Error("a sample outside its group");
    family.samples.push(sample);
  }
}

function parseSample(line: string): Sample | undefined {
  const [, name, labelText = "", valueText = ""] = sampleLine.exec(line) ?? [];
  const labels = parseLabels(labelText);
  const value = parseValue(valueText);
  return name === undefined || labels === undefined || value === undefined ? undefined : { name, labels, value };
}

function parseLabels(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {};
  for (let rest = text; rest !== ""; ) {
    const [whole, name, value] = oneLabel.exec(rest) ?? [];
    if (whole === undefined || name === undefined || value === undefined) return undefined;
    if (name.startsWith("__") || name in labels) return undefined;
    labels[name] = value.replaceAll(/\\(.)/g, (_, letter: string) => (letter === "n" ? "\n" : letter));
    rest = rest.slice(whole.length);
  }
  return labels;
}

/** As Go reads a number. */
function parseValue(text: string): number | undefined {
  const special = { "+Inf": Number.POSITIVE_INFINITY, "-Inf": Number.NEGATIVE_INFINITY, NaN: Number.NaN };
  if (text in special) return special[text as keyof typeof special];
  return /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/.test(text) ? Number(text) : undefined;
}

function belongs(sample: string, { name, type }: Pick<Family, "name" | "type">): boolean {
  if (type !== "histogram") return sample === name;
  return [`${name}_bucket`, `${name}_sum`, `${name}_count`].includes(sample);
}

function check(family: Family): void {
  const { name, type, samples } = family;
  const fail = (why: string): never => {
    throw new Error(`${name}: ${why}`);
  };
  if (samples.length === 0) fail("no samples");
  const keys = samples.map((sample) => `${sample.name}${keyOf(sample.labels)}`);
  if (new Set(keys).size < keys.length) fail("a series comes twice");
  if (name.endsWith("_total") !== (type === "counter")) fail("counters, and nothing else, end with _total");
  if (/_(count|sum|bucket)$/.test(name)) fail("a suffix that is kept for histograms");
  if (otherUnits.test(name)) fail("not in base units");
  if (/[A-Z:]/.test(name) || /gauge|counter|histogram/.test(name)) fail("not as names are written");
  if (type === "counter" && samples.some(({ value }) => !(value >= 0))) fail("a counter below 0");
  if (type === "histogram") checkHistogram(family, fail);
  else if (samples.some(({ labels }) => "le" in labels || "quantile" in labels)) fail("a label that is kept");
}

function keyOf(labels: Readonly<Record<string, string>>, without?: string): string {
  return JSON.stringify(
    Object.entries(labels)
      .filter(([label]) => label !== without)
      .sort(),
  );
}

function checkHistogram({ name, samples }: Family, fail: (why: string) => never): void {
  for (const key of new Set(samples.map(({ labels }) => keyOf(labels, "le")))) {
    const own = samples.filter(({ labels }) => keyOf(labels, "le") === key);
    const buckets = own.filter((sample) => sample.name === `${name}_bucket`);
    const counts = own.filter((sample) => sample.name === `${name}_count`);
    const sums = own.filter((sample) => sample.name === `${name}_sum`);
    if (counts.length !== 1 || sums.length !== 1) fail("not one sum and one count");
    const bounds = buckets.map(({ labels }) => parseValue(labels.le ?? "") ?? Number.NaN);
    const values = buckets.map(({ value }) => value);
    if (bounds.at(-1) !== Number.POSITIVE_INFINITY) fail("the last bucket is not +Inf");
    if (!isSteady(bounds, (before, after) => before < after)) fail("bounds do not rise");
    if (!isSteady(values, (before, after) => before <= after)) fail("buckets are not cumulative");
    if (counts[0]?.value !== values.at(-1)) fail("the count is not that of +Inf");
  }
}

function isSteady(numbers: readonly number[], isInOrder: (before: number, after: number) => boolean): boolean {
  return numbers.slice(1).every((number, index) => isInOrder(numbers[index] ?? Number.NaN, number));
}
