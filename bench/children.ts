import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Deferred, waitFor } from "../src/api/waiting.js";
import { FullmeshError } from "../src/core/errors.js";

/** What a child says last on stderr, kept for the report of its failure. */
const lastWordsBytes = 2_000;

/** How long a child may take to say what it is expected to; most take a second or two. */
const patienceMs = 60_000;

/** A measured program that runs. */
export class Child {
  readonly ended: Promise<void>;
  readonly #name: string;
  readonly #process: ChildProcess;
  /** What it has said, or is still to say, by the name of the field. */
  readonly #words = new Map<string, Deferred<unknown>>();
  #lastWords = "";
  #failure: FullmeshError | undefined;

  constructor(name: string, process: ChildProcess) {
    this.#name = name;
    this.#process = process;
    // A child that has ended takes no commands; its end tells more than the broken pipe.
    process.stdin?.on("error", () => {});
    process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#lastWords = `${this.#lastWords}${text}`.slice(-lastWordsBytes);
    });
    if (process.stdout !== null) createInterface({ input: process.stdout }).on("line", (line) => this.#hear(line));
    this.ended = new Promise((resolve) => {
      process.once("error", (error) => {
        this.#fail(error.message);
        resolve();
      });
      process.once("close", (code, signal) => {
        this.#fail(`ended with ${signal ?? `code ${code}`}`);
        resolve();
      });
    });
  }

  /**
   * Resolves with what the child says in this field, or has said.
   *
   * @throws {FullmeshError} `CHILD_FAILED` if it has ended without, `TIMED_OUT`
   */
  async told<Value>(field: string, timeoutMs = patienceMs): Promise<Value> {
    const missing = (): string => `${this.#name} has not told "${field}"`;
    return (await waitFor(this.#wordOf(field).promise, { timeoutMs }, missing)) as Value;
  }

  /** Writes a line to its stdin. */
  command(line: string): void {
    this.#process.stdin?.write(`${line}\n`);
  }

  /** Ends it at once, if it has not ended. */
  kill(): void {
    if (this.#process.exitCode === null && this.#process.signalCode === null) this.#process.kill("SIGKILL");
  }

  #wordOf(field: string): Deferred<unknown> {
    const known = this.#words.get(field);
    if (known !== undefined) return known;
    const word = new Deferred<unknown>();
    this.#words.set(field, word);
    if (this.#failure !== undefined) word.reject(this.#failure);
    return word;
  }

  #hear(line: string): void {
    for (const [field, value] of Object.entries(JSON.parse(line) as object)) this.#wordOf(field).resolve(value);
  }

  #fail(reason: string): void {
    this.#failure ??= new FullmeshError("CHILD_FAILED", `${this.#name} ${reason}: ${this.#lastWords.trim()}`);
    for (const word of this.#words.values()) word.reject(this.#failure);
  }
}

/** The processes of one benchmark. None of them outlives it: they also end by themselves when their stdin does. */
export class Children {
  readonly #running = new Set<Child>();
  #stopped: FullmeshError | undefined;

  /** Starts a program with its one argument. `flags` are Node's. */
  start(program: URL, parameters: Readonly<Record<string, unknown>>, flags: readonly string[] = []): Child {
    return this.spawn(process.execPath, [...flags, program.pathname, JSON.stringify(parameters)]);
  }

  /** Starts any command. */
  spawn(command: string, args: readonly string[]): Child {
    if (this.#stopped !== undefined) throw this.#stopped;
    // What is measured does not depend on how this command was told what to do.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FULLMESH_")));
    const child = new Child(
      [command, ...args].join(" "),
      spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] }),
    );
    this.#running.add(child);
    return child;
  }

  /** Ends all of them, and resolves when they are gone. */
  async end(): Promise<void> {
    for (const child of this.#running) child.kill();
    await Promise.all(Array.from(this.#running, ({ ended }) => ended));
    this.#running.clear();
  }

  /** Why no more are started; undefined while they are. */
  get stopped(): FullmeshError | undefined {
    return this.#stopped;
  }

  /** Ends all of them, and starts no more. */
  stop(reason: FullmeshError): void {
    this.#stopped ??= reason;
    for (const child of this.#running) child.kill();
  }
}
