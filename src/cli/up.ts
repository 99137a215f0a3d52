import type { Command } from "commander";
import { Deferred } from "../api/deferred.js";
import { waitWithin } from "../api/waiting.js";
import { FullmeshError } from "../core/errors.js";
import { defaultLimits, type Limits } from "../core/limits.js";
import type { Direction } from "../mesh/types.js";
import { wrapTransports } from "../nodejs/transport.js";
import type { Dialect } from "../protocol/directory.js";
import type { MeshStatus } from "../protocol/status.js";
import type { ListeningServer } from "../server/rendezvous-server.js";
import { type CommandContext, runCommand } from "./command.js";
import { ControlledTransport } from "./controlled-transport.js";
import { openDrawing } from "./drawing.js";
import { type CommonFlags, flag, parseCount, parseSecondsWithin, withCommonFlags, withDialectFlag } from "./flags.js";
import { LinkTally } from "./link-tally.js";
import { LiveMesh } from "./live-mesh.js";
import type { MemberReport } from "./member-control.js";
import { MeshControls } from "./mesh-controls.js";
import { MeshStory } from "./mesh-story.js";
import type { Output } from "./output.js";
import { type ChildEvent, type MemberProcess, ProcessGroup } from "./process-group.js";
import { canDraw, openView, type View } from "./progress-view.js";
import { secretFrom, withSecretFlag } from "./secret-source.js";
import { reportServer } from "./server-reporter.js";
import { type Step, StepPacer } from "./step-pacer.js";
import { namedStep } from "./step-text.js";
import { TraceFile } from "./trace-file.js";
import { UpServer } from "./up-server.js";
import { stepOf } from "./wire-step.js";

interface UpFlags extends CommonFlags {
  readonly stay?: true;
  /** Seconds from one step to the next; true for the default. */
  readonly slow?: number | true;
  readonly http?: string;
  readonly trace?: string;
  readonly timeout?: number;
  readonly dialect: Dialect;
}

/** Each member is a process of some 45 MiB with a link to every other one: 250 of them take 11 GiB and 31,125 links. */
const maxMembers = 250;
const defaultTimeoutSeconds = 60;
const defaultSlowSeconds = 0.5;
/** Members wait some seconds for one another, and a step is one of several within that time. */
const slowRange = { least: 0.01, most: 1.5 } as const;
/** What the server tells one member waits for the steps of all others: some four for each of them. */
const stepsOfMember = 4;
/** Missing pairs that are named in an error; the rest is counted. */
const maxNamedPairs = 10;

/** What is said above the picture while there is no server. */
const awayNotes = {
  native: "THE SERVER IS AWAY. This is what it said last; the members keep their links and look for it.",
  classic: "THE SERVER IS AWAY, and with it the mesh: classic members end with their server.",
} as const;

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
    .addOption(flag("--stay", "keep the mesh, show what happens in it, and take the keys below"))
    .addOption(
      flag(
        "--slow [seconds]",
        "one step of the wire-up at a time, so far apart, each with the reason (default: 0.5)",
      ).argParser((text) => parseSecondsWithin("slow", text, slowRange.least, slowRange.most)),
    )
    .addOption(flag("--http <ip:port>", "show the mesh in a browser here as well; port 0 takes any free one"))
    .addOption(flag("--trace <file>", "write the run as a Mermaid sequence diagram"));
  withDialectFlag(command, ["native", "classic"]);
  withSecretFlag(command);
  withCommonFlags(command, "how long the mesh may take to be complete (default: 60)");
  command.addHelpText("after", helpOfKeys);
  command.action((size: number) =>
    runCommand(command.opts<UpFlags>(), (context) => runUp(size, command.opts<UpFlags>(), context)),
  );
}

const helpOfKeys = `
Members have numbers, in the order in which they joined. A row of the picture is a
member, and so is a column: > means that the row has dialed the column, < the other
way, x that the two are not linked, * that their connection is new. Of two members the
one that joined first dials.

Keys with --stay, on a terminal:
  k  kill a member (kill -9)
  s  stop a member (SIGSTOP), so that it hangs; again: let it go on (SIGCONT)
  a  add a member
  c  cut the connection of two members
  p  partition two members, so that neither can dial the other; again: heal it
  d  end the server, and start it again 3 s later at the same port, where it knows nobody
  q  end the mesh; so does Ctrl-C
  space  with --slow: pause, and go on
Numbers before a key choose members: 3k kills member 3, 2 5c cuts 2 from 5. Without
them it is the newest member, or two at random; s and p first undo what they have done.`;

