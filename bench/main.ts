import { Command } from "commander";
import { runCommand, runProgram } from "../src/cli/command.js";
import { flag, parseCount, withCommonFlags } from "../src/cli/flags.js";
import { benchmarkNames } from "./benchmarks.js";
import { type BenchFlags, runBench } from "./run.js";

/** The longest line of names, so that it fits a terminal. */
const lineLength = 76;

const program = new Command("npm run bench --")
  .description(
    "Runs fullmesh and bare programs of node:net that do the same work, in turn, on the loopback interface of this " +
      "machine, and prints medians and ratios. Leave the machine alone meanwhile: other work spoils the figures.",
  )
  .addOption(
    flag("--only <names>", "the benchmarks to run, by name or the beginning of it, such as wire-up,request").argParser(
      (text) => text.split(",").filter((name) => name !== ""),
    ),
  )
  .addOption(flag("--rounds <n>", "rounds of each benchmark (default: 5 or 9)").argParser((text) => rounds(text)))
  .addOption(flag("--stream-mib <n>", "MiB of a bulk stream (default: 1024)").argParser(mebibytes))
  .addOption(flag("--quick", "two short rounds of each, to see that everything works"))
  .addOption(
    flag("--other-libraries", "measure ws, NATS, ZeroMQ and Erlang too; installs packages in bench/other-libraries/"),
  )
  .addOption(flag("--write", "write bench/RESULTS.md and bench/wire-up-time.svg"));
withCommonFlags(program, "how long all benchmarks may take (default: 7200)");
program.action(() =>
  runCommand(program.opts<BenchFlags>(), (context) => runBench(program.opts<BenchFlags>(), context)),
);
program.addHelpText("after", `\nBenchmarks:\n${columns(benchmarkNames)}`);
await runProgram(program);

function rounds(text: string): number {
  return parseCount("rounds", text, 1_000);
}

function mebibytes(text: string): number {
  return parseCount("stream-mib", text, 1_048_576);
}

/** The names, in lines. */
function columns(names: readonly string[]): string {
  const lines: string[] = [];
  let line = " ";
  for (const name of names) {
    if (line.length + 1 + name.length > lineLength) {
      lines.push(line);
      line = " ";
    }
    line += ` ${name}`;
  }
  return [...lines, line].join("\n");
}
