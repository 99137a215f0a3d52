import { Deferred } from "../api/waiting.js";
import type { ErrorCode } from "../core/errors.js";
import { jsonLine, shownLine } from "../core/escaping.js";
import { defaultMesh } from "../node/options.js";
import { EventRateLimiter } from "../runtime/event-rate-limiter.js";
import type { LogRecord } from "../runtime/log-rate-limiter.js";
import { longestBacklog, StreamWriter } from "./stream-writer.js";

/** At the end of a run stdout may take nothing for so long, before what it has not taken is given up. */
const stalledMs = 30_000;
/** The same after a signal, and for stderr: in all. */
const hurryMs = 1_000;

/** Fields of one NDJSON line besides `event`, `at`, `node` and `mesh`. */
export type OutputFields = Readonly<Record<string, unknown>>;

/** How a command speaks. */
export interface OutputOptions {
  /** One JSON object a line on stdout, and as log on stderr. */
  readonly json: boolean;
  /** No talk on stderr; errors are still said. */
  readonly quiet: boolean;
}

/** Milliseconds since the epoch, to the microsecond, so that lines of several processes can be put in order. */
export function wallClock(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000) / 1000;
}

/**
 * What a command writes: results on stdout, talk on stderr. Neither is ever waited for in a call. Those who can wait, such
 * as a loop over messages, write at the pace of `room`. What others write beyond the bound of a writer is left out, and
 * reported.
 */
export class Output {
  readonly options: OutputOptions;
  /** In whose name errors are told: a member's address, null for the server and before there is one. */
  speaker: string | null = null;
  readonly #gate = new EventRateLimiter();
  readonly #stdout: StreamWriter;
  readonly #stderr: StreamWriter;
  readonly #gone = new Deferred<void>();
  #isLeavingOut = false;
  /** Messages that will be written, and those that have been. */
  #announced = 0;
  #delivered = 0;
  /** Lines of what happened behind messages that have not been written yet. */
  #held: { readonly behind: number; readonly line: string }[] = [];
  #nextHeld = 0;
  #heldLength = 0;
  /** Lines that had no place there. */
  #leftOut = 0;
  #coming: Promise<void> = Promise.resolve();

  constructor(options: OutputOptions) {
    this.options = options;
    const cannot = (error: Error): void =>
      this.#complain(`stdout cannot be written: ${error.message}; it is tried again`);
    this.#stdout = new StreamWriter(1, { gone: () => this.#gone.resolve(), failed: cannot });
    // There is nobody left to tell.
    this.#stderr = new StreamWriter(2, { gone: () => {}, failed: () => {} });
  }

  /** Resolves when nobody reads stdout any more. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** Lines of stdout that nobody has taken. */
  get untaken(): number {
    const held = this.#held.length - this.#nextHeld;
    return this.#stdout.untaken + this.#leftOut + held + this.#announced - this.#delivered;
  }

  /** Stdout has taken less than has been written. */
  get isBehind(): boolean {
    return this.#stdout.isBehind;
  }

  /** Resolves when stdout has taken enough that more may be written. */
  room(): Promise<void> {
    return this.#stdout.room();
  }

  /** One event: as NDJSON, or as the sentence in its place. `node` is the emitter's address, null for the server. */
  event(event: string, node: string | null, fields: OutputFields, sentence?: string, mesh = defaultMesh): void {
    const line = this.options.json ? ndjson(event, node, fields, mesh) : sentence;
    if (line === undefined) return;
    // Everything but messages may be brought about by others at will.
    const leftOut = this.#gate.pass(event, line.length, performance.now());
    if (leftOut === undefined) return;
    if (leftOut > 0) this.#omitted(event, leftOut);
    if (this.options.json) this.#inOrder(line);
    else this.talk(line);
  }

  /** One line of data for people on stdout. */
  data(line: string): void {
    this.#inOrder(shownLine(line));
  }

  /** A message has come that will be written when stdout has room for it. */
  announce(): void {
    this.#announced += 1;
  }

