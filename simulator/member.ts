import { type ConnectionOutput, type Endpoint, networkOf } from "../src/core/connections.js";
import { FullmeshError } from "../src/core/errors.js";
import type { Machine } from "../src/core/machine.js";
import { Queue } from "../src/core/queue.js";
import { Timers } from "../src/core/timers.js";
import { MemberMachine } from "../src/mesh/member-machine.js";
import type { MemberEvent, MemberInput, MemberOutput } from "../src/mesh/types.js";
import { type MessagingChannel, MessagingChannels, type MessagingEvent } from "../src/messaging/messaging-channel.js";
import { type Address, endpointOf, formatAddress } from "../src/protocol/address.js";
import type { Dialect, Id } from "../src/protocol/directory.js";
import { Driver } from "../src/runtime/driver.js";
import type { CheckedSimulation } from "./checked-simulation.js";
import { allowedMemberCodes, allowedRefusalCodes } from "./checkers/allowed-codes.js";
import type { MemberRun } from "./checkers/invariant-checker.js";
import type { ConnectionEnd } from "./connection-end.js";
import { SimulatedProcess } from "./engine.js";
import { FrameTap } from "./frame-tap.js";
import { Lies } from "./lies.js";
import { payloadText, quoteBytes } from "./message-text.js";
import type { Lie, MemberScript } from "./scenario.js";
import { meshName, serverAddressOf } from "./server.js";
import type { NativeMemberRun } from "./simulation-context.js";
import { Workload } from "./workload.js";

/** How often an owner tries to reach the server before it gives up. */
const patience = 10;

/** How long a native member tries to reach a server that has gone. */
export const serverLostMs = 30_000;

/** One run of a member: the real machine, and a program that makes its calls and writes on its links. */
export class SimulatedMember implements NativeMemberRun {
  readonly script: MemberScript;
  readonly dialect: Dialect;
  readonly links: MemberRun["links"] = new Map();
  readonly process: SimulatedProcess;
  readonly machine: MemberMachine<MessagingEvent>;
  /** The revision of the newest `complete`. */
  completeRevision: number | undefined;
  releasedAt: number | undefined;
  /** What it wants to hold, and with which token it believes to hold it. */
  readonly claims = new Map<string, { readonly number: number; readonly since: number; token: number | undefined }>();
  #claimsMade = 0;
  readonly #context: CheckedSimulation;
  readonly #driver: Driver<MemberInput, MemberOutput | MessagingEvent>;
  readonly #tap: FrameTap;
  /** Undefined while it tells the truth. */
  #lies: Lies | undefined;
  /** Undefined in a classic member. */
  #workload: Workload | undefined;
  /** How many links with each peer there were, and what was written on the present one. */
  readonly #written = new Map<Address, { number: number; count: number }>();
  /** How many ids it has drawn: one, and another each time that it is fenced. */
  incarnations = 0;
  #id: Id = "";
  #isListening = false;
  #isRegistered = false;
  #isWaiting = false;
  #ended: string | undefined;
  #isClosed = false;
  #failures = 0;

