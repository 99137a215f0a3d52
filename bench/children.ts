import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Deferred } from "../src/api/deferred.js";
import { waitWithin } from "../src/api/waiting.js";
import { FullmeshError } from "../src/core/errors.js";

/** The end of stderr that an error about a program quotes. */
const stderrTailLength = 2_000;

/** How long a program may take to report a field; most take a second or two. */
const reportTimeoutMs = 60_000;

/** A running program, which reports fields: one JSON object a line on stdout. */
export class Child {
  readonly ended: Promise<void>;
  readonly #name: string;
  readonly #process: ChildProcess;
  /** By name, the fields that it has reported and those that are waited for. */
  readonly #fields = new Map<string, Deferred<unknown>>();
  #stderrTail = "";
  #failure: FullmeshError | undefined;

  constructor(name: string, process: ChildProcess) {
    this.#name = name;
    this.#process = process;
    // A program that has ended takes no input; its exit code says more than the broken pipe.
    process.stdin?.on("error", () => {});
    process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderrTail = `${this.#stderrTail}${text}`.slice(-stderrTailLength);
    });
    if (process.stdout !== null) createInterface({ input: process.stdout }).on("line", (line) => this.#read(line));
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
   * Resolves with the value of a field once the program has reported it.
   *
   * @throws {FullmeshError} `CHILD_FAILED` if the program ended first, `TIMED_OUT`
   */
  async reported<Value>(field: string, timeoutMs = reportTimeoutMs): Promise<Value> {
    const missing = (): string => `${this.#name} has not reported "${field}"`;
    return (await waitWithin(this.#field(field).promise, { timeoutMs }, missing)) as Value;
  }

  /** Writes a line to its stdin. */
  write(line: string): void {
    this.#process.stdin?.write(`${line}\n`);
  }

  /** Ends it at once, if it has not ended. */
  kill(): void {
    if (this.#process.exitCode === null && this.#process.signalCode === null) this.#process.kill("SIGKILL");
  }

  #field(field: string): Deferred<unknown> {
    const known = this.#fields.get(field);
    if (known !== undefined) return known;
    const deferred = new Deferred<unknown>();
    this.#fields.set(field, deferred);
    if (this.#failure !== undefined) deferred.reject(this.#failure);
    return deferred;
  }

  #read(line: string): void {
    for (const [field, value] of Object.entries(JSON.parse(line) as object)) this.#field(field).resolve(value);
  }

  #fail(reason: string): void {
    this.#failure ??= new FullmeshError("CHILD_FAILED", `${this.#name} ${reason}: ${this.#stderrTail.trim()}`);
    for (const field of this.#fields.values()) field.reject(this.#failure);
  }
}

/** The processes of one benchmark. None of them outlives it, because each exits when its stdin ends. */
export class Children {
  readonly #running = new Set<Child>();
  #stopped: FullmeshError | undefined;

  /** Starts a program with its parameters. `flags` are for Node. */
  start(program: URL, parameters: Readonly<Record<string, unknown>>, flags: readonly string[] = []): Child {
    return this.spawn(process.execPath, [...flags, program.pathname, JSON.stringify(parameters)]);
  }

  /** Starts a command. */
  spawn(command: string, args: readonly string[]): Child {
    if (this.#stopped !== undefined) throw this.#stopped;
    // The variables that set flags of this command must not change what is measured.
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

  /** Why no more are started; undefined while more may be. */
  get stopped(): FullmeshError | undefined {
    return this.#stopped;
  }

  /** Ends all of them, and starts no more. */
  stop(reason: FullmeshError): void {
    this.#stopped ??= reason;
    for (const child of this.#running) child.kill();
  }
}
