import { constants } from "node:os";
import { type Command, CommanderError } from "commander";
import { FullmeshError } from "../core/errors.js";
import { exitCodeOf, exitCodes, ProcessFailure } from "./exit.js";
import type { CommonFlags } from "./flags.js";
import { Output } from "./output.js";

const endSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type EndSignal = (typeof endSignals)[number];

/** What every command is given: where to speak, and what to do when it is told to stop. */
export interface CommandContext {
  readonly output: Output;
  /** Calls `stop` at the first SIGINT, SIGTERM or SIGHUP. A second one calls `kill`, and ends the process at once. */
  onSignal(stop: (signal: NodeJS.Signals) => void, kill?: () => void): void;
  /** Calls `stop` when nobody reads stdout any more. That is no failure: whoever read has seen enough. */
  onReaderGone(stop: () => void): void;
}

/** Parses the command line and runs what it asks for. A usage error is reported and sets the exit code. */
export async function runProgram(program: Command): Promise<void> {
  for (const command of [program, ...program.commands]) command.exitOverride();
  try {
    await program.parseAsync();
  } catch (error) {
    process.exitCode = usageCode(error);
  }
}

/** The exit code of an error in the command line. Commander has printed its own errors, and the help that was asked for. */
function usageCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ended : exitCodes.usage;
  if (!(error instanceof FullmeshError)) throw error;
  process.stderr.write(`fullmesh: ${error.code}: ${error.message}\n  try: ${error.remedy}\n`);
  return exitCodeOf(error);
}

/** Runs one command: speaks its errors, heeds its signals, and ends the process with the right code. */
export async function runCommand(flags: CommonFlags, body: (context: CommandContext) => Promise<void>): Promise<never> {
  const output = new Output({ json: flags.json === true, quiet: flags.quiet === true });
  const stopped = new AbortController();
  let signalled: EndSignal | undefined;
  let isReaderGone = false;
  const onSignal = (stop: (signal: NodeJS.Signals) => void, kill?: () => void): void => {
    for (const signal of endSignals) {
      process.on(signal, () => {
        if (signalled !== undefined) {
          kill?.();
          exit(codeOf(signal), signal);
        }
        signalled = signal;
        stopped.abort();
        stop(signal);
      });
    }
  };
  const onReaderGone = (stop: () => void): void => {
    void output.gone.then(() => {
      isReaderGone = true;
      stop();
    });
  };
  let code: number = exitCodes.ended;
  try {
    await body({ output, onSignal, onReaderGone });
  } catch (error) {
    const wasStopped = error instanceof FullmeshError && error.code === "ABORTED" && isReaderGone;
    if (!wasStopped) code = exitCodeOf(error);
    // What a signal has broken off is no error of its own.
    if (signalled === undefined && !wasStopped) report(output, error);
  }
  const isWhole = await output.flush(stopped.signal);
  // A write counts as work of a thread until its callback has returned, from which this may be called.
  await new Promise((resolve) => setImmediate(resolve));
  if (!isWhole && code === exitCodes.ended) code = exitCodes.failed;
  return exit(signalled === undefined ? code : codeOf(signalled), signalled);
}

function codeOf(signal: EndSignal): number {
  return exitCodes.signal + constants.signals[signal];
}

/** What Node calls work of its threads that may take as long as the system likes. */
const threadWork: ReadonlySet<string> = new Set(["GetAddrInfoReqWrap", "FSReqCallback", "FSReqPromise"]);

/**
 * Ends the process. Node waits for its threads first, and one that looks up a name, or writes to a disk that is away, may
 * take minutes; then it is the signal itself that ends it, which shells call by the same code.
 */
function exit(code: number, signal: EndSignal | undefined): never {
  if (signal !== undefined && process.getActiveResourcesInfo().some((resource) => threadWork.has(resource))) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }
  return process.exit(code);
}

function report(output: Output, error: unknown): void {
  const lines = error instanceof ProcessFailure ? error.lastLines : [];
  if (error instanceof FullmeshError) output.error(error.code, error.message, error.remedy, lines);
  else output.error("ERROR", error instanceof Error ? (error.stack ?? error.message) : String(error));
}
