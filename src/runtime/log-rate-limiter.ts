import { type ErrorCode, failureTable, type LogEvent, type LogLevel } from "../core/errors.js";
import { harmless } from "../core/escaping.js";

/** A record of a log. A structured logger takes its properties; as a string it is one line. */
export class LogRecord implements LogEvent {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly code: ErrorCode;
  readonly message: string;
  /** The other end of the connection that it is about, as `host:port`. */
  readonly remote?: string;
  /** Where an error was thrown, as `Error` has it. */
  readonly stack?: string;

  /** What others have chosen, such as names and topics, is made harmless: loggers print it as it is. */
  constructor({ code, message, remote, stack }: LogEvent, at: number) {
    this.at = at;
    this.code = code;
    this.message = harmless(message);
    if (remote !== undefined) this.remote = remote;
    if (stack !== undefined) this.stack = stack.split("\n").map(harmless).join("\n");
  }

  get level(): LogLevel {
    return failureTable[this.code].level;
  }

  /** The record without its stack. The other end follows a message that does not name it. */
  toString(): string {
    const { code, message, remote } = this;
    return `${code}: ${message}${remote === undefined || message.includes(remote) ? "" : ` (${remote})`}`;
  }

  /** What `console` prints. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.stack === undefined ? `${this}` : `${this}\n${this.stack}`;
  }
}

/** The most records with one code in one window. */
const recordsPerWindow = 20;
const windowMs = 10_000;

interface RateWindow {
  readonly since: number;
  count: number;
}

/**
 * Limits the rate of log events with one code, and reports how many were dropped: other programs can cause any number of them,
 * which must not fill a disk and must not go unreported.
 */
export class LogRateLimiter {
  readonly #windows = new Map<ErrorCode, RateWindow>();

  /** The records to write for this event, none to two. `at` in milliseconds since the epoch. */
  pass(event: LogEvent, at: number): LogRecord[] {
    const open = this.#windows.get(event.code);
    // The wall clock may be set back, so a window in the future is over.
    if (open !== undefined && at >= open.since && at - open.since < windowMs) {
      open.count += 1;
      return open.count <= recordsPerWindow ? [new LogRecord(event, at)] : [];
    }
    this.#windows.set(event.code, { since: at, count: 1 });
    return [...dropReport(event.code, open, at), new LogRecord(event, at)];
  }

  /** The reports on dropped events that are still due at the end. */
  finish(at: number): LogRecord[] {
    const records = Array.from(this.#windows, ([code, window]) => dropReport(code, window, at)).flat();
    this.#windows.clear();
    return records;
  }
}

function dropReport(code: ErrorCode, window: RateWindow | undefined, at: number): LogRecord[] {
  const count = (window?.count ?? 0) - recordsPerWindow;
  if (count <= 0) return [];
  return [new LogRecord({ code: "NOTES_DROPPED", message: `dropped ${count} records with the code ${code}` }, at)];
}
