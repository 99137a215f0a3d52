import { Deferred } from "../api/deferred.js";
import type { Logger } from "../api/log.js";
import { jsonLine, shownLine } from "../core/escaping.js";
import { defaultMesh } from "../node/options.js";
import { EventRateLimiter } from "../runtime/event-rate-limiter.js";
import type { LogRecord } from "../runtime/log-rate-limiter.js";
import { maxQueuedLength, StreamWriter } from "./stream-writer.js";

/** At the end of a run, what stdout has not taken is given up once it has taken nothing for so long. */
const stalledMs = 30_000;
/** The most that a flush may take after a signal, and that of stderr. */
const hurriedFlushMs = 1_000;

/** The fields of an NDJSON line besides `event`, `at`, `node` and `mesh`. */
export type OutputFields = Readonly<Record<string, unknown>>;

/** The form of the output. */
export interface OutputOptions {
  /** NDJSON on stdout, and for the log on stderr. */
  readonly json: boolean;
  /** Nothing on stderr but errors. */
  readonly quiet: boolean;
}

/** Milliseconds since the epoch, to the microsecond, so that lines of several processes can be put in order. */
export function wallClock(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000) / 1000;
}

/**
 * Writes results to stdout and the log to stderr. No call blocks. A loop over messages waits for `drained`; other lines beyond
 * the bound of a writer are dropped and reported.
 */
export class Output {
  readonly options: OutputOptions;
  /** The `node` field of errors: the address of a member, null for the server and before a member has one. */
  errorNode: string | null = null;
  readonly #rateLimiter = new EventRateLimiter();
  readonly #stdout: StreamWriter;
  readonly #stderr: StreamWriter;
  readonly #stdoutClosed = new Deferred<void>();
  #isDropping = false;
  /** Messages that have arrived, and those of them that have been written. */
  #arrivedMessages = 0;
  #writtenMessages = 0;
  /** Lines that belong behind messages which have not been written yet. */
  #delayed: { readonly behind: number; readonly line: string }[] = [];
  #nextDelayed = 0;
  #delayedLength = 0;
  /** Lines beyond the bound on those. */
  #dropped = 0;
  #writers: Promise<void> = Promise.resolve();
  #around: ((write: () => void) => void) | undefined;

  constructor(options: OutputOptions) {
    this.options = options;
    const failed = (error: Error): void => this.#warn(`stdout cannot be written: ${error.message}; retrying`);
    this.#stdout = new StreamWriter(1, { closed: () => this.#stdoutClosed.resolve(), failed });
    // Failures of stderr cannot be reported anywhere.
    this.#stderr = new StreamWriter(2, { closed: () => {}, failed: () => {} });
  }

  /** Resolves when the reader of stdout has closed it. */
  get stdoutClosed(): Promise<void> {
    return this.#stdoutClosed.promise;
  }

  /** Lines that stdout has not taken, dropped ones included. */
  get unwrittenLines(): number {
    const delayed = this.#delayed.length - this.#nextDelayed;
    return this.#stdout.unwrittenLines + this.#dropped + delayed + this.#arrivedMessages - this.#writtenMessages;
  }

  /** Messages should wait for `drained`. */
  get isBehind(): boolean {
    return this.#stdout.isBehind;
  }

  /** Resolves when stdout has room for more messages. */
  drained(): Promise<void> {
    return this.#stdout.drained();
  }

  /** An event: an NDJSON line, or without --json the sentence. `node` is the address of the member, null for the server. */
  event(event: string, node: string | null, fields: OutputFields, sentence?: string, mesh = defaultMesh): void {
    const line = this.options.json ? ndjson(event, node, fields, mesh) : sentence;
    if (line === undefined) return;
    // Other programs can cause any number of events.
    const dropped = this.#rateLimiter.pass(event, line.length, performance.now());
    if (dropped === undefined) return;
    if (dropped > 0) this.#reportDropped(event, dropped);
    if (this.options.json) this.#inOrder(line);
    else this.info(line);
  }

  /** A line of the result, on stdout. `head`: text of our own in front of it, which may have colours. */
  result(line: string, head = ""): void {
    this.#inOrder(`${head}${shownLine(line)}`);
  }

  /** A message has arrived, and will be written when stdout has room for it. */
  messageArrived(): void {
    this.#arrivedMessages += 1;
  }