async function runUp(size: number, flags: UpFlags, { output, onSignal }: CommandContext): Promise<void> {
  const trace = flags.trace === undefined ? undefined : await TraceFile.open(flags.trace, output);
  const secret = await secretFrom(flags, output);
  const run = new UpRun(size, flags, secret, output, trace);
  onSignal(() => run.stop());
  try {
    const timeout = flags.timeout ?? (flags.slow === undefined ? defaultTimeoutSeconds : undefined);
    await run.form(timeout === undefined ? undefined : timeout * 1000);
    if (flags.stay) await run.stay();
  } finally {
    await run.end();
    await trace?.write();
  }
}

/** Nobody who waits for a step that is held is given up. */
function slowLimits(seconds: number): Partial<Limits> {
  return { silentMs: seconds * 1000, leaseMs: seconds * 1000, challengeMs: seconds * 1000 };
}

/** One run of `up`, from the first process to the last. */
class UpRun {
  readonly #dialect: Dialect;
  readonly #isToStay: boolean;
  readonly #output: Output;
  readonly #trace: TraceFile | undefined;
  readonly #tally: LinkTally;
  readonly #server: UpServer;
  readonly #processes: ProcessGroup;
  readonly #story: MeshStory;
  readonly #controls: MeshControls;
  readonly #complete = new Deferred<void>();
  readonly #stopped = new Deferred<void>();
  /** The picture, on a terminal with --stay. */
  #live: LiveMesh | undefined;
  /** The server's `complete` event of the whole mesh. */
  #serverComplete: { readonly revision: number } | undefined;
  /** The reasons of missing pairs from the server, by both addresses. */
  #serverReasons: ReadonlyMap<string, string> = new Map();
  #wasComplete = false;
  /** As the reports of classic members were last. */
  #wasWhole = false;
  #isStaying = false;
  /** With --slow, and how many members have been started. */
  readonly #pacer: StepPacer | undefined;
  #started = 0;
  #onChange: () => void = () => {};
  readonly #startedAt = performance.now();
  readonly #phases: [name: string, ms: number][] = [];

