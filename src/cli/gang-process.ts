import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import type { Readable } from "node:stream";
import { splitLines, WholeLines } from "./whole-lines.js";

/** A longer line is cut: 1,000 copies then hold 512 MiB at most, and no log has lines of that length. */
const longestLineBytes = 256 * 1024;
/** What a copy has written last, for the report of its failure. */
const lastLinesBytes = 4_096;
const mostLastLines = 10;
/** A process that has left the group of its copy, and holds on to its output, is waited for as long as this. */
const heldOutputMs = 1_000;

export type OutputName = "stdout" | "stderr";

/** How a copy has ended: with a code, by a signal, or by not having started at all. */
export interface CopyEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly error?: NodeJS.ErrnoException;
}

/** What a copy tells. */
export interface GangProcessEvents {
  /** Whole lines that it has written. While the promise is pending, nothing more is read of this output. */
  lines(output: OutputName, lines: Buffer): Promise<void> | undefined;
  /** It has ended. What it wrote may still be on its way. */
  exited(end: CopyEnd): void;
}

/**
 * One copy of a command. It is the head of a process group of its own, so that a signal reaches what it has started as
 * well, once, and Ctrl-C reaches it only through us.
 */
export class GangProcess {
  /** Resolves when it has ended and all that it has written has been passed on. */
  readonly closed: Promise<void>;
  readonly #child: ChildProcess;
  readonly #graceMs: number;
  readonly #events: GangProcessEvents;
  /** Outputs that are not read for now, because what they have brought has not been written yet. */
  readonly #paused = new Set<Readable>();
  #last = Buffer.alloc(0);
  #hasExited = false;
  #isClosed = false;

  constructor(
    [command = "", ...args]: readonly string[],
    env: NodeJS.ProcessEnv,
    graceMs: number,
    events: GangProcessEvents,
  ) {
    this.#graceMs = graceMs;
    this.#events = events;
    const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    this.#child = child;
    if (child.stdout !== null) this.#read(child.stdout, "stdout");
    if (child.stderr !== null) this.#read(child.stderr, "stderr");
    this.closed = new Promise((resolve) => {
      child.once("error", (error) => {
        // It says so too when a signal could not be sent; then the process is there.
        if (child.pid !== undefined) return;
        this.#exited({ code: null, signal: null, error });
        this.#isClosed = true;
        resolve();
      });
      child.once("exit", (code, signal) => this.#exited({ code, signal }));
      child.once("close", () => {
        this.#isClosed = true;
        resolve();
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The lines that it has written last. */
  get lastLines(): string[] {
    const lines = splitLines(this.#last);
    return lines.slice(-mostLastLines).map((line) => line.toString());
  }

  /** Signals it, and what it has started, unless all of that has ended. */
  kill(signal: NodeJS.Signals): void {
    if (this.#child.pid === undefined || this.#isClosed) return;
    try {
      process.kill(-this.#child.pid, signal);
    } catch {
      // The group is gone.
    }
  }

  #exited(end: CopyEnd): void {
    if (this.#hasExited) return;
    this.#hasExited = true;
    // What it has left running would go on without anybody who knows of it.
    if (end.error === undefined) void this.#endRest();
    this.#events.exited(end);
  }

  async #endRest(): Promise<void> {
    this.kill("SIGTERM");
    const timer = setTimeout(() => {
      this.kill("SIGKILL");
      this.#giveUpOutput();
    }, this.#graceMs);
    await this.closed;
    clearTimeout(timer);
  }

  #giveUpOutput(): void {
    if (this.#isClosed) return;
    for (const output of [this.#child.stdout, this.#child.stderr]) {
      if (output !== null && !this.#paused.has(output)) output.destroy();
    }
    setTimeout(() => this.#giveUpOutput(), heldOutputMs);
  }

  #read(from: Readable, name: OutputName): void {
    const lines = new WholeLines(longestLineBytes);
    from.on("data", (bytes: Buffer) => this.#pass(from, name, lines.push(bytes)));
    from.once("close", () => this.#pass(from, name, lines.end()));
  }

  #pass(from: Readable, name: OutputName, whole: Buffer): void {
    if (whole.length === 0) return;
    const tail = Buffer.concat([this.#last, whole.subarray(-lastLinesBytes)]);
    this.#last = tail.subarray(Math.max(0, tail.length - lastLinesBytes));
    const room = this.#events.lines(name, whole);
    if (room === undefined) return;
    from.pause();
    this.#paused.add(from);
    void room.then(() => {
      this.#paused.delete(from);
      from.resume();
    });
  }
}

/** The exit code of a shell for such an end. */
export function exitCodeOfEnd({ code, signal, error }: CopyEnd): number {
  if (error !== undefined) return error.code === "ENOENT" ? 127 : 126;
  return signal === null ? (code ?? 1) : 128 + constants.signals[signal];
}

/** The same in words. */
export function describeEnd({ code, signal, error }: CopyEnd): string {
  if (error !== undefined) return `could not be started: ${error.message}`;
  return signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
}
