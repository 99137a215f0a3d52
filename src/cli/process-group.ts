import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { FullmeshError } from "../core/errors.js";
import type { Dialect } from "../protocol/directory.js";

/** What a child says last on stderr, kept for the report of its failure. */
const lastWordsBytes = 2_000;
/** How long children may take to end after they were told to. */
const patienceMs = 5_000;

/** Children whose server is gone for so long have lost the command that started them, and end. */
const orphanedSeconds = 10;

/** One NDJSON line of a member process. */
export interface ChildEvent {
  readonly event: string;
  readonly at: number;
  readonly node: string | null;
  readonly [field: string]: unknown;
}

interface Child {
  readonly process: ChildProcess;
  lastWords: string;
  readonly ended: Promise<number>;
}

/** What a gang tells. */
export interface ProcessGroupEvents {
  /** A child has written this line, and this is what it says. */
  line(text: string, event: ChildEvent): void;
  /** A child has noted something with this code. */
  note(code: string): void;
  /** A child has ended with a code other than 0, or by a signal. */
  failed(error: FullmeshError): void;
}

/** The member processes of `up`: N times this command's own `join`, on this machine. */
export class ProcessGroup {
  readonly #children: Child[] = [];
  readonly #events: ProcessGroupEvents;
  #isEnding = false;

  constructor(events: ProcessGroupEvents) {
    this.#events = events;
  }

  /** Starts `size` members of the server's mesh. Of our own FULLMESH_* variables they get the secret and nothing else. */
  start(size: number, server: string, dialect: Dialect, secret: string | undefined): void {
    const command = fileURLToPath(new URL("main.js", import.meta.url));
    const others = Object.entries(process.env).filter(([name]) => !name.startsWith("FULLMESH_"));
    const env = Object.fromEntries(secret === undefined ? others : [...others, ["FULLMESH_SECRET", secret]]);
    for (let rank = 0; rank < size; rank += 1) {
      const flags = ["--json", "--dialect", dialect, "--server-lost", String(orphanedSeconds)];
      const child = spawn(process.execPath, [command, "join", server, ...flags], {
        env,
        stdio: ["ignore", "pipe", "pipe"],
      });
      this.#adopt(child);
    }
  }

  /** From now on children are expected to end. Resolves when all have; kills those that do not. */
  async ended(): Promise<void> {
    this.#isEnding = true;
    const timer = setTimeout(() => this.#signal("SIGKILL"), patienceMs);
    await Promise.all(this.#children.map((child) => child.ended));
    clearTimeout(timer);
  }

  /** Asks all children to leave. */
  stop(): void {
    this.#isEnding = true;
    this.#signal("SIGTERM");
  }

  #signal(signal: NodeJS.Signals): void {
    for (const { process: child } of this.#children) {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    }
  }

  #adopt(process: ChildProcess): void {
    const ended = new Promise<number>((resolve) => {
      process.once("error", (error) => {
        this.#fail(`a member process could not be started: ${error.message}`);
        resolve(1);
      });
      process.once("close", (code, signal) => {
        const how = `member process ${process.pid} ended with ${signal ?? `code ${code}`}`;
        const last = child.lastWords.trim();
        if (code !== 0) this.#fail(last === "" ? `${how} and printed no error` : `${how}: ${last}`);
        resolve(code ?? 1);
      });
    });
    const child: Child = { process, lastWords: "", ended };
    this.#children.push(child);
    if (process.stdout === null || process.stderr === null) return;
    createInterface({ input: process.stderr }).on("line", (line) => {
      child.lastWords = `${child.lastWords}\n${line}`.slice(-lastWordsBytes);
      const note = parse<{ readonly code: string }>(line, "code");
      if (note !== undefined) this.#events.note(note.code);
    });
    createInterface({ input: process.stdout }).on("line", (line) => {
      const event = parse<ChildEvent>(line, "event");
      if (event !== undefined) this.#events.line(line, event);
    });
  }

  #fail(message: string): void {
    if (!this.#isEnding) this.#events.failed(new FullmeshError("CHILD_FAILED", message));
  }
}

/** A line of NDJSON as the object that it is, if it is one with this field. */
function parse<Value>(line: string, field: string): Value | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && field in value ? (value as Value) : undefined;
  } catch {
    return undefined;
  }
}