  constructor(
    size: number,
    { dialect, stay, slow, http }: UpFlags,
    secret: string | undefined,
    output: Output,
    trace: TraceFile | undefined,
  ) {
    this.#dialect = dialect;
    this.#isToStay = stay === true;
    this.#output = output;
    this.#trace = trace;
    this.#tally = new LinkTally(size);
    const stepSeconds = slow === true ? defaultSlowSeconds : slow;
    const slowSilentSeconds = stepSeconds && Math.min(3_600, Math.max(60, 2 * stepsOfMember * size * stepSeconds));
    this.#story = new MeshStory(dialect, (sentence) => this.#tell(sentence));
    this.#server = new UpServer(
      {
        // Where members can be added there is no capacity. This command ends the mesh.
        ...(this.#isToStay ? {} : { capacity: size, onFull: "hold" }),
        dialect,
        ...(slowSilentSeconds === undefined ? {} : { limits: slowLimits(slowSilentSeconds) }),
        ...(secret === undefined ? {} : { secret }),
        ...(http === undefined ? {} : { http }),
        logger: output.options.json ? output.logger : false,
        ...(trace === undefined ? {} : { trace: (record) => trace.add(record) }),
      },
      (server) => this.#serverStarted(server),
    );
    this.#processes = new ProcessGroup(
      { dialect, secret, slowSilentSeconds },
      {
        line: (text, event) => this.#childEvent(text, event),
        logged: (code) => {
          if (code === "ALREADY_LINKED") this.#tally.duplicateRefused();
        },
        failed: (error) => this.#failed(error),
        reported: (member, report) => this.#reported(member, report),
      },
    );
    if (stepSeconds !== undefined) this.#pacer = this.#slowDown(stepSeconds);
    this.#controls = new MeshControls(
      this.#processes,
      this.#server,
      this.#story,
      slowSilentSeconds ?? defaultLimits.silentMs / 1000,
      (sentence) => this.#tell(sentence),
      () => (this.#isStaying ? this.#stopped.resolve() : process.kill(process.pid, "SIGINT")),
    );
  }

  /** Starts everything, and resolves when every pair is linked. */
  async form(timeoutMs: number | undefined): Promise<void> {
    await this.#server.start();
    const { httpAddress } = this.#server;
    if (httpAddress !== undefined) this.#output.info(`the mesh is shown at http://${httpAddress}/`);
    const view = await this.#openView();
    this.#onChange = () => view?.update(this.#tally);
    // Slow ones are started one after the other, each when the ones before it are linked.
    if (this.#pacer === undefined) while (this.#started < this.#tally.size) this.#start();
    try {
      await waitWithin(this.#complete.promise, { timeoutMs }, () => this.#progressText());
      this.#wasComplete = true;
      this.#endPhase("mesh complete");
    } finally {
      view?.finish(this.#tally);
      this.#onChange = () => {};
      if (this.#live === undefined) this.#report();
    }
  }

  #start(): void {
    this.#started += 1;
    this.#processes.start(this.#server.address);
  }

  /** From now on each step of the server and the members waits for its turn. */
  #slowDown(seconds: number): StepPacer {
    const pacer = new StepPacer(
      seconds * 1000,
      (step) => this.#tellStep(step),
      () => {
        this.#live?.stepDone();
        const { order, pairs, size } = this.#tally;
        const isWhole = order.length === this.#started && pairs === (order.length * (order.length - 1)) / 2;
        if (this.#server.isRunning && isWhole && this.#started < size) this.#start();
      },
    );
    const transport = new ControlledTransport(
      (action, go) => {
        const step = stepOf(action);
        if (step === undefined) go();
        else pacer.hold("server", step, go);
      },
      (local) => pacer.connected(local, { address: "server" }),
    );
    wrapTransports((inner) => transport.wrap(inner));
    return pacer;
  }

  #reported(member: MemberProcess, report: MemberReport): void {
    if (report.type === "connected") this.#pacer?.connected(report.local, member);
    else this.#pacer?.hold(member.address, report.step, () => member.send({ type: "go", number: report.number }));
  }

  #tellStep({ to: called, ...taken }: Step): void {
    const to = called === this.#server.address ? "server" : called;
    const { number, kind, from } = taken;
    const { arrow, sentence } = namedStep({ ...taken, to }, this.#dialect, this.#story);
    this.#story.tellNow();
    this.#live?.step(arrow, from ?? "", to);
    if (this.#live !== undefined) this.#live.tell(sentence);
    else this.#output.event("step", null, { number, kind, from, to, sentence }, `${kind}: ${sentence}`);
  }

  /** Resolves when the run is told to stop. */
  async stay(): Promise<void> {
    this.#isStaying = true;
    if (this.#live === undefined) this.#output.info("the mesh stays until Ctrl-C");
    await this.#stopped.promise;
    this.#endPhase("stayed");
  }

  /** Interrupts the run. */
  stop(): void {
    this.#live?.close();
    this.#stopped.resolve();
    this.#complete.reject(new FullmeshError("ABORTED", "told to stop"));
  }

  /** Tears the mesh down, and resolves when every process has ended. */
  async end(): Promise<void> {
    this.#controls.close();
    this.#story.close();
    this.#live?.close();
    this.#pacer?.close();
    const isComplete = this.#wasComplete;
    const ended = this.#processes.ended();
    if (!isComplete || !this.#server.isRunning) this.#processes.stop();
    await this.#server.teardown(isComplete ? "complete" : "given up");
    await ended;
    if (!isComplete) return;
    this.#endPhase("teardown");
    this.#output.info(this.#phases.map(([name, ms]) => `${name} ${(ms / 1000).toFixed(2)} s`).join(", "));
  }

  /** The picture that is drawn while the mesh forms, unless one is drawn for longer. */
  async #openView(): Promise<View | undefined> {
    const isLive = this.#isToStay || this.#pacer !== undefined;
    if (!isLive || !canDraw(this.#output)) return await openView(this.#output);
    this.#live = new LiveMesh(
      await openDrawing(),
      this.#story,
      () => this.#server.address,
      () => this.#status,
    );
    const press = (key: string, numbers: readonly number[]): void => {
      if (key === " " && this.#pacer !== undefined) this.#pause(this.#pacer);
      else if (this.#isStaying || key === "q") this.#controls.press(key, numbers);
      else this.#tell("the keys work as soon as the mesh is complete");
    };
    this.#live.takeKeys(press, () => this.#controls.standing);
    return undefined;
  }

  #pause(pacer: StepPacer): void {
    pacer.pauseOrGoOn();
    this.#live?.note(pacer.isPaused ? "PAUSED: nothing is sent until you press space" : undefined);
  }

  /** What the server says; of classic members, whose links it does not know, what they say. */
  get #status(): MeshStatus | undefined {
    const { status } = this.#server;
    if (status === undefined || this.#dialect === "native") return status;
    const missing = status.missing.filter(({ a, b }) => !this.#tally.isLinked(a, b));
    const reported = missing.map((pair) => ({
      ...pair,
      reason: "its two ends have not reported one",
      since: this.#story.brokenSince(pair.a, pair.b) ?? pair.since,
    }));
    const links = { ...status.links, up: status.links.expected - missing.length };
    return { ...status, missing: reported, links, complete: status.complete && missing.length === 0 };
  }

  #serverStarted(server: ListeningServer): void {
    const { address } = server;
    // A picture has the address in its first line.
    const sentence = this.#live === undefined ? `the rendezvous server listens on ${address}` : undefined;
    this.#output.event("listening", null, { address }, sentence);
    this.#live?.note(undefined);
    if (this.#output.options.json) reportServer(server, this.#output, this.#tally.size, false);
    this.#story.follow(server);
    server.on("joined", ({ address: joined }) => {
      this.#tally.joined(joined);
      if (this.#tally.order.length === this.#tally.size && this.#phases.length === 0) this.#endPhase("all joined");
      this.#changed();
    });
    for (const type of ["left", "lost"] as const) {
      server.on(type, ({ address: gone }) => this.#tally.left(gone));
    }
    server.on("forgotten", ({ addresses }) => {
      for (const forgotten of addresses) this.#tally.left(forgotten);
    });
    server.on("degraded", ({ missing }) => {
      this.#serverReasons = new Map(missing.map(({ a, b, stage, reason }) => [`${a} ${b}`, `${stage}: ${reason}`]));
    });
    server.on("complete", (completeness) => {
      if (completeness.members === this.#tally.size) this.#serverComplete = completeness;
      this.#changed();
    });
    server.on("closed", () => this.#serverClosed());
  }

  /** At the end of the run, or when it is stopped by its key. */
  #serverClosed(): void {
    this.#story.serverStopped();
    this.#live?.note(awayNotes[this.#dialect]);
    for (const address of [...this.#tally.order]) this.#tally.left(address);
    this.#changed();
  }

  #childEvent(text: string, event: ChildEvent): void {
    if (this.#output.options.json) this.#output.result(text);
    this.#story.handle(event);
    const { node } = event;
    const peer = String(event.peer);
    if (node !== null && (event.event === "link" || event.event === "relink")) {
      const direction = event.direction as Direction;
      this.#live?.linked(node, peer);
      // A connection that takes the place of another one is no second link.
      if (event.event === "link" || this.#tally.report(node, peer) === undefined)
        this.#tally.link(node, peer, direction);
      // The dialer has sent a hello.
      const hello = event.dialect === "classic" ? `Hello from:${node}` : "hello";
      if (direction === "dialed") this.#trace?.add({ at: event.at, from: node, to: peer, text: hello });
    } else if (node !== null && (event.event === "unlink" || event.event === "unreachable")) {
      this.#tally.unlink(node, peer);
    }
    this.#changed();
  }

  #changed(): void {
    this.#onChange();
    this.#live?.changed();
    if (this.#live !== undefined && this.#dialect === "classic") this.#checkWholeness();
    // Native members report their links to the server; classic members report them only here.
    const isConfirmed = this.#dialect === "classic" || this.#serverComplete !== undefined;
    if (this.#tally.isComplete && isConfirmed) this.#complete.resolve();
  }

  /** Classic members report their links only here. */
  #checkWholeness(): void {
    const { members = [], links, complete = false } = this.#status ?? {};
    if (complete && !this.#wasWhole) this.#story.completed(members.length, links?.up ?? 0);
    this.#wasWhole = complete;
  }

  #failed(error: FullmeshError): void {
    this.#complete.reject(error);
    if (!this.#isStaying) return;
    if (this.#live === undefined) this.#output.error(error.code, error.message, error.remedy);
    else this.#tell(error.message);
  }

  /** A sentence about what has happened: in the picture, or as a line where the mesh stays without one. */
  #tell(sentence: string): void {
    if (this.#live !== undefined) this.#live.tell(sentence);
    else if (this.#isStaying && !this.#output.options.json) this.#output.info(sentence);
  }

  /** Records the end of a phase. */
  #endPhase(name: string): void {
    const before = this.#phases.reduce((sum, [, ms]) => sum + ms, 0);
    this.#phases.push([name, performance.now() - this.#startedAt - before]);
  }

  #report(): void {
    const { order, pairs, expectedPairs, duplicates } = this.#tally;
    const missing = expectedPairs - pairs;
    const revision = this.#serverComplete?.revision ?? this.#server.revision;
    const serverBytes = this.#server.sentBytes;
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
