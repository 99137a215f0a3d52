import type { BenchmarkResult, Metric } from "./types.js";

/** The median, least and greatest of some values. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** The values of one candidate in one metric. */
export interface Score {
  readonly candidate: string;
  readonly values: Spread;
  /** Ratios to the baseline, round by round; undefined if no round has both. */
  readonly ratios: Spread | undefined;
  /** Differences from the baseline, round by round. */
  readonly differences: Spread | undefined;
}

/** One budget of fullmesh in one metric, and whether it is met. */
export interface BudgetVerdict {
  /** What is judged: fullmesh itself, its ratio to the baseline, or how much more it has than that. */
  readonly of: "value" | "ratio" | "difference";
  readonly limit: number;
  /** Undefined if fullmesh or the baseline failed in every round. */
  readonly measured: Spread | undefined;
  /** Judged by the median; undefined if nothing was measured. */
  readonly isMet: boolean | undefined;
}

/** The result of all rounds in one metric. */
export interface Figure {
  /** `benchmark.metric`, or the benchmark alone if it has one metric. */
  readonly name: string;
  readonly metric: Metric;
  readonly rounds: number;
  readonly scores: readonly Score[];
  /** One for each budget; most metrics have one or none. */
  readonly verdicts: readonly BudgetVerdict[];
}

/** The candidate that the budgets are for. */
export const ours = "fullmesh";

/** The median; of an even number of values, the mean of the middle two. Throws a RangeError without values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (upper === undefined || lower === undefined) throw new RangeError("no values have no median");
  return (lower + upper) / 2;
}

/** The spread of values, undefined if there are none. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** The figures of a benchmark, one for each metric. */
export function figuresOf(result: BenchmarkResult): Figure[] {
  const { metrics, name } = result.benchmark;
  return metrics.map((metric) => {
    const scores = result.benchmark.candidates.flatMap((candidate) => {
      const score = scoreOf(result, metric, candidate.name);
      return score === undefined ? [] : [score];
    });
    return {
      name: metrics.length === 1 ? name : `${name}.${metric.name}`,
      metric,
      rounds: result.rounds.length,
      scores,
      verdicts: verdictsOf(
        metric,
        scores.find(({ candidate }) => candidate === ours),
      ),
    };
  });
}

/** Whether all budgets are met; undefined if there are none, or if one could not be measured. */
export function verdictOf(verdicts: readonly BudgetVerdict[]): boolean | undefined {
  if (verdicts.length === 0 || verdicts.some(({ isMet }) => isMet === undefined)) return undefined;
  return verdicts.every(({ isMet }) => isMet);
}

function scoreOf({ rounds }: BenchmarkResult, metric: Metric, candidate: string): Score | undefined {
  const pairs = rounds.flatMap(({ measured }) => {
    const value = measured.get(candidate)?.[metric.name];
    const base = metric.baseline === undefined ? undefined : measured.get(metric.baseline)?.[metric.name];
    return value === undefined ? [] : [{ value, base }];
  });
  const values = spreadOf(pairs.map(({ value }) => value));
  if (values === undefined) return undefined;
  const compared = pairs.flatMap(({ value, base }) => (base === undefined ? [] : [{ value, base }]));
  return {
    candidate,
    values,
    ratios: spreadOf(compared.filter(({ base }) => base !== 0).map(({ value, base }) => value / base)),
    differences: spreadOf(compared.map(({ value, base }) => value - base)),
  };
}

function verdictsOf(metric: Metric, score: Score | undefined): BudgetVerdict[] {
  const { wanted, bound, kind } = metric;
  return [
    ...(wanted === undefined ? [] : [verdict("ratio", wanted, score?.ratios, metric)]),
    ...(bound === undefined || kind === "difference" ? [] : [verdict("value", bound, score?.values, metric)]),
    ...(bound === undefined || kind !== "difference" ? [] : [verdict("difference", bound, score?.differences, metric)]),
  ];
}

function verdict(
  of: BudgetVerdict["of"],
  limit: number,
  measured: Spread | undefined,
  { better }: Metric,
): BudgetVerdict {
  if (measured === undefined) return { of, limit, measured, isMet: undefined };
  return { of, limit, measured, isMet: better === "more" ? measured.median >= limit : measured.median <= limit };
}