  constructor(context: CheckedSimulation, script: MemberScript, seed: number) {
    const { network } = context;
    // Some members are of a version that knows no batches.
    const limits = seed % 4 === 0 ? { ...context.limits, batchBytes: 0 } : context.limits;
    this.#context = context;
    this.script = script;
    this.dialect = script.dialect ?? "classic";
    const host = networkOf(endpointOf(script.address));
    this.process = new SimulatedProcess(network.engine, script.address, host, this.dialect === "classic");
    const rules = {
      dialect: this.dialect,
      mesh: meshName,
      isKeyed: false,
      draw: () => this.#draw(),
      serverLostMs,
      ...(script.claims === undefined ? {} : { advertise: script.claims }),
      seed,
      limits,
      allocate: context.memory.allocate,
    };
    const outputs = new Queue<MemberOutput | MessagingEvent>();
    const timers = new Timers();
    const channels = new MessagingChannels(outputs, limits, timers);
    if (this.dialect === "native") this.#workload = new Workload(context, this, channels);
    this.machine = new MemberMachine<MessagingEvent>(rules, outputs, timers, channels);
    this.#tap = new FrameTap(context, this);
    this.#driver = new Driver<MemberInput, MemberOutput | MessagingEvent>({
      machine: this.#recorded(),
      transport: network.transportOf(this.process),
      clock: this.process.clock,
      perform: (output) => this.#perform(output),
      onWake: { type: "flush" },
      onSend: (connection, bytes) => this.#tap.sent(connection, bytes),
    });
    this.#connect();
  }

  /** Where it listens. */
  get address(): Address {
    return this.process.name as Address;
  }

  /** How many hellos this run has sent. */
  get dials(): number {
    return this.#tap.dials;
  }

  get session(): ConnectionEnd | undefined {
    return this.#tap.session;
  }

  get reportsSince(): number | undefined {
    return this.#tap.reportsSince;
  }

  get hasLooked(): boolean {
    return this.#tap.hasLooked;
  }

  get id(): Id {
    return this.#id;
  }

  get isRegistered(): boolean {
    return this.#isRegistered;
  }

  /** It was admitted, or has its place in line. A classic member gets no message about the line. */
  get isAnswered(): boolean {
    return this.#isRegistered || this.#isWaiting;
  }

  get isOver(): boolean {
    return this.#ended !== undefined || this.process.isDead;
  }

  /** True when this run has ended and all its connections are closed. */
  get isGone(): boolean {
    return this.#isClosed || this.process.isDead;
  }

  /** From now on it says this to the server. */
  lie(lie: Lie): void {
    this.#lies = new Lies(this.#context, this, lie);
  }

  leave(): void {
    this.process.do(() => this.#driver.input({ type: "leave" }));
  }

  /** Writes a little to every peer. */
  write(): void {
    this.process.do(() => {
      if (this.#ended !== undefined) return;
      for (const peer of this.links.keys()) this.#writeTo(peer);
      for (const { peer, isOpen } of this.machine.nativeLinks) if (isOpen) this.#workload?.speak(peer);
      this.#driver.wake();
    });
  }

  /** Claims a key, or gives one up. */
  changeClaims(): void {
    const { random, now } = this.#context.network.engine;
    const key = random.chance(0.7) ? "job" : "other";
    const isEager = random.chance(0.8);
    this.process.do(() => {
      if (this.#ended !== undefined || !this.#isRegistered) return;
      if (this.claims.has(key)) {
        if (isEager) return;
        this.claims.delete(key);
        this.#driver.input({ type: "unclaim", key });
      } else {
        this.#claimsMade += 1;
        this.claims.set(key, { number: this.#claimsMade, since: now, token: undefined });
        this.#driver.input({ type: "claim", key, number: this.#claimsMade, waits: isEager });
      }
    });
  }

  #claimEvent(event: Extract<MemberEvent, { type: "claimBegun" | "claimEnded" | "claimRefused" }>): void {
    const claim = this.claims.get(event.key);
    if (claim?.number !== event.number) return;
    if (event.type === "claimBegun") {
      claim.token = event.token;
      this.#context.claimChecker.begun(this, event.key, event.token);
    } else {
      this.claims.delete(event.key);
    }
  }

  get now(): number {
    return this.#driver.now();
  }

  later(ms: number, run: () => void): void {
    const { id } = this;
    const ifThere = (): void => {
      if (id !== this.id || this.#isClosed) return;
      run();
      this.#driver.wake();
    };
    this.#context.network.engine.after(ms, () => this.process.do(ifThere));
  }

  channelWith(peer: string): MessagingChannel | undefined {
    return this.#workload?.messaging.at(peer);
  }

  /** Says a little to each peer that is listed and not linked yet, once. */
  #sendBeforeUp(): void {
    for (const { id, address } of this.machine.entries) {
      const link = this.machine.nativeLink(address);
      if (link?.reachability !== "waiting" || !this.#context.linkChecker.sendsBeforeUp(this, id, address)) continue;
      for (let count = 0; count < 3; count += 1) this.#workload?.speak(link.peer);
    }
  }

  /** The machine, with its words falsified while it lies. */
  #recorded(): Machine<MemberInput, MemberOutput | MessagingEvent> {
    const { machine } = this;
    return {
      handle: (input, now, clocks) => machine.handle(input, now, clocks),
      poll: () => {
        const output = machine.poll();
        if (output?.type === "dial") this.#checkDial(output.to);
        return output?.type === "send" && this.#lies !== undefined ? this.#lies.told(output) : output;
      },
      nextTimeout: () => machine.nextTimeout(),
    };
  }

  /** A member whose server has left it the mesh looks for no server. */
  #checkDial(to: Endpoint): void {
    if (this.releasedAt !== undefined && formatAddress(to) === serverAddressOf(this.#context.scenario))
      this.#context.invariantChecker.violate("L1", `${this.address} looks for a server that has left it the mesh`);
  }

  #draw(): Id {
    this.#id = this.#context.network.engine.draw();
    this.#context.memberRuns.set(this.#id, this);
    this.incarnations += 1;
    return this.#id;
  }

  #writeTo(peer: Address): void {
    const written = this.#written.get(peer);
    if (written === undefined) return;
    const bytes = new TextEncoder().encode(payloadText(this.#context.scenario, written.number, written.count));
    written.count += 1;
    if (this.machine.classicLink(peer)?.isHolding) this.#context.count("payload held");
    this.#driver.input({ type: "write", peer, bytes });
  }

  #watch(size: number): void {
    this.#context.network.engine.after(0, () => this.process.do(() => this.#driver.input({ type: "watch", size })));
  }

  #connect(): void {
    this.process.do(() =>
      this.#driver.input({ type: "connectToServer", servers: [endpointOf(serverAddressOf(this.#context.scenario))] }),
    );
  }

  #register(): void {
    if (this.#ended !== undefined) return;
    if (!this.#isListening) {
      this.#isListening = true;
      this.#listen(endpointOf(this.address));
    }
    this.#driver.input({ type: "register" });
  }

  #listen(on: Endpoint): void {
    this.#driver.listen(on, (outcome) => {
      if (outcome instanceof FullmeshError) return;
      this.#driver.input({ type: "listening", on: outcome, isDefault: true });
    });
  }

  #perform(output: Exclude<MemberOutput | MessagingEvent, ConnectionOutput>): void {
    const context = this.#context;
    if (output.type === "note") {
      context.record(() => `${this.address} ${JSON.stringify(output.note)}`);
      context.count(output.note.code);
      this.#refusedSomebody(output.note.code, output.note.message);
    } else if (output.type === "event") {
      context.record(() => `${this.address} ${quoteBytes(output.event)}`);
      context.count(output.event.type);
      if (this.dialect === "classic" || !this.#handleNative(output.event)) this.#handle(output.event);
    } else {
      this.#workload?.handle(output);
      this.#driver.wake();
    }
  }

  /** Without a fault nobody has a reason to refuse anybody. */
  #refusedSomebody(code: string, message: string): void {
    const { scenario, invariantChecker } = this.#context;
    if (message.startsWith("a grant of attempt")) this.#context.count("grant ignored");
    if (code === "SILENT") this.#context.count("gave up silent connection");
    // A wrong witness may take itself for the owner of links that are its peers', and others for that of its own.
    const isBlunder = allowedMemberCodes.has(code) && (code !== "NOT_OWNER" || invariantChecker.liars.size === 0);
    if (isBlunder || (allowedRefusalCodes.has(code) && scenario.isCalm && scenario.isPrompt)) {
      invariantChecker.violate("D1", `${this.address} noted ${code}: ${message}`);
    }
  }

  /** L2: a member that comes back is refused neither for lack of room nor because of others. */
  #checkRefused(reason: string): void {
    const { logChecker, invariantChecker } = this.#context;
    const isForOthers = ["MESH_SEALED", "LOOPBACK_MIX"].some((code) => reason.startsWith(code));
    if (isForOthers && logChecker.isUnheard(this.id))
      invariantChecker.violate("L2", `${this.address} came back, and was refused: ${reason}`);
  }

  /** Handles the events of native members; false for any other event. */
  #handleNative(event: MemberEvent): boolean {
    const { linkChecker, logChecker, invariantChecker, count, isSettled } = this.#context;
    const isOfClassicPeer = "peer" in event && this.links.has(event.peer);
    switch (event.type) {
      case "link":
      case "relink":
        if (event.dialect === "classic") {
          count("mixed dialect pair");
          return false;
        }
        linkChecker.up(this, event);
        return true;
      case "broken":
        linkChecker.broken(this, event.peer, event.reason);
        break;
      case "unlink":
        if (isOfClassicPeer) return false;
        if (!event.wasUp) {
          linkChecker.neverUp(this, event);
          return true;
        }
        linkChecker.ended(this, event.peer, event.unacknowledged, event.reason);
        break;
      case "directory":
        logChecker.read(this);
        // How links of older incarnations have ended is told behind this.
        if (this.#context.scenario.sendsBeforeUp === true) this.later(0, () => this.#sendBeforeUp());
        return true;
      case "complete":
        this.#context.completenessChecker.memberReport(this, event);
        this.completeRevision = event.revision ?? undefined;
        return true;
      case "claimBegun":
      case "claimEnded":
      case "claimRefused":
        this.#claimEvent(event);
        return true;
      case "fenced":
        this.#isRegistered = false;
        count("fenced and rejoined");
        break;
      default:
        return false;
    }
    if (isSettled) invariantChecker.violate("L1", `the mesh does not stay whole: ${this.address} ${quoteBytes(event)}`);
    return true;
  }

  #handle(event: MemberEvent): void {
    const { invariantChecker, network } = this.#context;
    switch (event.type) {
      case "connected":
        network.engine.after(this.script.hesitatesMs, () => this.process.do(() => this.#register()));
        break;
      case "unreachable":
        this.#failures += 1;
        if (this.#failures < patience) network.engine.after(500, () => this.#connect());
        else this.leave();
        break;
      case "registered":
        this.#isRegistered = true;
        if (this.script.watches !== undefined) this.#watch(this.script.watches);
        if (this.process.names.size > 1) this.#context.count("registered at another address");
        break;
      case "released":
        this.releasedAt = network.engine.now;
        break;
      case "waiting":
        this.#isWaiting = true;
        break;
      case "moved":
        this.#listen(endpointOf(this.address));
        break;
      case "directory":
        invariantChecker.listRead(
          this,
          event.members.map(({ address }) => address),
        );
        break;
      case "link":
        this.#written.set(event.peer, { number: (this.#written.get(event.peer)?.number ?? 0) + 1, count: 0 });
        invariantChecker.linkUp(this, event.peer, event.direction);
        break;
      case "unlink":
        invariantChecker.linkDown(this, event.peer);
        break;
      case "bytes":
        invariantChecker.received(this, event.peer, new TextDecoder().decode(event.bytes));
        break;
      case "ended":
        this.#ended = event.reason;
        // A mesh that ends incomplete has ended for everybody.
        this.#checkRefused(event.reason);
        if (event.failure === "INCOMPLETE") this.#context.count("end of a mesh that is not whole");
        else if (event.failure !== undefined && this.dialect === "native")
          this.#context.memberFailed(this.script.address);
        break;
      case "closed":
        this.#isClosed = true;
        break;
      default:
        break;
    }
  }
}
