import type { Metric, Played } from "./types.js";

/** The middle of some values, and between which they lie. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What one contestant has come to in one metric. */
export interface Score {
  readonly contestant: string;
  readonly values: Spread;
  /** To the baseline, round by round; undefined if there is no round with both. */
  readonly ratios: Spread | undefined;
  /** Less the baseline, round by round. */
  readonly differences: Spread | undefined;
}

/** One thing that is wanted of fullmesh in one metric, and what it has come to. */
export interface BudgetVerdict {
  /** What is judged: fullmesh itself, its ratio to the baseline, or how much more it has than that. */
  readonly of: "value" | "ratio" | "difference";
  readonly limit: number;
  /** Undefined if fullmesh, or the baseline, has failed in every round. */
  readonly measured: Spread | undefined;
  /** Of the median of the rounds; undefined if nothing was measured. */
  readonly isMet: boolean | undefined;
}

/** What all rounds together say about one metric. */
export interface Figure {
  /** `benchmark.metric`, or the benchmark alone if it has one metric. */
  readonly name: string;
  readonly metric: Metric;
  readonly rounds: number;
  readonly scores: readonly Score[];
  /** One for each thing that is wanted; most metrics have one or none. */
  readonly verdicts: readonly BudgetVerdict[];
}

/** The contestant that budgets are about. */
export const ours = "fullmesh";

/** The middle value; of an even number of values, the mean of the two in the middle. Throws a RangeError if there is none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (upper === undefined || lower === undefined) throw new RangeError("no values have no middle");
  return (lower + upper) / 2;
}

/** The spread of values, undefined if there are none. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** What a benchmark that has been played says, a figure for each metric. */
export function figuresOf(played: Played): Figure[] {
  const { metrics, name } = played.benchmark;
  return metrics.map((metric) => {
    const scores = played.benchmark.contestants.flatMap((contestant) => {
      const score = scoreOf(played, metric, contestant.name);
      return score === undefined ? [] : [score];
    });
    return {
      name: metrics.length === 1 ? name : `${name}.${metric.name}`,
      metric,
      rounds: played.rounds.length,
      scores,
      verdicts: verdictsOf(
        metric,
        scores.find(({ contestant }) => contestant === ours),
      ),
    };
  });
}

/** Whether all that is wanted is met; undefined if nothing is wanted, or if something of it could not be measured. */
export function verdictOf(verdicts: readonly BudgetVerdict[]): boolean | undefined {
  if (verdicts.length === 0 || verdicts.some(({ isMet }) => isMet === undefined)) return undefined;
  return verdicts.every(({ isMet }) => isMet);
}

function scoreOf({ rounds }: Played, metric: Metric, contestant: string): Score | undefined {
  const pairs = rounds.flatMap(({ measured }) => {
    const value = measured.get(contestant)?.[metric.name];
    const base = metric.baseline === undefined ? undefined : measured.get(metric.baseline)?.[metric.name];
    return value === undefined ? [] : [{ value, base }];
  });
  const values = spreadOf(pairs.map(({ value }) => value));
  if (values === undefined) return undefined;
  const compared = pairs.flatMap(({ value, base }) => (base === undefined ? [] : [{ value, base }]));
  return {
    contestant,
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
