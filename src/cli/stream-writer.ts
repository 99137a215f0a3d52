import { constants, fstatSync, openSync, write } from "node:fs";
import { isatty } from "node:tty";

/** Characters in one write. */
const batchLength = 64 * 1024;
/** From so many queued characters on, writers that can wait should. */
const behindLength = 256 * 1024;
/** The most queued characters. Lines beyond that are dropped and counted. */
export const maxQueuedLength = 16 * 1024 * 1024;
/** The time until a write to a full terminal is retried. */
const fullRetryMs = 10;
/** The time until a failed write, such as to a full disk, is retried. */
const failureRetryMs = 1_000;

/** Writes bytes, and calls `done` with how many were written, or with the error. */
type WriteTarget = (
  bytes: Uint8Array,
  done: (error: NodeJS.ErrnoException | undefined, written: number) => void,
) => void;

/** The events of a writer. */
export interface WriterEvents {
  /** The reader has closed the stream. */
  closed(): void;
  /** A write has failed and is retried. Called once until writes succeed again. */
  failed(error: Error): void;
}

/**
 * Writes text to stdout or stderr. Neither a call nor a thread ever blocks: a process with a thread that is blocked in a write
 * cannot exit before somebody reads.
 */
export class StreamWriter {
  readonly #target: WriteTarget;
  readonly #events: WriterEvents;
  #queue: (string | Uint8Array)[] = [];
  #queuedLength = 0;
  /** The bytes that are being written. */
  #batch: Uint8Array | undefined;
  #progress = 0;
  #dropped = 0;
  #isClosed = false;
  #isFailing = false;
  readonly #drainWaiters = new Set<() => void>();
  readonly #emptyWaiters = new Set<() => void>();

  constructor(fd: 1 | 2, events: WriterEvents) {
    this.#events = events;
    const { isFIFO, isSocket } = kindOf(fd);
    this.#target = isFIFO || isSocket ? pipeTarget(fd, (error) => this.#done(error, 0)) : fileTarget(nonBlocking(fd));
  }

  /** Grows with every write that succeeds. */
  get progress(): number {
    return this.#progress;
  }

  /** Lines that were not written: queued and dropped ones. */
  get unwrittenLines(): number {
    return this.#isClosed ? 0 : this.#dropped + this.#queue.length + (this.#batch === undefined ? 0 : 1);
  }

  get isBehind(): boolean {
    return this.#queuedLength >= behindLength;
  }

  /** Queues a line. Returns false if the queue is full and the line is dropped. */
  write(text: string): boolean {
    if (this.#isClosed) return true;
    if (this.#queuedLength + text.length > maxQueuedLength && this.#queuedLength > 0) {
      this.#dropped += 1;
      return false;
    }
    this.#queue.push(text);
    this.#queuedLength += text.length;
    if (this.#batch === undefined) this.#writeNext();
    return true;
  }

  /** Queues bytes without a bound: the caller waits for `drained` before it writes more. */
  relay(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    this.#queue.push(bytes);
    this.#queuedLength += bytes.length;
    if (this.#batch === undefined) this.#writeNext();
  }

  /** Resolves when there is room for more, or when the reader has closed the stream. */
  drained(): Promise<void> {
    if (!this.isBehind || this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.add(resolve));
  }

  /** Resolves when everything is written, or when the reader has closed the stream. */
  emptied(): Promise<void> {
    if (this.#batch === undefined || this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => this.#emptyWaiters.add(resolve));
  }

  #writeNext(): void {
    if (this.#isClosed) return;
    let length = 0;
    let count = 0;
    while (count < this.#queue.length && length < batchLength) {
      length += this.#queue[count]?.length ?? 0;
      count += 1;
    }
    if (count === 0) {
      resolveAll(this.#emptyWaiters);
      return;
    }
    this.#batch = joined(this.#queue.splice(0, count));
    this.#queuedLength -= length;
    if (!this.isBehind) resolveAll(this.#drainWaiters);
    this.#writeBatch();
  }

  #writeBatch(): void {
    if (this.#batch !== undefined) this.#target(this.#batch, (error, written) => this.#done(error, written));
  }

  #done(error: NodeJS.ErrnoException | undefined, written: number): void {
    if (this.#isClosed) return;
    if (this.#batch !== undefined) this.#batch = this.#batch.subarray(written);
    if (written > 0) this.#progress += 1;
    if (error === undefined) {
      if (this.#batch !== undefined && this.#batch.length > 0) {
        this.#writeBatch();
        return;
      }
      this.#isFailing = false;
      this.#batch = undefined;
      this.#writeNext();
    } else if (error.code === "EAGAIN") {
      setTimeout(() => this.#writeBatch(), fullRetryMs);
    } else if (closedCodes.has(error.code ?? "")) {
      this.#close();
    } else {
      setTimeout(() => this.#writeBatch(), failureRetryMs);
      if (!this.#isFailing) this.#events.failed(error);
      this.#isFailing = true;
    }
  }

  #close(): void {
    this.#isClosed = true;
    this.#queue = [];
    this.#queuedLength = 0;
    this.#batch = undefined;
    resolveAll(this.#drainWaiters);
    resolveAll(this.#emptyWaiters);
    this.#events.closed();
  }
}

/** Errors that say that the reader of a pipe, a socket or a terminal has closed it. */
const closedCodes: ReadonlySet<string> = new Set(["EPIPE", "ECONNRESET", "ERR_STREAM_DESTROYED", "EIO"]);

/** The bytes of all pieces. Nearly always these are text alone, or one piece of bytes. */
function joined(pieces: readonly (string | Uint8Array)[]): Uint8Array {
  const [first] = pieces;
  if (pieces.length === 1 && typeof first === "object") return first;
  if (pieces.every((piece) => typeof piece === "string")) return Buffer.from(pieces.join(""));
  return Buffer.concat(pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece)));
}

function resolveAll(waiters: Set<() => void>): void {
  const resolves = [...waiters];
  waiters.clear();
  for (const resolve of resolves) resolve();
}

function kindOf(fd: 1 | 2): { readonly isFIFO: boolean; readonly isSocket: boolean } {
  try {
    const stats = fstatSync(fd);
    return { isFIFO: stats.isFIFO(), isSocket: stats.isSocket() };
  } catch {
    return { isFIFO: false, isSocket: false };
  }
}

/** Pipes and sockets: Node writes only when the system has room. */
function pipeTarget(fd: 1 | 2, failed: (error: NodeJS.ErrnoException) => void): WriteTarget {
  const stream = fd === 1 ? process.stdout : process.stderr;
  stream.on("error", failed);
  return (bytes, done) => {
    // Errors go to the listener.
    stream.write(bytes, (error) => {
      if (error === undefined || error === null) done(undefined, bytes.length);
    });
  };
}

/** Files and terminals: a thread of Node writes to them. */
function fileTarget(fd: number): WriteTarget {
  return (bytes, done) => write(fd, bytes, (error, written) => done(error ?? undefined, written ?? 0));
}

/**
 * A non-blocking descriptor of the same terminal. The flags of the given one are shared with other processes, such as the
 * shell, so they stay. Files do not block on a person, so they are written as they are.
 */
function nonBlocking(fd: 1 | 2): number {
  if (!isatty(fd)) return fd;
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return fd;
  }
}
