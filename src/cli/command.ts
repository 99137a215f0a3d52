import { constants } from "node:os";
import { type Command, CommanderError } from "commander";
import { FullmeshError } from "../core/errors.js";
import { exitCodeOf, exitCodes, ProcessFailure } from "./exit.js";
import type { CommonFlags } from "./flags.js";
import { Output } from "./output.js";

const endSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type EndSignal = (typeof endSignals)[number];

/** What every command gets: its output, and the events that stop it. */
export interface CommandContext {
  readonly output: Output;
  /** Calls `stop` at the first SIGINT, SIGTERM or SIGHUP. The second one calls `kill`, and ends the process at once. */
  onSignal(stop: (signal: NodeJS.Signals) => void, kill?: () => void): void;
  /** Calls `stop` when the reader of stdout has closed it. That is no failure. */
  onStdoutClosed(stop: () => void): void;
  /** The exit code of a command that does not fail, 0 by default. */
  exitWith(code: number): void;
}

/** Parses the command line and runs the command. A usage error is printed and sets the exit code. */
export async function runProgram(program: Command): Promise<void> {
  for (const command of [program, ...program.commands]) command.exitOverride();
  try {
    await program.parseAsync();
  } catch (error) {
    process.exitCode = usageCode(error);
  }
}

/** The exit code of an error in the command line. Commander has printed its own errors and the help. */
function usageCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ended : exitCodes.usage;
  if (!(error instanceof FullmeshError)) throw error;
  process.stderr.write(`fullmesh: ${error.code}: ${error.message}\n  try: ${remedyOf(error)}\n`);
  return exitCodeOf(error);
}

/** Runs one command: prints its errors, handles its signals, and exits with the right code. */
export async function runCommand(flags: CommonFlags, body: (context: CommandContext) => Promise<void>): Promise<never> {
  const output = new Output({ json: flags.json === true, quiet: flags.quiet === true });
  const stopped = new AbortController();
  let received: EndSignal | undefined;
  let isStdoutClosed = false;
  const onSignal = (stop: (signal: NodeJS.Signals) => void, kill?: () => void): void => {
    for (const signal of endSignals) {
      process.on(signal, () => {
        if (received !== undefined) {
          kill?.();
          exit(codeOf(signal), signal);
        }
        received = signal;
        stopped.abort();
        stop(signal);
      });
    }
  };
  const onStdoutClosed = (stop: () => void): void => {
    void output.stdoutClosed.then(() => {
      isStdoutClosed = true;
      stop();
    });
  };
  let code: number = exitCodes.ended;
  const exitWith = (wanted: number): void => {
    code = wanted;
  };
  try {
    await body({ output, onSignal, onStdoutClosed, exitWith });
  } catch (error) {
    const wasStopped = error instanceof FullmeshError && error.code === "ABORTED" && isStdoutClosed;
    if (!wasStopped) code = exitCodeOf(error);
    // A wait that a signal has interrupted is no error.
    if (received === undefined && !wasStopped) printError(output, error);
  }
  const isFlushed = await output.flush(stopped.signal);
  // A write counts as thread work until its callback has returned, and this code may run within one.
  await new Promise((resolve) => setImmediate(resolve));
  if (!isFlushed && code === exitCodes.ended) code = exitCodes.failed;
  return exit(received === undefined ? code : codeOf(received), received);
}

function codeOf(signal: EndSignal): number {
  return exitCodes.signal + constants.signals[signal];
}

/** The names that Node gives to thread work of unbounded duration. */
const threadWork: ReadonlySet<string> = new Set(["GetAddrInfoReqWrap", "FSReqCallback", "FSReqPromise"]);

/**
 * Ends the process. Node waits for its threads, and a name lookup or a write to a disk that does not answer may take minutes.
 * In that case the signal itself ends the process, for which shells report the same code.
 */
function exit(code: number, signal: EndSignal | undefined): never {
  if (signal !== undefined && process.getActiveResourcesInfo().some((resource) => threadWork.has(resource))) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }
  return process.exit(code);
}

/** Whoever types a command has no call to change. */
function remedyOf({ code, remedy }: FullmeshError): string {
  if (code !== "BAD_OPTION") return remedy;
  return "Correct the argument, flag or variable that the message names; --help behind the command lists what each may be.";
}

function printError(output: Output, error: unknown): void {
  const lines = error instanceof ProcessFailure ? error.lastLines : [];
  if (error instanceof FullmeshError) output.error(error.code, error.message, remedyOf(error), lines);
  else output.error("ERROR", error instanceof Error ? (error.stack ?? error.message) : String(error));
}
