import { OthersWatch } from "./cpu-noise.js";
import type { BenchContext, Benchmark, Measured, Played, Round } from "./types.js";

/** A round in which others took more of the CPU than this says little, and is played again. */
export const othersShareMost = 0.15;

/** A benchmark in which so many runs fail is given up. */
const failuresMost = 3;

/**
 * Plays so many rounds of a benchmark. In each of them every contestant runs once, so that all meet the same weather; who is
 * first changes from round to round.
 *
 * @throws {FullmeshError} why the children were stopped, if they were
 */
export async function playRounds(benchmark: Benchmark, wanted: number, stage: BenchContext): Promise<Played> {
  const rounds: Round[] = [];
  const failures: string[] = [];
  // So many rounds at most are played again; what a quick run says is not worth it.
  let repeatsLeft = stage.isQuick ? 0 : wanted;
  let repeated = 0;
  while (rounds.length < wanted && failures.length < failuresMost) {
    const round = await playRound(benchmark, rounds.length, stage, failures);
    if ((round.othersShare ?? 0) > othersShareMost && repeatsLeft > 0) {
      repeatsLeft -= 1;
      repeated += 1;
    } else {
      rounds.push(round);
    }
  }
  return { benchmark, rounds, failures, repeated };
}

async function playRound(benchmark: Benchmark, index: number, stage: BenchContext, failures: string[]): Promise<Round> {
  const { contestants } = benchmark;
  const watch = new OthersWatch();
  const measured = new Map<string, Measured>();
  for (let turn = 0; turn < contestants.length; turn += 1) {
    const contestant = contestants[(turn + index) % contestants.length];
    if (contestant === undefined) break;
    try {
      measured.set(contestant.name, await contestant.measure(stage));
    } catch (error) {
      failures.push(`${contestant.name}: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      await stage.children.end();
    }
    if (stage.children.stopped !== undefined) throw stage.children.stopped;
  }
  return { measured, othersShare: watch.share };
}
