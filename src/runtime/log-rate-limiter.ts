import { type ErrorCode, failureTable, type LogEvent, type LogLevel } from "../core/errors.js";
import { harmless } from "../core/escaping.js";

/** A note as it goes to a log. */
export interface LogRecord extends LogEvent {
  readonly level: LogLevel;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Notes with one code in one window. More says nothing new, and a flood would cost more than what it tells of. */
const notesPerWindow = 20;
const windowMs = 10_000;

interface RateWindow {
  readonly since: number;
  count: number;
}

/**
 * Lets notes through to the log, up to a rate for each code, and says how many it has left out: a stranger who knocks ten
 * thousand times must not fill a disk, and must not go unmentioned either.
 */
export class LogRateLimiter {
  readonly #windows = new Map<ErrorCode, RateWindow>();

  /** The records to be written for this note, none to two. `at` in milliseconds since the epoch. */
  pass(note: LogEvent, at: number): LogRecord[] {
    const open = this.#windows.get(note.code);
    // The wall clock may be set back; a window that begins in the future is over.
    if (open !== undefined && at >= open.since && at - open.since < windowMs) {
      open.count += 1;
      return open.count <= notesPerWindow ? [toRecord(note, at)] : [];
    }
    this.#windows.set(note.code, { since: at, count: 1 });
    return [...leftOut(note.code, open, at), toRecord(note, at)];
  }

  /** What is still to be said of notes that were left out, when no more notes come. */
  finish(at: number): LogRecord[] {
    const records = Array.from(this.#windows, ([code, window]) => leftOut(code, window, at)).flat();
    this.#windows.clear();
    return records;
  }
}

function leftOut(code: ErrorCode, window: RateWindow | undefined, at: number): LogRecord[] {
  const count = (window?.count ?? 0) - notesPerWindow;
  if (count <= 0) return [];
  return [toRecord({ code: "NOTES_DROPPED", message: `left out ${count} notes with the code ${code}` }, at)];
}

/** Messages name topics, meshes and what else others have chosen; loggers print them as they are. */
function toRecord(note: LogEvent, at: number): LogRecord {
  return { level: failureTable[note.code].level, at, ...note, message: harmless(note.message) };
}
