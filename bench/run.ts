import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { badOption } from "../src/api/options.js";
import type { CommandContext } from "../src/cli/command.js";
import type { CommonFlags } from "../src/cli/flags.js";
import { type Output, wallClock } from "../src/cli/output.js";
import { FullmeshError } from "../src/core/errors.js";
import { makeSecret } from "../src/nodejs/secret.js";
import { benchmarksFor } from "./benchmarks.js";
import { Children } from "./children.js";
import { thisMachine } from "./machine.js";
import { findLibraries, noLibraries } from "./other-libraries.js";
import { type BenchReport, disturbances, reportOf, sentenceOf, wireUpPlot } from "./report.js";
import { runRounds } from "./rounds.js";
import { type Figure, figuresOf, verdictOf } from "./statistics.js";
import type { BenchContext, Benchmark, BenchmarkResult } from "./types.js";

const defaultTimeoutSeconds = 7_200;
const quickRounds = 2;
const rounds = { few: 5, many: 9 } as const;
/** The MiB of a bulk stream. */
const streamSizes = { whole: 1_024, quick: 8 } as const;

/** Where results are written. */
const folder = new URL("../../bench/", import.meta.url);

/** Flags of `npm run bench`. */
export interface BenchFlags extends CommonFlags {
  readonly only?: readonly string[];
  readonly rounds?: number;
  readonly streamMib?: number;
  readonly quick?: true;
  readonly otherLibraries?: true;
  readonly write?: true;
}

/** Runs the chosen benchmarks, prints each figure as soon as it is there, and writes the report with `--write`. */
export async function runBench(flags: BenchFlags, { output, onSignal }: CommandContext): Promise<void> {
  const children = new Children();
  const aborted = new AbortController();
  onSignal(() => {
    aborted.abort();
    children.stop(new FullmeshError("ABORTED", "told to stop"));
  });
  const libraries = flags.otherLibraries ? await findLibraries(aborted.signal) : noLibraries;
  const options = { secret: makeSecret(), isQuick: flags.quick === true, libraries: libraries.programs };
  const chosen = choose(benchmarksFor(options), flags.only);
  const machine = thisMachine({ fullmesh: ownVersion(), ...libraries.versions });
  output.info(`${machine.cpu}, ${machine.cores} cores, loopback`);
  for (const note of libraries.notes) output.info(note);
  if (flags.json)
    output.result(JSON.stringify({ event: "machine", ...commonFields(), ...machine, notes: libraries.notes }));
  const { timeout = defaultTimeoutSeconds } = flags;
  const late = new FullmeshError("TIMED_OUT", `after ${timeout} s some figures are missing`);
  const bound = setTimeout(() => children.stop(late), timeout * 1000);
  const socketFolder = mkdtempSync(join(tmpdir(), "mesh-"));
  try {
    const results = await runAll(chosen, flags, { children, socketFolder }, output);
    if (flags.write) write({ machine, date: new Date().toISOString().slice(0, 10), results, notes: libraries.notes });
  } finally {
    clearTimeout(bound);
    await children.end();
    rmSync(socketFolder, { recursive: true });
  }
}

async function runAll(
  benchmarks: readonly Benchmark[],
  flags: BenchFlags,
  resources: Pick<BenchContext, "children" | "socketFolder">,
  output: Output,
): Promise<BenchmarkResult[]> {
  const isQuick = flags.quick === true;
  const { streamMib = isQuick ? streamSizes.quick : streamSizes.whole } = flags;
  const context = { ...resources, isQuick, streamBytes: streamMib * 2 ** 20 };
  const results: BenchmarkResult[] = [];
  for (const benchmark of benchmarks) {
    const wanted = flags.rounds ?? (isQuick ? quickRounds : rounds[benchmark.rounds]);
    const result = await runRounds(benchmark, wanted, context);
    results.push(result);
    print(result, output);
  }
  return results;
}

/** The benchmarks with these names, or with names that begin so: `wire-up` chooses `wire-up-8` and more. All without names. */
function choose(benchmarks: readonly Benchmark[], only: readonly string[] | undefined): readonly Benchmark[] {
  if (only === undefined) return benchmarks;
  const isNamed = (name: string, by: string): boolean => name === by || name.startsWith(`${by}-`);
  const unknown = only.find((by) => !benchmarks.some(({ name }) => isNamed(name, by)));
  if (unknown !== undefined) {
    badOption("only", `the beginning of one of ${benchmarks.map(({ name }) => name).join(", ")}`, unknown);
  }
  return benchmarks.filter(({ name }) => only.some((by) => isNamed(name, by)));
}

function print(result: BenchmarkResult, output: Output): void {
  for (const figure of figuresOf(result)) {
    if (output.options.json) output.result(JSON.stringify(lineOf(figure, result)));
    else output.result(sentenceOf(figure));
  }
  for (const note of disturbances([result])) output.info(note.replaceAll("**", ""));
}

/** The fields that every line of NDJSON has. */
function commonFields(): { readonly at: number; readonly node: null; readonly mesh: null } {
  return { at: wallClock(), node: null, mesh: null };
}

/** One figure as a line of NDJSON. */
function lineOf({ name, metric, rounds, scores, verdicts }: Figure, result: BenchmarkResult): object {
  const { title, unit, better, baseline = null, wanted, bound, kind } = metric;
  const { failures, repeated } = result;
  const othersShare = Math.max(0, ...result.rounds.map((round) => round.othersShare ?? 0));
  return {
    ...{
      event: "figure",
      ...commonFields(),
      name,
      title,
      unit,
      better,
      baseline,
      rounds,
      repeated,
      othersShare,
      failures,
    },
    ...(wanted === undefined ? {} : { wanted }),
    ...(bound === undefined ? {} : { bound, boundOf: kind ?? "value" }),
    ...(verdicts.length === 0 ? {} : { met: verdictOf(verdicts) ?? null }),
    programs: Object.fromEntries(scores.map(({ candidate, ...score }) => [candidate, score])),
  };
}

function write(report: BenchReport): void {
  writeFileSync(new URL("RESULTS.md", folder), reportOf(report));
  const plot = wireUpPlot(report.results);
  if (plot !== undefined) writeFileSync(new URL("wire-up-time.svg", folder), plot);
}

function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return version;
}
