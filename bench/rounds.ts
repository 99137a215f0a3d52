import { CpuNoiseMonitor } from "./cpu-noise.js";
import type { BenchContext, Benchmark, BenchmarkResult, Measured, Round } from "./types.js";

/** A round in which other processes used more of the CPU than this is repeated. */
export const maxOthersShare = 0.15;

/** A benchmark with so many failed runs is given up. */
const maxFailures = 3;

/**
 * Runs so many rounds of a benchmark. In each, every candidate runs once, so that all run under the same load; the first one
 * changes from round to round.
 *
 * @throws {FullmeshError} why the children were stopped, if they were
 */
export async function runRounds(benchmark: Benchmark, wanted: number, context: BenchContext): Promise<BenchmarkResult> {
  const rounds: Round[] = [];
  const failures: string[] = [];
  // A quick run repeats no rounds.
  let repeatsLeft = context.isQuick ? 0 : wanted;
  let repeated = 0;
  while (rounds.length < wanted && failures.length < maxFailures) {
    const round = await runRound(benchmark, rounds.length, context, failures);
    if ((round.othersShare ?? 0) > maxOthersShare && repeatsLeft > 0) {
      repeatsLeft -= 1;
      repeated += 1;
    } else {
      rounds.push(round);
    }
  }
  return { benchmark, rounds, failures, repeated };
}

async function runRound(
  benchmark: Benchmark,
  index: number,
  context: BenchContext,
  failures: string[],
): Promise<Round> {
  const { candidates } = benchmark;
  const noise = new CpuNoiseMonitor();
  const measured = new Map<string, Measured>();
  for (let turn = 0; turn < candidates.length; turn += 1) {
    const candidate = candidates[(turn + index) % candidates.length];
    if (candidate === undefined) break;
    try {
      measured.set(candidate.name, await candidate.measure(context));
    } catch (error) {
      failures.push(`${candidate.name}: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      await context.children.end();
    }
    if (context.children.stopped !== undefined) throw context.children.stopped;
  }
  return { measured, othersShare: noise.othersShare };
}
