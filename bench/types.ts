import type { Children } from "./children.js";

/**
 * A *benchmark* has *candidates*, programs that do the same work, and *metrics*, what is measured of each. In a *round* every
 * candidate runs once, one after the other. A *figure* is the result of all rounds in one metric.
 */

/** The values of one run of one candidate, by the names of the metrics. */
export type Measured = Readonly<Record<string, number>>;

/** What every run needs. */
export interface BenchContext {
  readonly children: Children;
  /** A short run that shows that everything works. Its figures mean little. */
  readonly isQuick: boolean;
  /** The bytes of a bulk stream. */
  readonly streamBytes: number;
  /** Where runs make folders for local sockets; only this user can open it. */
  readonly socketFolder: string;
}

/** A program that does the work of a benchmark. */
export interface Candidate {
  readonly name: string;
  measure(context: BenchContext): Promise<Measured>;
}

/** What is measured. */
export interface Metric {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly better: "more" | "less";
  /** The candidate that the others are compared with, if they are. */
  readonly baseline?: string;
  /** The ratio of fullmesh to the baseline that is wanted: at least if more is better, at most if less is. */
  readonly wanted?: number;
  /** The bound on fullmesh itself, in the unit of the metric: at least if more is better, at most if less is. */
  readonly bound?: number;
  /** With `difference`, `bound` is on the value of fullmesh less that of the baseline. */
  readonly kind?: "difference";
}

/** One kind of work, and the programs that do it. */
export interface Benchmark {
  readonly name: string;
  readonly title: string;
  /** `many`: what takes microseconds varies more, and is measured more often. */
  readonly rounds: "few" | "many";
  readonly candidates: readonly Candidate[];
  readonly metrics: readonly Metric[];
}

/** One round: the values of each candidate, by its name. One that failed is missing. */
export interface Round {
  readonly measured: ReadonlyMap<string, Measured>;
  /** The share of the CPU that other processes used; undefined where the system does not say. */
  readonly othersShare: number | undefined;
}

/** The rounds of a benchmark. */
export interface BenchmarkResult {
  readonly benchmark: Benchmark;
  readonly rounds: readonly Round[];
  /** The errors of candidates. */
  readonly failures: readonly string[];
  /** Rounds that were repeated because other processes used too much of the CPU. */
  readonly repeated: number;
}
