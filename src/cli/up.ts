import type { Command } from "commander";
import { Deferred } from "../api/deferred.js";
import { waitWithin } from "../api/waiting.js";
import { FullmeshError } from "../core/errors.js";
import type { Direction } from "../mesh/types.js";
import type { Dialect } from "../protocol/directory.js";
import { type RendezvousServer, serve } from "../server/rendezvous-server.js";
import { type CommandContext, runCommand } from "./command.js";
import { type CommonFlags, flag, parseCount, withCommonFlags, withDialectFlag } from "./flags.js";
import { LinkTally } from "./link-tally.js";
import type { Output } from "./output.js";
import { type ChildEvent, ProcessGroup } from "./process-group.js";
import { openView } from "./progress-view.js";
import { secretFrom, withSecretFlag } from "./secret-source.js";
import { reportServer } from "./server-reporter.js";
import { TraceFile } from "./trace-file.js";

interface UpFlags extends CommonFlags {
  readonly stay?: true;
  readonly trace?: string;
  readonly timeout?: number;
  readonly dialect: Dialect;
}

/** Each member is a process of some 45 MiB with a link to every other one: 250 of them take 11 GiB and 31,125 links. */
const maxMembers = 250;
const defaultTimeoutSeconds = 60;
/** Missing pairs that are named in an error; the rest is counted. */
const maxNamedPairs = 10;

/** Adds `fullmesh up`. */
export function addUp(program: Command): void {
  const command = program
    .command("up")
    .argument("<n>", `how many member processes, 1 to ${maxMembers}`, (text) => parseCount("n", text, maxMembers))
    .summary("start a server and N member processes here, and show the mesh as it forms")
    .description(
      "Starts a rendezvous server and N member processes on this machine, shows the mesh as it forms, and ends it when " +
        "every pair has reported its link from both ends. With a secret, every connection is encrypted.",
    )
    .addOption(flag("--stay", "keep the mesh until Ctrl-C"))
    .addOption(flag("--trace <file>", "write the run as a Mermaid sequence diagram"));
  withDialectFlag(command, ["native", "classic"]);
  withSecretFlag(command);
  withCommonFlags(command, "how long the mesh may take to be complete (default: 60)");
  command.action((size: number) =>
    runCommand(command.opts<UpFlags>(), (context) => runUp(size, command.opts<UpFlags>(), context)),
  );
}

async function runUp(size: number, flags: UpFlags, { output, onSignal }: CommandContext): Promise<void> {
  const trace = flags.trace === undefined ? undefined : await TraceFile.open(flags.trace, output);
  const secret = await secretFrom(flags, output);
  const run = new UpRun(size, flags.dialect, secret, output, trace);
  onSignal(() => run.stop());
  try {
    await run.form((flags.timeout ?? defaultTimeoutSeconds) * 1000);
    if (flags.stay) await run.stay();
  } finally {
    await run.end();
    await trace?.write();
  }
}

/** One run of `up`, from the first process to the last. */
class UpRun {
  readonly #dialect: Dialect;
  readonly #secret: string | undefined;
  readonly #output: Output;
  readonly #trace: TraceFile | undefined;
  readonly #tally: LinkTally;
  readonly #processes: ProcessGroup;
  readonly #complete = new Deferred<void>();
  readonly #stopped = new Deferred<void>();
  #server: RendezvousServer | undefined;
  /** The server's `complete` event. */
  #serverComplete: { readonly revision: number } | undefined;
  /** The reasons of missing pairs from the server, by both addresses. */
  #serverReasons: ReadonlyMap<string, string> = new Map();
  #wasComplete = false;
  #isStaying = false;
  #onChange: () => void = () => {};
  readonly #startedAt = performance.now();
  readonly #phases: [name: string, ms: number][] = [];

