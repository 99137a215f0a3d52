import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import type { Readable } from "node:stream";
import { splitLines, WholeLines } from "./whole-lines.js";

/** Longer lines are cut, so that 1,000 copies hold 512 MiB at most. */
const maxLineBytes = 256 * 1024;
/** The end of the output of a copy, which the report of its failure quotes. */
const lastLinesBytes = 4_096;
const maxLastLines = 10;
/** The time between checks for a process that has left the group of its copy and keeps its output open. */
const openOutputMs = 1_000;

export type OutputName = "stdout" | "stderr";

/** The end of a copy: with a code, by a signal, or with the error of its start. */
export interface CopyEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly error?: NodeJS.ErrnoException;
}

/** The events of a copy. */
export interface GangProcessEvents {
  /** Whole lines that it has written. While the promise is pending, this output is not read. */
  lines(output: OutputName, lines: Buffer): Promise<void> | undefined;
  /** It has ended. Its last output may not have been read yet. */
  exited(end: CopyEnd): void;
}

/**
 * One copy of a command. It leads a process group of its own, so that a signal also reaches the processes that it has started,
 * once, and Ctrl-C reaches them only through this command.
 */
export class GangProcess {
  /** Resolves when it has ended and all its output has been printed. */
  readonly closed: Promise<void>;
  readonly #child: ChildProcess;
  readonly #graceMs: number;
  readonly #events: GangProcessEvents;
  /** Outputs that are paused until their lines have been written. */
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
        // The event also reports a signal that could not be sent; then the process exists.
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

  /** The last lines that it has written. */
  get lastLines(): string[] {
    const lines = splitLines(this.#last);
    return lines.slice(-maxLastLines).map((line) => line.toString());
  }

  /** Signals its process group, unless that has ended. */
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
    // Processes that it has left running are ended too.
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
    setTimeout(() => this.#giveUpOutput(), openOutputMs);
  }

  #read(from: Readable, name: OutputName): void {
    const lines = new WholeLines(maxLineBytes);
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

/** The end in words. */
export function describeEnd({ code, signal, error }: CopyEnd): string {
  if (error !== undefined) return `could not be started: ${error.message}`;
  return signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
}
