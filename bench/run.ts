import { readFileSync, writeFileSync } from "node:fs";
import { badOption } from "../src/api/options.js";
import type { CommandContext } from "../src/cli/command.js";
import type { CommonFlags } from "../src/cli/flags.js";
import { type Output, wallClock } from "../src/cli/output.js";
import { FullmeshError } from "../src/core/errors.js";
import { makeSecret } from "../src/nodejs/secret.js";
import { benchmarksFor } from "./benchmarks.js";
import { Children } from "./children.js";
import { thisMachine } from "./machine.js";
import { findPeers, noPeers } from "./other-libraries.js";
import { disturbances, reportOf, sentenceOf, wireUpPlot } from "./report.js";
import { playRounds } from "./rounds.js";
import { type Figure, figuresOf, verdictOf } from "./statistics.js";
import type { Benchmark, Played } from "./types.js";

const defaultTimeoutSeconds = 7_200;
const quickRounds = 2;
const rounds = { few: 5, many: 15 } as const;
/** MiB that a bulk stream carries. */
const streamSizes = { whole: 1_024, quick: 8 } as const;

/** The folder in which results are kept. */
const folder = new URL("../../bench/", import.meta.url);

/** Flags of `npm run bench`. */
export interface BenchFlags extends CommonFlags {
  readonly only?: readonly string[];
  readonly rounds?: number;
  readonly streamMib?: number;
  readonly quick?: true;
  readonly peers?: true;
  readonly write?: true;
}

/** Measures what the flags say, tells each figure as soon as there is one, and writes the report if it is to. */
export async function runBench(flags: BenchFlags, { output, onSignal }: CommandContext): Promise<void> {
  const children = new Children();
  const aborted = new AbortController();
  onSignal(() => {
    aborted.abort();
    children.stop(new FullmeshError("ABORTED", "told to stop"));
  });
  const peers = flags.peers ? await findPeers(aborted.signal) : noPeers;
  const choice = { secret: makeSecret(), isQuick: flags.quick === true, peers: peers.programs };
  const chosen = choose(benchmarksFor(choice), flags.only);
  const machine = thisMachine({ fullmesh: ownVersion(), ...peers.versions });
  output.talk(`${machine.cpu}, ${machine.cores} cores, loopback`);
  for (const note of peers.notes) output.talk(note);
  if (flags.json) output.data(JSON.stringify({ event: "machine", ...nowhere(), ...machine, notes: peers.notes }));
  const { timeout = defaultTimeoutSeconds } = flags;
  const late = new FullmeshError("TIMED_OUT", `after ${timeout} s some figures are still missing`);
  const bound = setTimeout(() => children.stop(late), timeout * 1000);
  try {
    const played = await playAll(chosen, flags, children, output);
    if (flags.write) write({ machine, date: new Date().toISOString().slice(0, 10), played, notes: peers.notes });
  } finally {
    clearTimeout(bound);
    await children.end();
  }
}

async function playAll(
  benchmarks: readonly Benchmark[],
  flags: BenchFlags,
  children: Children,
  output: Output,
): Promise<Played[]> {
  const isQuick = flags.quick === true;
  const { streamMib = isQuick ? streamSizes.quick : streamSizes.whole } = flags;
  const stage = { children, isQuick, streamBytes: streamMib * 2 ** 20 };
  const played: Played[] = [];
  for (const benchmark of benchmarks) {
    const wanted = flags.rounds ?? (isQuick ? quickRounds : rounds[benchmark.rounds]);
    const result = await playRounds(benchmark, wanted, stage);
    played.push(result);
    tell(result, output);
  }
  return played;
}

/** The benchmarks that are named, or whose names begin with what is named: `wire-up` is `wire-up-8` and more. All without any. */
function choose(benchmarks: readonly Benchmark[], only: readonly string[] | undefined): readonly Benchmark[] {
  if (only === undefined) return benchmarks;
  const isNamed = (name: string, by: string): boolean => name === by || name.startsWith(`${by}-`);
  const unknown = only.find((by) => !benchmarks.some(({ name }) => isNamed(name, by)));
  if (unknown !== undefined) {
    badOption("only", `the beginning of one of ${benchmarks.map(({ name }) => name).join(", ")}`, unknown);
  }
  return benchmarks.filter(({ name }) => only.some((by) => isNamed(name, by)));
}

function tell(played: Played, output: Output): void {
  for (const figure of figuresOf(played)) {
    if (output.options.json) output.data(JSON.stringify(lineOf(figure, played)));
    else output.data(sentenceOf(figure));
  }
  for (const note of disturbances([played])) output.talk(note.replaceAll("**", ""));
}

/** What every line of NDJSON has; figures are of no member, and of no mesh. */
function nowhere(): { readonly at: number; readonly node: null; readonly mesh: null } {
  return { at: wallClock(), node: null, mesh: null };
}

/** One figure as a line of NDJSON. */
function lineOf({ name, metric, rounds, scores, verdicts }: Figure, { failures, repeated, ...played }: Played): object {
  const { title, unit, better, baseline = null, wanted, bound, kind } = metric;
  const othersShare = Math.max(0, ...played.rounds.map((round) => round.othersShare ?? 0));
  return {
    ...{ event: "figure", ...nowhere(), name, title, unit, better, baseline, rounds, repeated, othersShare, failures },
    ...(wanted === undefined ? {} : { wanted }),
    ...(bound === undefined ? {} : { bound, boundOf: kind ?? "value" }),
    ...(verdicts.length === 0 ? {} : { met: verdictOf(verdicts) ?? null }),
    programs: Object.fromEntries(scores.map(({ contestant, ...score }) => [contestant, score])),
  };
}

function write(results: Parameters<typeof reportOf>[0]): void {
  writeFileSync(new URL("RESULTS.md", folder), reportOf(results));
  const plot = wireUpPlot(results.played);
  if (plot !== undefined) writeFileSync(new URL("wire-up-time.svg", folder), plot);
}

function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return version;
}
