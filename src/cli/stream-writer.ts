import { constants, fstatSync, openSync, write } from "node:fs";
import { isatty } from "node:tty";

/** Characters that go out in one write. */
const batchLength = 64 * 1024;
/** Characters that wait before whoever can wait should. */
const behindLength = 256 * 1024;
/** Characters that wait for a reader who has stopped reading. What comes beyond that is left out and counted. */
export const longestBacklog = 16 * 1024 * 1024;
/** A terminal that takes nothing is asked again so soon. */
const fullMs = 10;
/** A disk that is full is asked again so soon. */
const failedMs = 1_000;

/** Takes bytes, and tells how many of them it has written, and what went wrong. */
type WriteTarget = (
  bytes: Uint8Array,
  done: (error: NodeJS.ErrnoException | undefined, written: number) => void,
) => void;

/** What happens to a writer. */
export interface WriterEvents {
  /** Nobody reads any more, and never will. */
  gone(): void;
  /** What is to be written cannot be; it is tried again until it can. Told once for each time that it begins. */
  failed(error: Error): void;
}

/**
 * Writes text to stdout or stderr, without ever waiting in a call, or leaving a thread waiting in one: a process whose
 * thread waits for a reader cannot end before that reader reads.
 */
export class StreamWriter {
  readonly #sink: WriteTarget;
  readonly #events: WriterEvents;
  #waiting: (string | Uint8Array)[] = [];
  #waitingLength = 0;
  /** What is being written. */
  #batch: Uint8Array | undefined;
  #batches = 0;
  #leftOut = 0;
  #isGone = false;
  #isFailing = false;
  readonly #forRoom = new Set<() => void>();
  readonly #forEmpty = new Set<() => void>();

  constructor(fd: 1 | 2, events: WriterEvents) {
    this.#events = events;
    const { isFIFO, isSocket } = kindOf(fd);
    this.#sink = isFIFO || isSocket ? pipeSink(fd, (error) => this.#done(error, 0)) : fileSink(withoutWaiting(fd));
  }

  /** Grows as long as somebody takes what is written. */
  get progress(): number {
    return this.#batches;
  }

  /** Lines that nobody has taken: those that wait, and those that had no place to wait in. */
  get untaken(): number {
    return this.#isGone ? 0 : this.#leftOut + this.#waiting.length + (this.#batch === undefined ? 0 : 1);
  }

  get isBehind(): boolean {
    return this.#waitingLength >= behindLength;
  }

  /** Returns false if there was no place for it: the first line that is left out, and all behind it. */
  write(text: string): boolean {
    if (this.#isGone) return true;
    if (this.#waitingLength + text.length > longestBacklog && this.#waitingLength > 0) {
      this.#leftOut += 1;
      return false;
    }
    this.#waiting.push(text);
    this.#waitingLength += text.length;
    if (this.#batch === undefined) this.#writeNext();
    return true;
  }

  /** The same for bytes, which always have a place: whoever writes them waits for `room` before writing more. */
  relay(bytes: Uint8Array): void {
    if (this.#isGone) return;
    this.#waiting.push(bytes);
    this.#waitingLength += bytes.length;
    if (this.#batch === undefined) this.#writeNext();
  }

  /** Resolves when less waits, or nobody reads any more. */
  room(): Promise<void> {
    if (!this.isBehind || this.#isGone) return Promise.resolve();
    return new Promise((resolve) => this.#forRoom.add(resolve));
  }

  /** Resolves when nothing waits, or nobody reads any more. */
  empty(): Promise<void> {
    if (this.#batch === undefined || this.#isGone) return Promise.resolve();
    return new Promise((resolve) => this.#forEmpty.add(resolve));
  }

  #writeNext(): void {
    if (this.#isGone) return;
    let length = 0;
    let count = 0;
    while (count < this.#waiting.length && length < batchLength) {
      length += this.#waiting[count]?.length ?? 0;
      count += 1;
    }
    if (count === 0) {
      wake(this.#forEmpty);
      return;
    }
    this.#batch = joined(this.#waiting.splice(0, count));
    this.#waitingLength -= length;
    if (!this.isBehind) wake(this.#forRoom);
    this.#writeBatch();
  }

  #writeBatch(): void {
    if (this.#batch !== undefined) this.#sink(this.#batch, (error, written) => this.#done(error, written));
  }

  #done(error: NodeJS.ErrnoException | undefined, written: number): void {
    if (this.#isGone) return;
    if (this.#batch !== undefined) this.#batch = this.#batch.subarray(written);
    if (written > 0) this.#batches += 1;
    if (error === undefined) {
      if (this.#batch !== undefined && this.#batch.length > 0) {
        this.#writeBatch();
        return;
      }
      this.#isFailing = false;
      this.#batch = undefined;
      this.#writeNext();
    } else if (error.code === "EAGAIN") {
      setTimeout(() => this.#writeBatch(), fullMs);
    } else if (goneCodes.has(error.code ?? "")) {
      this.#gone();
    } else {
      setTimeout(() => this.#writeBatch(), failedMs);
      if (!this.#isFailing) this.#events.failed(error);
      this.#isFailing = true;
    }
  }

  #gone(): void {
    this.#isGone = true;
    this.#waiting = [];
    this.#waitingLength = 0;
    this.#batch = undefined;
    wake(this.#forRoom);
    wake(this.#forEmpty);
    this.#events.gone();
  }
}

/** Errors behind which there is nobody: the reader of a pipe or a socket has gone, or a terminal has been closed. */
const goneCodes: ReadonlySet<string> = new Set(["EPIPE", "ECONNRESET", "ERR_STREAM_DESTROYED", "EIO"]);

/** Nearly always it is text alone, or one piece of bytes. */
function joined(pieces: readonly (string | Uint8Array)[]): Uint8Array {
  const [first] = pieces;
  if (pieces.length === 1 && typeof first === "object") return first;
  if (pieces.every((piece) => typeof piece === "string")) return Buffer.from(pieces.join(""));
  return Buffer.concat(pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece)));
}

function wake(waiting: Set<() => void>): void {
  const woken = [...waiting];
  waiting.clear();
  for (const resolve of woken) resolve();
}

function kindOf(fd: 1 | 2): { readonly isFIFO: boolean; readonly isSocket: boolean } {
  try {
    const stats = fstatSync(fd);
    return { isFIFO: stats.isFIFO(), isSocket: stats.isSocket() };
  } catch {
    return { isFIFO: false, isSocket: false };
  }
}

/** Pipes and sockets: Node asks the system when there is room in them, and writes no more than that. */
function pipeSink(fd: 1 | 2, failed: (error: NodeJS.ErrnoException) => void): WriteTarget {
  const stream = fd === 1 ? process.stdout : process.stderr;
  stream.on("error", failed);
  return (bytes, done) => {
    // An error comes to the listener, behind this call.
    stream.write(bytes, (error) => {
      if (error === undefined || error === null) done(undefined, bytes.length);
    });
  };
}

/** Files and terminals: a thread of Node's writes to them. */
function fileSink(fd: number): WriteTarget {
  return (bytes, done) => write(fd, bytes, (error, written) => done(error ?? undefined, written ?? 0));
}

/**
 * The same terminal by a descriptor of our own that does not wait. A descriptor's flags belong to all who share it, such as
 * the shell, so they are left alone. What is no terminal does not make its writer wait for a person.
 */
function withoutWaiting(fd: 1 | 2): number {
  if (!isatty(fd)) return fd;
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return fd;
  }
}
