import type { Logger, LogRecord } from "../../src/index.js";
import { Recorder } from "./sockets.js";

/** A logger with one method for all levels. */
export function loggerTo(write: (record: LogRecord) => void): Logger {
  return { info: write, warn: write, error: write };
}

/** Keeps the log records of a node or a server. */
export class LogRecorder extends Recorder<LogRecord> {
  readonly logger = loggerTo((record) => this.add(record));

  get codes(): string[] {
    return this.items.map(({ code }) => code);
  }

  get messages(): string[] {
    return this.items.map(({ message }) => message);
  }
}