  /** Writes the oldest message that has arrived and is not written, and the lines behind it. */
  writeMessage(line: string): void {
    this.#write(line);
    this.#writtenMessages += 1;
    for (
      let delayed = this.#delayed[this.#nextDelayed];
      delayed !== undefined;
      delayed = this.#delayed[this.#nextDelayed]
    ) {
      if (delayed.behind > this.#writtenMessages) return;
      this.#write(delayed.line);
      this.#delayedLength -= delayed.line.length;
      this.#nextDelayed += 1;
    }
    this.#delayed = [];
    this.#nextDelayed = 0;
  }

  /** `flush` waits for this promise, until which messages are written. */
  flushAfter(writers: Promise<void>): void {
    this.#writers = writers;
  }

  /** Writes whole lines of another process unchanged. Returns a promise to wait for before writing more, if the stream is behind. */
  relay(to: "stdout" | "stderr", lines: Uint8Array): Promise<void> | undefined {
    const writer = to === "stdout" ? this.#stdout : this.#stderr;
    writer.relay(lines);
    return writer.isBehind ? writer.drained() : undefined;
  }

  /** Each line is from now on written within `around`, which keeps a prompt on the terminal intact. */
  keepPrompt(around: ((write: () => void) => void) | undefined): void {
    this.#around = around;
  }

  /** A line on stderr, unless quiet. */
  info(line: string): void {
    if (!this.options.quiet) this.#writeError(`${shownLine(line)}\n`);
  }

  /** A log record on stderr, as JSON with --json. */
  readonly #log = (record: LogRecord): void => {
    const { level } = record;
    if (this.options.quiet && level !== "error") return;
    const line = this.options.json ? jsonLine({ ...record, level }) : shownLine(`${level} ${record}`);
    this.#writeError(`${line}\n`);
  };

  /** Takes the log records of a node or a server. */
  readonly logger: Logger = { info: this.#log, warn: this.#log, error: this.#log };

  /** An error and its remedy, also when quiet. `lines`: the last ones that a failed process wrote. */
  error(code: string, message: string, remedy?: string, lines: readonly string[] = []): void {
    const more = { ...(remedy === undefined ? {} : { remedy }), ...(lines.length === 0 ? {} : { lines }) };
    if (this.options.json) this.event("error", this.errorNode, { code, message, ...more });
    this.#writeError(`fullmesh: ${code}: ${shownLine(message)}\n`);
    for (const line of lines) this.#writeError(`  | ${shownLine(line)}\n`);
    if (remedy !== undefined) this.#writeError(`  try: ${remedy}\n`);
  }

  /**
   * Resolves with true when everything is written, and with false when the rest is given up and reported: stdout has taken
   * nothing for 30 s, or 1 s has passed since `stopped` was aborted.
   */
  async flush(stopped: AbortSignal): Promise<boolean> {
    for (const [event, count] of this.#rateLimiter.finish()) this.#reportDropped(event, count);
    const written = this.#writers.then(() => this.#stdout.emptied());
    let progress = -1;
    while (!stopped.aborted && progress < this.#stdout.progress) {
      progress = this.#stdout.progress;
      if (await isFulfilled(written, stalledMs, stopped)) break;
    }
    if (stopped.aborted) await isFulfilled(written, hurriedFlushMs);
    const count = this.unwrittenLines;
    if (count > 0) this.#warn(`${count} lines could not be written to stdout`);
    await isFulfilled(this.#stderr.emptied(), stopped.aborted ? 0 : hurriedFlushMs);
    return count === 0;
  }

  #reportDropped(of: string, count: number): void {
    this.event("omitted", this.errorNode, { of, count }, `dropped ${count} events "${of}", which were too frequent`);
  }

  /** Writes a line behind the messages that arrived before it. */
  #inOrder(line: string): void {
    if (this.#arrivedMessages === this.#writtenMessages) {
      this.#write(line);
    } else if (this.#delayedLength + line.length <= maxQueuedLength) {
      this.#delayed.push({ behind: this.#arrivedMessages, line });
      this.#delayedLength += line.length;
    } else {
      this.#dropped += 1;
      this.#setDropping(true);
    }
  }

  #write(line: string): void {
    const write = (): void => this.#setDropping(!this.#stdout.write(`${line}\n`));
    if (this.#around === undefined) write();
    else this.#around(write);
  }

  #writeError(line: string): void {
    // Both are the same terminal then, and only one writer can keep its lines in order.
    if (this.#around === undefined || !process.stderr.isTTY) this.#stderr.write(line);
    else this.#around(() => void this.#stdout.write(line));
  }

  #setDropping(isDropping: boolean): void {
    if (isDropping && !this.#isDropping) this.#warn("stdout is not read fast enough; lines are dropped");
    this.#isDropping = isDropping;
  }

  /** To stderr alone, because it is about stdout. */
  #warn(message: string): void {
    this.#writeError(`fullmesh: STDIO_FAILED: ${shownLine(message)}\n`);
  }
}

/** One event as a line. */
export function ndjson(event: string, node: string | null, fields: OutputFields, mesh: string): string {
  return jsonLine({ event, at: wallClock(), node, mesh, ...fields });
}

/** Resolves with true if the promise is fulfilled in time and before the signal, else with false. */
async function isFulfilled(promise: Promise<void>, withinMs: number, signal?: AbortSignal): Promise<boolean> {
  const timedOut = new Deferred<boolean>();
  const giveUp = (): void => timedOut.resolve(false);
  const timer = setTimeout(giveUp, withinMs);
  signal?.addEventListener("abort", giveUp);
  const isSettled = await Promise.race([promise.then(() => true), timedOut.promise]);
  clearTimeout(timer);
  signal?.removeEventListener("abort", giveUp);
  return isSettled;
}
