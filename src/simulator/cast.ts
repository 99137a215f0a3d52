import { FullmeshError } from "../core/errors.js";
import { defaultLimits } from "../core/limits.js";
import type { SeededRandom } from "../core/random.js";
import { Member } from "../mesh/member.js";
import type { MemberEvent, MemberInput, MemberOutput } from "../mesh/vocabulary.js";
import { type Address, endpointOf } from "../protocol/address.js";
import { teardownWord } from "../protocol/classic/list.js";
import type { Change, Id } from "../protocol/directory.js";
import { Rendezvous } from "../rendezvous/rendezvous.js";
import type { RendezvousInput, RendezvousOutput } from "../rendezvous/vocabulary.js";
import { Driver } from "../runtime/driver.js";
import { MemoryLog } from "../runtime/memory-log.js";
import type { TraceRecord } from "../runtime/trace.js";
import type { End, Network } from "./network.js";
import type { Life, Observer } from "./observer.js";
import type { Part, Scenario } from "./scenario.js";
import { SimulatedProcess } from "./world.js";

/** Where the simulated server listens. */
export const serverAddress: Address = "10.0.1.1:4000";

/** What the stage gives to those who play on it. */
export interface Stage {
  readonly network: Network;
  readonly observer: Observer;
  readonly scenario: Scenario;
  /** Something that a run should come across now and then has happened. */
  hit(label: string): void;
  /** A message is sent. */
  trace(record: TraceRecord): void;
  /** A line of the run's history, made only if somebody wants it. */
  tell(line: () => string): void;
}

/** The rendezvous server on the stage: the real machine behind a log that may answer late. */
export class SimulatedServer {
  readonly process: SimulatedProcess;
  readonly machine: Rendezvous;
  readonly #stage: Stage;
  readonly #driver: Driver<RendezvousInput, RendezvousOutput>;
  readonly #log = new MemoryLog();
  #newestAppendAt = 0;
  #isOrdered = false;
  #isClosed = false;

