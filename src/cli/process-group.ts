import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { FullmeshError } from "../core/errors.js";
import type { Dialect } from "../protocol/directory.js";

/** The end of stderr that an error about a member process quotes. */
const stderrTailLength = 2_000;
/** How long member processes may take to end before they are killed. */
const killAfterMs = 5_000;

/** Member processes end by themselves when their server, which is this command, has been gone for so long. */
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
  stderrTail: string;
  readonly ended: Promise<number>;
}

/** The events of a process group. */
export interface ProcessGroupEvents {
  /** A child has written this line to stdout, which holds this event. */
  line(text: string, event: ChildEvent): void;
  /** A child has logged something with this code. */
  logged(code: string): void;
  /** A child has ended with a code other than 0 or by a signal. */
  failed(error: FullmeshError): void;
}

/** The member processes of `up`: N processes of `fullmesh join` on this machine. */
export class ProcessGroup {
  readonly #children: Child[] = [];
  readonly #events: ProcessGroupEvents;
  #isEnding = false;

  constructor(events: ProcessGroupEvents) {
    this.#events = events;
  }

  /** Starts `size` members. Of the FULLMESH_* variables they get the secret alone. */
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
      this.#follow(child);
    }
  }

  /** Resolves when all children have ended. From now on that is no failure; those that take too long are killed. */
  async ended(): Promise<void> {
    this.#isEnding = true;
    const timer = setTimeout(() => this.#signal("SIGKILL"), killAfterMs);
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

  #follow(process: ChildProcess): void {
    const ended = new Promise<number>((resolve) => {
      process.once("error", (error) => {
        this.#fail(`a member process could not be started: ${error.message}`);
        resolve(1);
      });
      process.once("close", (code, signal) => {
        const how = signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
        const tail = child.stderrTail.trim();
        const printed = tail === "" ? "it printed no error" : `it printed: ${tail}`;
        if (code !== 0) this.#fail(`a member process (pid ${process.pid}) ${how}; ${printed}`);
        resolve(code ?? 1);
      });
    });
    const child: Child = { process, stderrTail: "", ended };
    this.#children.push(child);
    if (process.stdout === null || process.stderr === null) return;
    createInterface({ input: process.stderr }).on("line", (line) => {
      child.stderrTail = `${child.stderrTail}\n${line}`.slice(-stderrTailLength);
      const record = parse<{ readonly code: string }>(line, "code");
      if (record !== undefined) this.#events.logged(record.code);
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

/** The object in a line of NDJSON, if it has this field. */
function parse<Value>(line: string, field: string): Value | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && field in value ? (value as Value) : undefined;
  } catch {
    return undefined;
  }
}
