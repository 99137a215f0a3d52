import { type ErrorCode, FullmeshError } from "../core/errors.js";

/** Exit codes, a contract with whoever calls the command from a script. */
export const exitCodes = {
  /** Teardown of a mesh that is whole or was ended on purpose, own leave, and in the classic dialect also the server's closing. */
  ended: 0,
  failed: 1,
  usage: 2,
  /** A wait has run out, that of a mesh which is to become whole included. */
  timedOut: 3,
  /** The server answered, and the answer was no. */
  refused: 4,
  /** A signal n ends the command with 128 + n, also after a clean leave. */
  signal: 128,
} as const;

const usage: ReadonlySet<ErrorCode> = new Set([
  "BAD_OPTION",
  "BAD_SECRET",
  "SECRET_FILE",
  "INSECURE_LISTEN",
  "SECRET_IN_CLASSIC",
]);

/** A process that was started here has failed, and its exit code becomes that of this command. */
export class ProcessFailure extends FullmeshError {
  readonly exitCode: number;
  /** What it has written last. */
  readonly lastLines: readonly string[];

  constructor(detail: string, exitCode: number, lastLines: readonly string[]) {
    super("CHILD_FAILED", detail);
    this.exitCode = exitCode;
    this.lastLines = lastLines;
  }
}

/** The exit code that an error comes to. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ProcessFailure) return error.exitCode;
  if (!(error instanceof FullmeshError)) return exitCodes.failed;
  if (usage.has(error.code)) return exitCodes.usage;
  if (error.code === "TIMED_OUT" || error.code === "INCOMPLETE") return exitCodes.timedOut;
  return error.code === "REFUSED" ? exitCodes.refused : exitCodes.failed;
}
