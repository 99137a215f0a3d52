import type { Command } from "commander";
import { Deferred, waitFor } from "../api/waiting.js";
import { FullmeshError } from "../core/errors.js";
import type { Direction } from "../mesh/types.js";
import type { Dialect } from "../protocol/directory.js";
import { type RendezvousServer, serve } from "../server/rendezvous-server.js";
import { type CommandContext, runCommand } from "./command.js";
import { type CommonFlags, count, flag, withCommonFlags, withDialectFlag } from "./flags.js";
import { LinkTally } from "./link-tally.js";
import type { Output } from "./output.js";
import { type ChildEvent, ProcessGroup } from "./process-group.js";
import { openView } from "./progress-view.js";
import { secretFrom, withSecretFlag } from "./secret-flag.js";
import { reportServer } from "./server-reporter.js";
import { TraceFile } from "./trace-file.js";

interface UpFlags extends CommonFlags {
  readonly stay?: true;
  readonly trace?: string;
  readonly timeout?: number;
  readonly dialect: Dialect;
}

/**
 * Each member is a process of some 45 MiB with a link to every other one: 250 of them take 11 GiB and 31,125 links. More
 * would bring down the machine before it showed anything.
 */
const mostMembers = 250;
const defaultTimeoutSeconds = 60;
/** Pairs that are named when a mesh stays incomplete; the rest is counted. */
const mostNamedPairs = 10;

/** Adds `fullmesh up`. */
export function addUp(program: Command): void {
  const command = program
    .command("up")
    .argument("<n>", `how many member processes, 1 to ${mostMembers}`, (text) => count("n", text, mostMembers))
    .summary("start a server and N member processes here, and watch the mesh form")
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
  const run = new UpRun(size, { dialect: flags.dialect, ...(secret === undefined ? {} : { secret }) }, output, trace);
  onSignal(() => run.stop());
  try {
    await run.form((flags.timeout ?? defaultTimeoutSeconds) * 1000);
    if (flags.stay) await run.stay();
  } finally {
    await run.end();
    await trace?.write();
  }
}

/** What members speak, and with which secret. */
interface UpReport {
  readonly dialect: Dialect;
  readonly secret?: string;
}

/** One run of `up`, from the first process to the last. */
class UpRun {
  readonly #speech: UpReport;
  readonly #output: Output;
  readonly #trace: TraceFile | undefined;
  readonly #tally: LinkTally;
  readonly #gang: ProcessGroup;
  readonly #complete = new Deferred<void>();
  readonly #stopped = new Deferred<void>();
  #server: RendezvousServer | undefined;
  /** The server's word that the mesh is complete. */
  #attested: { readonly revision: number } | undefined;
  /** What the server knows of pairs that are missing, by their addresses. */
  #reasons: ReadonlyMap<string, string> = new Map();
  #wasComplete = false;
  #isStaying = false;
  #onChange: () => void = () => {};
  readonly #startedAt = performance.now();
  readonly #phases: [name: string, ms: number][] = [];