  constructor(stage: Stage) {
    const { scenario, network } = stage;
    this.#stage = stage;
    this.process = new SimulatedProcess(network.world, "server", endpointOf(serverAddress).host);
    this.machine = new Rendezvous({
      capacity: scenario.capacity,
      onFull: scenario.onFull,
      mayAdvertise: () => false,
      dialect: "any",
      endWord: teardownWord,
      isKeyed: false,
      draw: () => drawId(network.world.random),
      firstRevision: 0,
      limits: defaultLimits,
    });
    this.#driver = new Driver<RendezvousInput, RendezvousOutput>({
      machine: this.machine,
      transport: network.transportOf(this.process),
      clock: this.process.clock,
      perform: (output) => this.#perform(output),
      onSend: (connection, bytes) => {
        const to = this.machine.addressOf(connection);
        if (to === undefined) return;
        stage.trace({ at: network.world.now, from: "server", to, text: new TextDecoder().decode(bytes) });
      },
    });
    this.#driver.listen(endpointOf(serverAddress), () => {});
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  teardown(): void {
    this.#isOrdered = true;
    this.process.do(() => this.#driver.input({ type: "teardown", reason: "the play is over" }));
  }

  #perform(output: RendezvousOutput): void {
    const stage = this.#stage;
    if (output.type === "append") {
      this.#append(output.mesh, output.change);
    } else if (output.type === "event") {
      const { event } = output;
      stage.tell(() => `server ${JSON.stringify(event)}`);
      stage.observer.serverTold(event, this.#isOrdered);
      stage.hit(event.type);
      if (event.type === "closed") this.#isClosed = true;
    } else if (output.type === "note") {
      stage.tell(() => `server ${JSON.stringify(output.note)}`);
      stage.hit(output.note.code);
    }
  }

  /** The log answers in the order in which it was asked, at once or some time later. */
  #append(mesh: string, change: Change): void {
    const { network, scenario } = this.#stage;
    const { world } = network;
    const delayMs = world.random.next() * scenario.logDelayMs;
    const at = Math.max(this.#newestAppendAt, world.now + delayMs);
    if (at > world.now) this.#stage.hit("append in flight");
    this.#newestAppendAt = at;
    const entry = this.#log.append(change);
    const answer = (): void => this.process.do(() => this.#driver.input({ type: "appended", mesh, entry }));
    if (at > world.now) world.at(at, answer);
    else answer();
  }
}

/** 128 bits of a world that repeats itself. */
function drawId(random: SeededRandom): Id {
  return Array.from({ length: 32 }, () => random.integer(0, 15).toString(16)).join("");
}

/** How often an owner tries to reach the server before it gives up. */
const patience = 10;

/** One life of a member on the stage: the real machine, and an owner who takes its steps and writes on its links. */
export class SimulatedMember implements Life {
  readonly address: Address;
  readonly links: Life["links"] = new Map();
  readonly process: SimulatedProcess;
  readonly machine: Member;
  readonly #stage: Stage;
  readonly #part: Part;
  readonly #driver: Driver<MemberInput, MemberOutput>;
  /** How many links with a peer there have been, and what has been written on the present one. */
  readonly #written = new Map<Address, { number: number; count: number }>();
  #isListening = false;
  #isRegistered = false;
  #ended: string | undefined;
  #isClosed = false;
  #dials = 0;
  #failures = 0;

  constructor(stage: Stage, part: Part, seed: number) {
    const { network } = stage;
    this.#stage = stage;
    this.#part = part;
    this.address = part.address;
    this.process = new SimulatedProcess(network.world, part.address, endpointOf(part.address).host);
    this.machine = new Member({
      dialect: "classic",
      mesh: "default",
      isKeyed: false,
      draw: () => drawId(network.world.random),
      serverLostMs: Number.POSITIVE_INFINITY,
      seed,
      limits: defaultLimits,
    });
    this.#driver = new Driver<MemberInput, MemberOutput>({
      machine: this.machine,
      transport: network.transportOf(this.process),
      clock: this.process.clock,
      perform: (output) => this.#perform(output),
      onSend: (connection, bytes) => {
        const to = this.machine.nameOf(connection) ?? "?";
        const text = new TextDecoder().decode(bytes);
        if (text.startsWith("Hello")) this.#dials += 1;
        stage.trace({ at: network.world.now, from: this.address, to, text });
      },
    });
    this.#connect();
  }

  /** How many hellos this life has said. */
  get dials(): number {
    return this.#dials;
  }

  get isRegistered(): boolean {
    return this.#isRegistered;
  }

  get isOver(): boolean {
    return this.#ended !== undefined || this.process.isDead;
  }

  /** True when nothing of this life is left. */
  get isGone(): boolean {
    return this.#isClosed || this.process.isDead;
  }

  leave(): void {
    this.process.do(() => this.#driver.input({ type: "leave" }));
  }

  /** Writes a little to every peer. */
  write(): void {
    this.process.do(() => {
      if (this.#ended !== undefined) return;
      for (const peer of this.links.keys()) {
        const written = this.#written.get(peer);
        if (written === undefined) continue;
        const bytes = new TextEncoder().encode(payloadText(this.#stage.scenario, written.number, written.count));
        written.count += 1;
        if (this.machine.classicLink(peer)?.isHolding) this.#stage.hit("payload held");
        this.#driver.input({ type: "write", peer, bytes });
      }
    });
  }

  #connect(): void {
    this.process.do(() => this.#driver.input({ type: "connectToServer", to: endpointOf(serverAddress) }));
  }

  #perform(output: MemberOutput): void {
    const stage = this.#stage;
    if (output.type === "note") {
      stage.tell(() => `${this.address} ${JSON.stringify(output.note)}`);
      stage.hit(output.note.code);
      this.#refusedSomebody(output.note.code);
    } else if (output.type === "event") {
      stage.tell(() => `${this.address} ${JSON.stringify(output.event)}`);
      stage.hit(output.event.type);
      this.#hear(output.event);
    }
  }

  /** Without a fault nobody has a reason to refuse anybody. */
  #refusedSomebody(code: string): void {
    const isRefusal = ["ALREADY_LINKED", "WRONG_DIRECTION", "UNKNOWN_PEER", "HELLO_FROM_SELF", "BAD_HELLO"].includes(
      code,
    );
    const { scenario, observer } = this.#stage;
    if (isRefusal && scenario.isCalm && scenario.isPrompt) observer.violate("D1", `${this.address} noted ${code}`);
  }

  #hear(event: MemberEvent): void {
    const { observer, network } = this.#stage;
    switch (event.type) {
      case "connected":
        network.world.after(this.#part.hesitatesMs, () => this.process.do(() => this.#register()));
        break;
      case "unreachable":
        this.#failures += 1;
        if (this.#failures < patience) network.world.after(500, () => this.#connect());
        else this.leave();
        break;
      case "registered":
        this.#isRegistered = true;
        break;
      case "directory":
        observer.listRead(this, event.members);
        break;
      case "link":
        this.#written.set(event.peer, { number: (this.#written.get(event.peer)?.number ?? 0) + 1, count: 0 });
        observer.linkUp(this, event.peer, event.direction);
        break;
      case "unlink":
        observer.linkDown(this, event.peer);
        break;
      case "bytes":
        observer.heard(this, event.peer, new TextDecoder().decode(event.bytes));
        break;
      case "ended":
        this.#ended = event.reason;
        break;
      case "closed":
        this.#isClosed = true;
        break;
      default:
        break;
    }
  }

  #register(): void {
    if (this.#ended !== undefined) return;
    if (!this.#isListening) {
      this.#isListening = true;
      this.#driver.listen(endpointOf(this.address), (on) => {
        if (!(on instanceof FullmeshError)) this.#driver.input({ type: "listening", on });
      });
    }
    this.#driver.input({ type: "register" });
  }
}

/**
 * What is written on a link: its number and a count. Where messages may lag too much, a payload that begins with a digit
 * could be taken for a part of the hello's port, which no reader of this dialect can tell; there it begins with a letter.
 */
function payloadText({ isPrompt }: Scenario, link: number, count: number): string {
  return `${isPrompt ? "" : "x"}${link}:${count};`;
}

/** True for a connection between two members, open at both ends. */
export function isPeerConnection(end: End): boolean {
  const { other } = end;
  return other !== undefined && !other.isClosed && end.process.name !== "server" && other.process.name !== "server";
}
