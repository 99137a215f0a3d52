import { type ChildProcessByStdio, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

/** After so long a wait fails: far longer than anything takes that tests wait for. */
const waitLimitMs = 30_000;

/** Checks what tests wait for whenever the state may have changed, so that no test sleeps and polls. */
export class Condition {
  readonly #waiting = new Set<() => void>();

  /** Something has changed. */
  notify(): void {
    for (const check of [...this.#waiting]) check();
  }

  /** Resolves with what `find` returns, as soon as that is not undefined. `explain` says what has not come in time. */
  until<Found>(find: () => Found | undefined, explain: () => string, withinMs = waitLimitMs): Promise<Found> {
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
      };
      const check = (): void => {
        const found = find();
        if (found === undefined) return;
        stop();
        resolve(found);
      };
      const timer = setTimeout(() => {
        stop();
        reject(new Error(`after ${withinMs} ms: ${explain()}`));
      }, withinMs);
      this.#waiting.add(check);
      check();
    });
  }
}

/** How a process has ended: with a code, by a signal, or by not having started at all. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly error?: Error;
}

/** How a process is to be started. */
export interface StartOptions {
  /** Default: the environment of the tests. */
  readonly env?: NodeJS.ProcessEnv;
  /** Give it a stdin to write to; without one, its stdin is at its end. */
  readonly hasStdin?: boolean;
  /** Its stdin is this descriptor, which is then closed here. */
  readonly stdin?: number;
  /** The same for its stdout. */
  readonly stdout?: number;
  /** Do not read its stdout before `resumeStdout` is called. */
  readonly isStdoutPaused?: boolean;
  /** Called with each line of stdout. */
  readonly onLine?: (line: string) => void;
}

/** Stdin and stdout are null where a descriptor was given. */
type Child = ChildProcessByStdio<Writable | null, Readable | null, Readable>;

/**
 * A process that a test has started. Its test calls `stop` in the cleanup, which does nothing if it has ended: `onTestFinished(() => started.stop())`.
 */
export class StartedProcess {
  /** Those that have not ended. */
  static readonly #running = new Set<StartedProcess>();
  /** What it has written to stdout so far. */
  readonly lines: string[] = [];
  readonly #name: string;
  readonly #child: Child;
  readonly #changed = new Condition();
  readonly #onLine: ((line: string) => void) | undefined;
  #errors = "";
  #exit: Exit | undefined;

  /** Kills all that run: for a program that is told to end in the middle. */
  static killAll(): void {
    for (const started of StartedProcess.#running) started.kill("SIGKILL");
  }

  constructor(
    command: string,
    args: readonly string[],
    { env = process.env, hasStdin = false, stdin, stdout, isStdoutPaused: isUnread = false, onLine }: StartOptions = {},
  ) {
    this.#name = [command, ...args].join(" ");
    const child = spawn(command, args, { env, stdio: [stdin ?? "pipe", stdout ?? "pipe", "pipe"] }) as Child;
    for (const fd of [stdin, stdout]) if (fd !== undefined) closeSync(fd);
    this.#child = child;
    this.#onLine = onLine;
    // A process that has ended no longer reads; its exit says more than the broken pipe.
    child.stdin?.on("error", () => {});
    if (!hasStdin) child.stdin?.end();
    if (!isUnread) this.resumeStdout();
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
      this.#changed.notify();
    });
    StartedProcess.#running.add(this);
    child.once("error", (error) => this.#ended({ code: null, signal: null, error }));
    // Not `exit`: only with `close` all that it has written has been read.
    child.once("close", (code, signal) => this.#ended({ code, signal }));
  }

  /** What it has written to stderr so far. */
  get errors(): string {
    return this.#errors;
  }

  /** The lines of stdout from the first on, for as long as more can come. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void> {
    for (let index = 0; ; index += 1) {
      const line = await this.#lineAt(index);
      if (line === undefined) return;
      yield line;
    }
  }

  /** Resolves with the first line that `isWanted`, whether it has come already or is still to come. */
  async line(isWanted: (line: string) => boolean, meaning: string, withinMs?: number): Promise<string> {
    const find = (): string | null | undefined => this.lines.find(isWanted) ?? this.#nothingMore();
    const found = await this.#changed.until(find, () => this.#describe(`has not written ${meaning}`), withinMs);
    if (found === null) throw new Error(this.#describe(`ended without having written ${meaning}`));
    return found;
  }

  /** Resolves when what it has written to stderr `isEnough`. */
  async error(isEnough: (text: string) => boolean, meaning: string, withinMs?: number): Promise<string> {
    const find = (): string | null | undefined => (isEnough(this.#errors) ? this.#errors : this.#nothingMore());
    const found = await this.#changed.until(find, () => this.#describe(`has not said ${meaning}`), withinMs);
    if (found === null) throw new Error(this.#describe(`ended without having said ${meaning}`));
    return found;
  }

  /** Resolves when it has ended and all that it has written has been read. */
  exited(withinMs?: number): Promise<Exit> {
    return this.#changed.until(
      () => this.#exit,
      () => this.#describe("has not ended"),
      withinMs,
    );
  }

  /** Reads its stdout from now on. */
  resumeStdout(): void {
    if (this.#child.stdout === null) return;
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      this.lines.push(line);
      this.#onLine?.(line);
      this.#changed.notify();
    });
  }

  /** Closes the reading end of its stdout: its next write fails. */
  closeStdout(): void {
    this.#child.stdout?.destroy();
  }

  /** Writes a line to its stdin. */
  writeLine(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Ends its stdin. */
  endStdin(): void {
    this.#child.stdin?.end();
  }

  /** Its process id. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  kill(signal: NodeJS.Signals = "SIGTERM"): void {
    // Not by its id: once the process is gone, another one may have it.
    if (this.#exit === undefined) this.#child.kill(signal);
  }

  /** Kills it if it runs, and resolves when it has ended. */
  async stop(): Promise<void> {
    this.kill("SIGKILL");
    await this.exited();
  }

  async #lineAt(index: number): Promise<string | undefined> {
    const find = (): string | null | undefined => this.lines[index] ?? this.#nothingMore();
    return (await this.#changed.until(find, () => this.#describe("has written nothing more"))) ?? undefined;
  }

  /** null once the process has ended, undefined while it may write more. */
  #nothingMore(): null | undefined {
    return this.#exit === undefined ? undefined : null;
  }

  #ended(exit: Exit): void {
    StartedProcess.#running.delete(this);
    this.#exit ??= exit;
    this.#changed.notify();
  }

  #describe(what: string): string {
    const end = this.#exit === undefined ? "it runs" : `it has ended: ${JSON.stringify(this.#exit)}`;
    const errors = this.#errors === "" ? "" : `\nstderr: ${this.#errors}`;
    return `${this.#name} ${what}; ${end}\nstdout: ${this.lines.join("\n        ")}${errors}`;
  }
}
