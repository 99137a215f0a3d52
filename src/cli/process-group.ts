import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { FullmeshError } from "../core/errors.js";
import type { Address } from "../protocol/address.js";
import type { Dialect } from "../protocol/directory.js";
import type { MemberCommand, MemberReport } from "./member-control.js";

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

/** The events of a process group. */
export interface ProcessGroupEvents {
  /** A child has written this line to stdout, which holds this event. */
  line(text: string, event: ChildEvent): void;
  /** A child has logged something with this code. */
  logged(code: string): void;
  /** A child has ended with a code other than 0 or by a signal, and nobody wanted it to. */
  failed(error: FullmeshError): void;
  /** What a child reports beside its output. */
  reported(member: MemberProcess, report: MemberReport): void;
}

/** How the members of a group are started. */
export interface MemberSettings {
  readonly dialect: Dialect;
  readonly secret: string | undefined;
  /** With --slow, in which each step waits until it may happen: for so many seconds nobody is given up because of that. */
  readonly slowSilentSeconds: number | undefined;
}

/** One member process: `fullmesh join`, with connections that this command can cut, refuse and hold. */
export class MemberProcess {
  readonly #process: ChildProcess;
  readonly #ended: Promise<number>;
  /** Where it listens, once that is known. */
  address: Address | undefined;
  #isStopped = false;
  #wasKilled = false;

  constructor(child: ChildProcess, ended: Promise<number>) {
    this.#process = child;
    this.#ended = ended;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Resolves with its exit code. */
  get ended(): Promise<number> {
    return this.#ended;
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null && !this.#wasKilled;
  }

  /** It was sent SIGSTOP, and no SIGCONT yet. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** This command has killed it. */
  get wasKilled(): boolean {
    return this.#wasKilled;
  }

  kill(): void {
    this.#wasKilled = true;
    this.#process.kill("SIGKILL");
  }

  stop(): void {
    this.#isStopped = true;
    this.#process.kill("SIGSTOP");
  }

  continue(): void {
    this.#isStopped = false;
    this.#process.kill("SIGCONT");
  }

  /** Asks it to leave, or ends it. */
  signal(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#process.kill(signal);
  }

  send(command: MemberCommand): void {
    // One that has ended needs no command.
    if (this.isRunning && this.#process.connected) this.#process.send(command, () => {});
  }
}

/** The member processes of `up`: processes of `fullmesh join` on this machine. */
export class ProcessGroup {
  readonly #members: MemberProcess[] = [];
  readonly #settings: MemberSettings;
  readonly #events: ProcessGroupEvents;
  #isEnding = false;

  constructor(settings: MemberSettings, events: ProcessGroupEvents) {
    this.#settings = settings;
    this.#events = events;
  }

  /** Those that run, in the order in which they were started. */
  get running(): readonly MemberProcess[] {
    return this.#members.filter(({ isRunning }) => isRunning);
  }

  /** Starts a member. Of the FULLMESH_* variables it gets the secret alone. */
  start(server: string): void {
    const { dialect, secret, slowSilentSeconds } = this.#settings;
    const command = fileURLToPath(new URL("up-member.js", import.meta.url));
    const others = Object.entries(process.env).filter(([name]) => !name.startsWith("FULLMESH_"));
    const env: NodeJS.ProcessEnv = Object.fromEntries(others);
    if (secret !== undefined) env.FULLMESH_SECRET = secret;
    const flags = ["--json", "--dialect", dialect, "--server-lost", String(slowSilentSeconds ?? orphanedSeconds)];
    if (slowSilentSeconds !== undefined) {
      env.FULLMESH_UP_SLOW = "1";
      flags.push("--silent", String(slowSilentSeconds));
    }
    const child = spawn(process.execPath, [command, "join", server, ...flags], {
      env,
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#follow(child);
  }

  /** Resolves when all members have ended. From now on that is no failure; those that take too long are killed. */
  async ended(): Promise<void> {
    this.#isEnding = true;
    for (const member of this.running) if (member.isStopped) member.continue();
    const timer = setTimeout(() => this.#signal("SIGKILL"), killAfterMs);
    await Promise.all(this.#members.map((member) => member.ended));
    clearTimeout(timer);
  }

  /** Asks all members to leave. */
  stop(): void {
    this.#isEnding = true;
    this.#signal("SIGTERM");
  }

  #signal(signal: NodeJS.Signals): void {
    for (const member of this.#members) member.signal(signal);
  }

  #follow(child: ChildProcess): void {
    let stderrTail = "";
    const ended = new Promise<number>((resolve) => {
      child.once("error", (error) => {
        this.#fail(`a member process could not be started: ${error.message}`);
        resolve(1);
      });
      child.once("close", (code, signal) => {
        const how = signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
        const tail = stderrTail.trim();
        const printed = tail === "" ? "it printed no error" : `it printed: ${tail}`;
        if (code !== 0 && !member.wasKilled) this.#fail(`a member process (pid ${child.pid}) ${how}; ${printed}`);
        resolve(code ?? 1);
      });
    });
    const member = new MemberProcess(child, ended);
    this.#members.push(member);
    child.on("message", (report: MemberReport) => this.#events.reported(member, report));
    if (child.stdout === null || child.stderr === null) return;
    createInterface({ input: child.stderr }).on("line", (line) => {
      stderrTail = `${stderrTail}\n${line}`.slice(-stderrTailLength);
      const record = parse<{ readonly code: string }>(line, "code");
      if (record !== undefined) this.#events.logged(record.code);
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      const event = parse<ChildEvent>(line, "event");
      if (event === undefined) return;
      if (event.event === "listening") member.address = String(event.address) as Address;
      this.#events.line(line, event);
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
