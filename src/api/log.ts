import { type ErrorCode, type LogEvent, type LogLevel, messageOf } from "../core/errors.js";
import { shownLine } from "../core/escaping.js";
import { nodeClock } from "../nodejs/clock.js";
import { LogRateLimiter, type LogRecord } from "../runtime/log-rate-limiter.js";
import { badOption } from "./options.js";

/**
 * Where log records go: `console`, pino, and anything else with these methods. Each is called with one record, whose level
 * is the method.
 */
export type Logger = { readonly [Level in LogLevel]: (record: LogRecord) => void };

/** Where this library is, as stacks name it. */
const folder = new URL(".", import.meta.url).href;

/** Warnings and errors on stderr, one line each. */
const stderrLogger: Logger = { info: () => {}, warn: printLine, error: printLine };

function printLine(record: LogRecord): void {
  const frames = record.stack?.match(/^ +at .*$/gm)?.map((frame) => frame.trim()) ?? [];
  // Where this library has called the application begins what nobody needs to read.
  const own = frames.findIndex((frame) => frame.includes(folder));
  const line = shownLine([record, ...(own < 0 ? frames : frames.slice(0, own))].join(" "));
  // biome-ignore lint/suspicious/noConsole: it bears a stderr that nobody reads any more
  console.error(`fullmesh: ${record.level} ${line}`);
}

/** The logger that an option names: its own, stderr without one, none for `false`. */
export function loggerOption(value: unknown): Logger | undefined {
  if (value === undefined) return stderrLogger;
  if (value === false) return undefined;
  const methods = (typeof value === "object" || typeof value === "function" ? value : {}) as Partial<Logger> | null;
  const isLogger = (["info", "warn", "error"] as const).every((level) => typeof methods?.[level] === "function");
  return isLogger ? (methods as Logger) : badOption("logger", "an object with info, warn and error, or false", value);
}

/** The log of a node or a server, up to a rate for each code. */
export class Log {
  readonly #logger: Logger | undefined;
  readonly #limiter = new LogRateLimiter();

  constructor(logger: Logger | undefined) {
    this.#logger = logger;
  }

  write(event: LogEvent): void {
    this.#write(this.#limiter.pass(event, Date.now()));
  }

  /** Says what has been left out, when nothing more is written. */
  close(): void {
    this.#write(this.#limiter.finish(Date.now()));
  }

  /** Logs what a function of the application has thrown. `what`: the beginning of a sentence that ends with "failed". */
  writeThrown(what: string, error: unknown, remote?: string, code: ErrorCode = "HANDLER_FAILED"): void {
    const stack = stackOf(error);
    this.write({
      code,
      message: `${what} failed: ${messageOf(error)}`,
      ...(remote === undefined ? {} : { remote }),
      ...(stack === undefined ? {} : { stack }),
    });
  }

  #write(records: readonly LogRecord[]): void {
    for (const record of records) {
      try {
        this.#logger?.[record.level](record);
      } catch (error) {
        // There is no log for it. In a turn of its own it stops nothing that is under way here.
        nodeClock.afterPoll(() => {
          throw error;
        });
      }
    }
  }
}

function stackOf(error: unknown): string | undefined {
  try {
    return error instanceof Error && typeof error.stack === "string" ? error.stack : undefined;
  } catch {
    return undefined;
  }
}
