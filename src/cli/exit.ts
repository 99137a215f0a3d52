import { type ErrorCode, FullmeshError } from "../core/errors.js";

/** The exit codes, on which scripts rely. */
export const exitCodes = {
  /** Teardown of a complete mesh, an end on purpose, own leave; in the classic dialect also the end of the server. */
  ended: 0,
  failed: 1,
  usage: 2,
  /** A wait ran out, also that for the mesh to be complete. */
  timedOut: 3,
  /** The server refused, or the store of the servers. */
  refused: 4,
  /** A signal n ends the command with 128 + n, also after a clean leave. */
  signal: 128,
} as const;

const usage: ReadonlySet<string> = new Set<ErrorCode>([
  "BAD_OPTION",
  "BAD_SECRET",
  "SECRET_FILE",
  "INSECURE_LISTEN",
  "SECRET_IN_CLASSIC",
]);

/** The server does not take this member, or the store does not take this server. */
const refused: ReadonlySet<string> = new Set<ErrorCode>([
  "REFUSED",
  "STORE_REFUSED",
  "STORE_TOO_OLD",
  "STORE_MISMATCH",
  "STORE_ADDRESS_IN_USE",
  "STORE_CORRUPT",
  "STORE_ROLLED_BACK",
]);

/** A process that this command started has failed. Its exit code becomes that of this command. */
export class ProcessFailure extends FullmeshError {
  readonly exitCode: number;
  /** The last lines that it wrote to stderr. */
  readonly lastLines: readonly string[];

  constructor(detail: string, exitCode: number, lastLines: readonly string[]) {
    super("CHILD_FAILED", detail);
    this.exitCode = exitCode;
    this.lastLines = lastLines;
  }
}

/** The exit code for an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ProcessFailure) return error.exitCode;
  if (!(error instanceof FullmeshError)) return exitCodes.failed;
  if (usage.has(error.code)) return exitCodes.usage;
  if (error.code === "TIMED_OUT" || error.code === "INCOMPLETE") return exitCodes.timedOut;
  return refused.has(error.code) ? exitCodes.refused : exitCodes.failed;
}