  constructor(size: number, speech: UpReport, output: Output, trace: TraceFile | undefined) {
    this.#speech = speech;
    this.#output = output;
    this.#trace = trace;
    this.#tally = new LinkTally(size);
    this.#gang = new ProcessGroup({
      line: (text, event) => this.#hear(text, event),
      note: (code) => {
        if (code === "ALREADY_LINKED") this.#tally.duplicateRefused();
      },
      failed: (error) => {
        this.#complete.reject(error);
        if (this.#isStaying) this.#output.error(error.code, error.message);
      },
    });
  }

  /** Starts everything, and resolves when every pair is linked. */
  async form(timeoutMs: number): Promise<void> {
    const trace = this.#trace;
    const server = await serve({
      listen: "127.0.0.1:0",
      capacity: this.#tally.size,
      // The mesh ends when this command has seen it complete, and has shown it.
      onFull: "hold",
      ...this.#speech,
      ...(trace === undefined ? {} : { trace: (record) => trace.add(record) }),
    });
    this.#server = server;
    this.#output.event("listening", null, { address: server.address }, `rendezvous on ${server.address}`);
    if (this.#output.options.json) reportServer(server, this.#output, this.#tally.size, false);
    server.on("joined", ({ address }) => {
      this.#tally.joined(address);
      if (this.#tally.order.length === this.#tally.size) this.#phase("all joined");
      this.#changed();
    });
    for (const type of ["left", "lost"] as const) {
      server.on(type, ({ address }) => this.#tally.left(address));
    }
    server.on("degraded", ({ missing }) => {
      this.#reasons = new Map(missing.map(([a, b, reason]) => [`${a} ${b}`, reason]));
    });
    server.on("complete", (completeness) => {
      this.#attested = completeness;
      this.#changed();
    });
    const view = await openView(this.#output);
    this.#onChange = () => view.update(this.#tally);
    this.#gang.start(this.#tally.size, `${server.address}`, this.#speech.dialect, this.#speech.secret);
    try {
      await waitFor(this.#complete.promise, { timeoutMs }, () => this.#explain());
      this.#wasComplete = true;
      this.#phase("mesh complete");
    } finally {
      view.finish(this.#tally);
      this.#onChange = () => {};
      this.#report();
    }
  }

  /** Resolves when the run is told to stop. */
  async stay(): Promise<void> {
    this.#isStaying = true;
    this.#output.talk("the mesh stays; end it with Ctrl-C");
    await this.#stopped.promise;
    this.#phase("stayed");
  }

  /** Breaks off whatever is under way. */
  stop(): void {
    this.#stopped.resolve();
    this.#complete.reject(new FullmeshError("ABORTED", "told to stop"));
  }

  /** Tears the mesh down, and resolves when every process has ended. */
  async end(): Promise<void> {
    const isComplete = this.#wasComplete;
    const ended = this.#gang.ended();
    if (!isComplete) this.#gang.stop();
    await this.#server?.teardown(isComplete ? "complete" : "given up");
    await ended;
    if (!isComplete) return;
    this.#phase("teardown");
    this.#output.talk(this.#phases.map(([name, ms]) => `${name} ${(ms / 1000).toFixed(2)} s`).join(", "));
  }

  #hear(text: string, event: ChildEvent): void {
    if (this.#output.options.json) this.#output.data(text);
    const { node } = event;
    const peer = String(event.peer);
    if (node !== null && event.event === "link") {
      const direction = event.direction as Direction;
      this.#tally.link(node, peer, direction);
      // A dialed link is a connection on which the hello has gone out.
      const text = event.dialect === "classic" ? `Hello from:${node}` : "hello";
      if (direction === "dialed") this.#trace?.add({ at: event.at, from: node, to: peer, text });
    } else if (node !== null && event.event === "unlink") {
      this.#tally.unlink(node, peer);
    }
    this.#changed();
  }

  #changed(): void {
    this.#onChange();
    // Native members attest their links to the server; classic ones can only tell us.
    const isAttested = this.#speech.dialect === "classic" || this.#attested !== undefined;
    if (this.#tally.isComplete && isAttested) this.#complete.resolve();
  }

  /** A phase ends now. */
  #phase(name: string): void {
    const before = this.#phases.reduce((sum, [, ms]) => sum + ms, 0);
    this.#phases.push([name, performance.now() - this.#startedAt - before]);
  }

  #report(): void {
    const { order, pairs, wanted, duplicates } = this.#tally;
    const missing = wanted - pairs;
    const revision = this.#attested?.revision ?? this.#server?.revision;
    const serverBytes = this.#server?.sentBytes;
    const counts = { members: order.length, links: pairs, unverified: 0, duplicates, missing, scope: "mesh" };
    if (this.#output.options.json) {
      if (this.#wasComplete) this.#output.event("complete", null, { ...counts, revision, serverBytes });
      return;
    }
    this.#output.data(`${pairs} of ${wanted} links, ${duplicates} duplicate, ${missing} missing`);
  }

  #explain(): string {
    const { order, size, pairs, wanted } = this.#tally;
    const missing = this.#tally.missing();
    const reasonOf = (a: string, b: string): string | undefined =>
      this.#reasons.get(`${a} ${b}`) ?? this.#reasons.get(`${b} ${a}`);
    const named = missing
      .slice(0, mostNamedPairs)
      .map(({ a, b, reason }) => `${a} - ${b} (${reasonOf(a, b) ?? reason})`);
    const more = missing.length > named.length ? ` and ${missing.length - named.length} more` : "";
    const pairsText = missing.length === 0 ? "" : `; missing: ${named.join(", ")}${more}`;
    return `${order.length} of ${size} members have joined, and ${pairs} of ${wanted} pairs are linked${pairsText}`;
  }
}