  constructor(
    size: number,
    dialect: Dialect,
    secret: string | undefined,
    output: Output,
    trace: TraceFile | undefined,
  ) {
    this.#dialect = dialect;
    this.#secret = secret;
    this.#output = output;
    this.#trace = trace;
    this.#tally = new LinkTally(size);
    this.#processes = new ProcessGroup({
      line: (text, event) => this.#childEvent(text, event),
      logged: (code) => {
        if (code === "ALREADY_LINKED") this.#tally.duplicateRefused();
      },
      failed: (error) => {
        this.#complete.reject(error);
        if (this.#isStaying) this.#output.error(error.code, error.message, error.remedy);
      },
    });
  }

  /** Starts everything, and resolves when every pair is linked. */
  async form(timeoutMs: number): Promise<void> {
    const trace = this.#trace;
    const server = await serve({
      listen: "127.0.0.1:0",
      capacity: this.#tally.size,
      // This command ends the mesh once it has shown it complete.
      onFull: "hold",
      dialect: this.#dialect,
      ...(this.#secret === undefined ? {} : { secret: this.#secret }),
      logger: this.#output.options.json ? this.#output.logger : false,
      ...(trace === undefined ? {} : { trace: (record) => trace.add(record) }),
    });
    this.#server = server;
    this.#output.event(
      "listening",
      null,
      { address: server.address },
      `the rendezvous server listens on ${server.address}`,
    );
    if (this.#output.options.json) reportServer(server, this.#output, this.#tally.size, false);
    server.on("joined", ({ address }) => {
      this.#tally.joined(address);
      if (this.#tally.order.length === this.#tally.size) this.#endPhase("all joined");
      this.#changed();
    });
    for (const type of ["left", "lost"] as const) {
      server.on(type, ({ address }) => this.#tally.left(address));
    }
    server.on("forgotten", ({ addresses }) => {
      for (const address of addresses) this.#tally.left(address);
    });
    server.on("degraded", ({ missing }) => {
      this.#serverReasons = new Map(missing.map(({ a, b, stage, reason }) => [`${a} ${b}`, `${stage}: ${reason}`]));
    });
    server.on("complete", (completeness) => {
      this.#serverComplete = completeness;
      this.#changed();
    });
    const view = await openView(this.#output);
    this.#onChange = () => view.update(this.#tally);
    this.#processes.start(this.#tally.size, `${server.address}`, this.#dialect, this.#secret);
    try {
      await waitWithin(this.#complete.promise, { timeoutMs }, () => this.#progressText());
      this.#wasComplete = true;
      this.#endPhase("mesh complete");
    } finally {
      view.finish(this.#tally);
      this.#onChange = () => {};
      this.#report();
    }
  }

  /** Resolves when the run is told to stop. */
  async stay(): Promise<void> {
    this.#isStaying = true;
    this.#output.info("the mesh stays until Ctrl-C");
    await this.#stopped.promise;
    this.#endPhase("stayed");
  }

  /** Interrupts the run. */
  stop(): void {
    this.#stopped.resolve();
    this.#complete.reject(new FullmeshError("ABORTED", "told to stop"));
  }

  /** Tears the mesh down, and resolves when every process has ended. */
  async end(): Promise<void> {
    const isComplete = this.#wasComplete;
    const ended = this.#processes.ended();
    if (!isComplete) this.#processes.stop();
    await this.#server?.teardown(isComplete ? "complete" : "given up");
    await ended;
    if (!isComplete) return;
    this.#endPhase("teardown");
    this.#output.info(this.#phases.map(([name, ms]) => `${name} ${(ms / 1000).toFixed(2)} s`).join(", "));
  }

  #childEvent(text: string, event: ChildEvent): void {
    if (this.#output.options.json) this.#output.result(text);
    const { node } = event;
    const peer = String(event.peer);
    if (node !== null && event.event === "link") {
      const direction = event.direction as Direction;
      this.#tally.link(node, peer, direction);
      // The dialer has sent a hello.
      const text = event.dialect === "classic" ? `Hello from:${node}` : "hello";
      if (direction === "dialed") this.#trace?.add({ at: event.at, from: node, to: peer, text });
    } else if (node !== null && event.event === "unlink") {
      this.#tally.unlink(node, peer);
    }
    this.#changed();
  }

  #changed(): void {
    this.#onChange();
    // Native members report their links to the server; classic members report them only here.
    const isConfirmed = this.#dialect === "classic" || this.#serverComplete !== undefined;
    if (this.#tally.isComplete && isConfirmed) this.#complete.resolve();
  }

  /** Records the end of a phase. */
  #endPhase(name: string): void {
    const before = this.#phases.reduce((sum, [, ms]) => sum + ms, 0);
    this.#phases.push([name, performance.now() - this.#startedAt - before]);
  }

  #report(): void {
    const { order, pairs, expectedPairs, duplicates } = this.#tally;
    const missing = expectedPairs - pairs;
    const revision = this.#serverComplete?.revision ?? this.#server?.revision;
    const serverBytes = this.#server?.sentBytes;
    const counts = { members: order.length, links: pairs, unverified: 0, duplicates, missing, scope: "mesh" };
    if (this.#output.options.json) {
      if (this.#wasComplete) this.#output.event("complete", null, { ...counts, revision, serverBytes });
      return;
    }
    this.#output.result(`${pairs} of ${expectedPairs} links, ${duplicates} duplicate, ${missing} missing`);
  }

  #progressText(): string {
    const { order, size, pairs, expectedPairs } = this.#tally;
    const missing = this.#tally.missing();
    const reasonOf = (a: string, b: string): string | undefined =>
      this.#serverReasons.get(`${a} ${b}`) ?? this.#serverReasons.get(`${b} ${a}`);
    const named = missing
      .slice(0, maxNamedPairs)
      .map(({ a, b, reason }) => `${a} - ${b} (${reasonOf(a, b) ?? reason})`);
    const more = missing.length > named.length ? ` and ${missing.length - named.length} more` : "";
    const pairsText = missing.length === 0 ? "" : `; missing: ${named.join(", ")}${more}`;
    return `${order.length} of ${size} members have joined, and ${pairs} of ${expectedPairs} pairs are linked${pairsText}`;
  }
}
