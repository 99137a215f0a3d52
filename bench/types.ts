import type { Children } from "./children.js";

/**
 * The words of the benchmark. A *benchmark* has *contestants*, programs that do the same work, and *metrics*, what is
 * measured of each. In a *round* every contestant runs once, one after the other. A *figure* is what all rounds together
 * say about one metric.
 */

/** What one run of one contestant has given, by the names of the metrics. */
export type Measured = Readonly<Record<string, number>>;

/** What a contestant is given to run on. */
export interface BenchContext {
  readonly children: Children;
  /** A short run that shows that everything works; its figures mean little. */
  readonly isQuick: boolean;
  /** How much a bulk stream carries. */
  readonly streamBytes: number;
}

/** A program that does the work. */
export interface Contestant {
  readonly name: string;
  measure(stage: BenchContext): Promise<Measured>;
}

/** What is measured. */
export interface Metric {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly better: "more" | "less";
  /** The contestant that the others are compared with; without one nothing is compared. */
  readonly baseline?: string;
  /** The ratio of fullmesh to the baseline that is wanted: at least if more is better, at most if less is. */
  readonly wanted?: number;
  /** What fullmesh itself is to keep within, in the unit of the metric: at least if more is better, at most if less is. */
  readonly bound?: number;
  /** With `difference` the bound is on how much fullmesh has more than the baseline, and not on what it has. */
  readonly kind?: "difference";
}

/** One piece of work, and who does it. */
export interface Benchmark {
  readonly name: string;
  readonly title: string;
  /** `many`: what takes microseconds is at the mercy of the machine, and is measured more often. */
  readonly rounds: "few" | "many";
  readonly contestants: readonly Contestant[];
  readonly metrics: readonly Metric[];
}

/** One round: what each contestant has given, by its name. A contestant that failed is missing. */
export interface Round {
  readonly measured: ReadonlyMap<string, Measured>;
  /** The share of the CPU that other processes took meanwhile; undefined where the system does not say. */
  readonly othersShare: number | undefined;
}

/** A benchmark that has been played. */
export interface Played {
  readonly benchmark: Benchmark;
  readonly rounds: readonly Round[];
  /** What contestants failed with. */
  readonly failures: readonly string[];
  /** Rounds that were thrown away, because others took too much of the CPU. */
  readonly repeated: number;
}
