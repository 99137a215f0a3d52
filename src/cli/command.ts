import { constants } from "node:os";
import { FullmeshError } from "../core/errors.js";
import { exitCodeOf, exitCodes } from "./exit.js";
import type { CommonFlags } from "./flags.js";
import { Output } from "./output.js";

/** What every command is given: where to speak, and what to do when it is told to stop. */
export interface CommandContext {
  readonly output: Output;
  /** Calls `stop` at the first SIGINT or SIGTERM. A second one ends the process at once. */
  onSignal(stop: () => void): void;
}

/** Runs one command: speaks its errors, heeds its signals, and ends the process with the right code. */
export async function runCommand(flags: CommonFlags, body: (context: CommandContext) => Promise<void>): Promise<never> {
  const output = new Output({ json: flags.json === true, quiet: flags.quiet === true });
  let signalled: number | undefined;
  const onSignal = (stop: () => void): void => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        const code = exitCodes.signal + constants.signals[signal];
        if (signalled !== undefined) process.exit(code);
        signalled = code;
        stop();
      });
    }
  };
  let code: number = exitCodes.ended;
  try {
    await body({ output, onSignal });
  } catch (error) {
    code = exitCodeOf(error);
    // What a signal has broken off is no error of its own.
    if (signalled === undefined) report(output, error);
  }
  await output.flush();
  return process.exit(signalled ?? code);
}

function report(output: Output, error: unknown): void {
  if (error instanceof FullmeshError) output.error(error.code, error.message, error.remedy);
  else output.error("ERROR", error instanceof Error ? (error.stack ?? error.message) : String(error));
}
