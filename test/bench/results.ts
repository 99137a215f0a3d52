import type { BenchmarkResult, Measured, Metric, Round } from "../../bench/types.js";

/** A metric in which more is better, without a budget. */
export function metric(more: Partial<Metric> = {}): Metric {
  return {
    ...{ name: "rate", title: "one way, 64 bytes", unit: "messages/s", better: "more", baseline: "raw-batched" },
    ...more,
  };
}

/** The same without anything to compare with. */
export function metricAlone(more: Partial<Metric> = {}): Metric {
  const { baseline: _, ...alone } = metric(more);
  return alone;
}

/** The result of a benchmark with these values of each program, round by round; undefined where it failed. */
export function resultOf(
  metrics: readonly Metric[],
  values: Readonly<Record<string, readonly (number | undefined)[]>>,
  { name = "one-way-64", othersShare = 0 } = {},
): BenchmarkResult {
  const count = Math.max(...Object.values(values).map(({ length }) => length));
  const rounds = Array.from({ length: count }, (_, index): Round => {
    const measured = Object.entries(values).flatMap(([candidate, ofRounds]): [string, Measured][] => {
      const value = ofRounds[index];
      return value === undefined
        ? []
        : [[candidate, Object.fromEntries(metrics.map((metric) => [metric.name, value]))]];
    });
    return { measured: new Map(measured), othersShare };
  });
  const candidates = Object.keys(values).map((candidate) => ({ name: candidate, measure: async () => ({}) }));
  const benchmark = { name, title: name, rounds: "few", candidates, metrics } as const;
  return { benchmark, rounds, failures: [], repeated: 0 };
}