  /** The oldest of the messages that were announced, and what came behind it. */
  deliver(line: string): void {
    this.#write(line);
    this.#delivered += 1;
    for (let held = this.#held[this.#nextHeld]; held !== undefined; held = this.#held[this.#nextHeld]) {
      if (held.behind > this.#delivered) return;
      this.#write(held.line);
      this.#heldLength -= held.line.length;
      this.#nextHeld += 1;
    }
    this.#held = [];
    this.#nextHeld = 0;
  }

  /** Somebody writes until this resolves; `flush` waits for it. */
  expect(coming: Promise<void>): void {
    this.#coming = coming;
  }

  /**
   * Whole lines of another process, as they are. Undefined if more may be written at once; otherwise whoever writes waits
   * for the promise.
   */
  relay(to: "stdout" | "stderr", lines: Uint8Array): Promise<void> | undefined {
    const writer = to === "stdout" ? this.#stdout : this.#stderr;
    writer.relay(lines);
    return writer.isBehind ? writer.room() : undefined;
  }

  /** One line of talk on stderr. */
  talk(line: string): void {
    if (!this.options.quiet) this.#stderr.write(`${shownLine(line)}\n`);
  }

  /** A line for the log, on stderr: JSON beside JSON, a sentence beside sentences. */
  note(record: LogRecord): void {
    if (this.options.quiet && record.level !== "error") return;
    const { level, code, message, remote } = record;
    const from = remote === undefined ? "" : ` (${remote})`;
    const line = this.options.json ? jsonLine(record) : shownLine(`${level} ${code}: ${message}${from}`);
    this.#stderr.write(`${line}\n`);
  }

  /** What went wrong and what to try; said even when quiet. `lines`: what a process that failed has written last. */
  error(code: ErrorCode | "ERROR", message: string, remedy?: string, lines: readonly string[] = []): void {
    const more = { ...(remedy === undefined ? {} : { remedy }), ...(lines.length === 0 ? {} : { lines }) };
    if (this.options.json) this.event("error", this.speaker, { code, message, ...more });
    this.#stderr.write(`fullmesh: ${code}: ${shownLine(message)}\n`);
    for (const line of lines) this.#stderr.write(`  | ${shownLine(line)}\n`);
    if (remedy !== undefined) this.#stderr.write(`  try: ${remedy}\n`);
  }

  /**
   * Resolves with true when all is written, and with false when what is left is given up: nobody has taken anything for 30
   * s, or for 1 s once `stopped` is aborted. What is given up is reported.
   */
  async flush(stopped: AbortSignal): Promise<boolean> {
    for (const [event, count] of this.#gate.finish()) this.#omitted(event, count);
    const written = this.#coming.then(() => this.#stdout.empty());
    let progress = -1;
    while (!stopped.aborted && progress < this.#stdout.progress) {
      progress = this.#stdout.progress;
      if (await settles(written, stalledMs, stopped)) break;
    }
    if (stopped.aborted) await settles(written, hurryMs);
    const count = this.untaken;
    if (count > 0) this.#complain(`${count} lines were not taken from stdout`);
    await settles(this.#stderr.empty(), stopped.aborted ? 0 : hurryMs);
    return count === 0;
  }

  #omitted(of: string, count: number): void {
    this.event("omitted", this.speaker, { of, count }, `left out ${count} events "${of}", which came too often`);
  }

  /** A line of stdout goes behind the messages that came before it. */
  #inOrder(line: string): void {
    if (this.#announced === this.#delivered) {
      this.#write(line);
    } else if (this.#heldLength + line.length <= longestBacklog) {
      this.#held.push({ behind: this.#announced, line });
      this.#heldLength += line.length;
    } else {
      this.#leftOut += 1;
      this.#leavesOut(true);
    }
  }

  #write(line: string): void {
    this.#leavesOut(!this.#stdout.write(`${line}\n`));
  }

  #leavesOut(isLeavingOut: boolean): void {
    if (isLeavingOut && !this.#isLeavingOut) this.#complain("stdout is not read in time; lines are left out");
    this.#isLeavingOut = isLeavingOut;
  }

  /** On stderr alone, for it is stdout that does not work. */
  #complain(message: string): void {
    this.#stderr.write(`fullmesh: STDIO_FAILED: ${shownLine(message)}\n`);
  }
}

/** One event as a line. */
export function ndjson(event: string, node: string | null, fields: OutputFields, mesh: string): string {
  return jsonLine({ event, at: wallClock(), node, mesh, ...fields });
}

/** Resolves with whether the promise has been fulfilled in time, and before the signal. */
async function settles(promise: Promise<void>, withinMs: number, signal?: AbortSignal): Promise<boolean> {
  const over = new Deferred<boolean>();
  const giveUp = (): void => over.resolve(false);
  const timer = setTimeout(giveUp, withinMs);
  signal?.addEventListener("abort", giveUp);
  const isSettled = await Promise.race([promise.then(() => true), over.promise]);
  clearTimeout(timer);
  signal?.removeEventListener("abort", giveUp);
  return isSettled;
}
