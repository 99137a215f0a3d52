import { defaultLimits } from "../core/limits.js";
import type { Address } from "../protocol/address.js";
import type { TraceRecord } from "../runtime/trace.js";
import { isPeerConnection, SimulatedMember, SimulatedServer, type Stage } from "./cast.js";
import { type End, Network } from "./network.js";
import { Observer, type Violation } from "./observer.js";
import { cleared, type Misfortune, type Part, type Scenario, scenarioOf } from "./scenario.js";
import { World } from "./world.js";

/** What came of a run. */
export interface Outcome {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** What the run came across, and how often; shows that runs are not vacuous. */
  readonly labels: ReadonlyMap<string, number>;
  readonly steps: number;
  /** Every message in the order of sending; empty unless it was asked for. */
  readonly messages: readonly TraceRecord[];
  /** The run's history, line by line; empty unless it was asked for. */
  readonly history: readonly string[];
}

/** Options of a run. */
export interface RunOptions {
  /** Keep messages and history. */
  readonly keepsTrace?: boolean;
  /** Play this instead of what the seed says. */
  readonly scenario?: Scenario;
}

/** How long a healed mesh may take to be whole: twice the longest pause between two dials. */
const healingMs = 60_000;
/** How long an end may take: a dial under way, then the last words and the patience with who does not close. */
const endingMs = 15_000;

/** Plays the scenario of a seed. The same seed and options give the same outcome, to the byte. */
export function run(seed: number, options: RunOptions = {}): Outcome {
  return new Play(seed, options).perform();
}

class Play implements Stage {
  readonly network: Network;
  readonly observer: Observer;
  readonly scenario: Scenario;
  readonly #seed: number;
  readonly #world: World;
  readonly #keepsTrace: boolean;
  readonly #server: SimulatedServer;
  readonly #members: SimulatedMember[] = [];
  readonly #labels = new Map<string, number>();
  readonly #messages: TraceRecord[] = [];
  readonly #history: string[] = [];

  constructor(seed: number, options: RunOptions) {
    this.#seed = seed;
    this.#keepsTrace = options.keepsTrace === true;
    this.scenario = options.scenario ?? scenarioOf(seed);
    this.#world = new World(seed);
    this.network = new Network(this.#world, this.scenario.weather);
    const { delayMs, splitGapMs } = this.scenario.weather;
    this.observer = new Observer({
      now: () => this.#world.now,
      capacity: this.scenario.capacity,
      settleMs: defaultLimits.settleMs,
      mayMisread: delayMs + splitGapMs >= defaultLimits.quietMs,
    });
    this.#server = new SimulatedServer(this);
  }

  hit(label: string): void {
    this.#labels.set(label, (this.#labels.get(label) ?? 0) + 1);
  }

  trace(record: TraceRecord): void {
    if (!this.#keepsTrace) return;
    this.#messages.push(record);
    this.tell(() => `${record.from} -> ${record.to}: ${JSON.stringify(record.text)}`);
  }

  tell(line: () => string): void {
    if (this.#keepsTrace) this.#history.push(`${this.#world.now.toFixed(3)} ${line()}`);
  }

  perform(): Outcome {
    const { parts, misfortunes, healsAt } = this.scenario;
    for (const part of parts) this.#world.at(part.startsAt, () => this.#enter(part));
    for (const misfortune of misfortunes) this.#world.at(misfortune.at, () => this.#strike(misfortune));
    this.#writeNowAndThen(healsAt);
    this.#world.run(healsAt);
    this.network.weather = cleared(this.network.weather);
    const hesitation = Math.max(...parts.map((part) => part.hesitatesMs));
    this.#world.run(healsAt + hesitation + healingMs);
    this.#checkAnswered();
    if (!this.#server.isClosed && !this.#server.process.isDead) {
      this.#checkWhole();
      this.#server.teardown();
    }
    this.#world.run(this.#world.now + endingMs);
    this.#checkGone();
    if (this.scenario.isCalm) this.#checkDials();
    return {
      seed: this.#seed,
      violations: this.observer.violations,
      labels: this.#labels,
      steps: this.#world.steps,
      messages: this.#messages,
      history: this.#history,
    };
  }

  #enter(part: Part): void {
    // A port has one listener: while one life is there, the next does not begin.
    const isThere = this.#members.some((life) => life.address === part.address && !life.isGone);
    if (this.#server.process.isDead || isThere) return;
    this.#members.push(new SimulatedMember(this, part, this.#world.random.integer(0, 2 ** 31)));
  }

  #strike(misfortune: Misfortune): void {
    this.hit(`misfortune: ${misfortune.type}`);
    this.tell(() => `misfortune ${JSON.stringify(misfortune)}`);
    if (misfortune.type === "killServer") {
      this.network.kill(this.#server.process);
      return;
    }
    if (misfortune.type === "reset") {
      const ends = [...this.network.open].filter(isPeerConnection);
      const end = ends[this.#world.random.integer(0, Math.max(0, ends.length - 1))];
      if (end !== undefined) this.network.reset(end, misfortune.noticedWithinMs);
      return;
    }
    const part = this.scenario.parts[misfortune.part];
    const member = this.#members.findLast((life) => life.address === part?.address);
    if (member === undefined || part === undefined) return;
    if (misfortune.type === "leave") member.leave();
    else if (misfortune.type === "suspend") member.process.suspend(misfortune.forMs);
    else this.network.kill(member.process);
    if (misfortune.type === "restart")
      this.#world.after(misfortune.forMs, () => this.#enter({ ...part, hesitatesMs: 0 }));
  }

  #writeNowAndThen(until: number): void {
    const { random } = this.#world;
    for (let moment = 0; moment < until; moment += random.integer(500, 3_000)) {
      this.#world.at(moment, () => {
        const member = this.#members[random.integer(0, Math.max(0, this.#members.length - 1))];
        member?.write();
      });
    }
  }

  /** L2: every join has come to something. */
  #checkAnswered(): void {
    const waiting = this.scenario.onFull === "hold" ? Math.max(0, this.#alive().length - this.scenario.capacity) : 0;
    const unanswered = this.#alive().filter((member) => !member.isRegistered);
    if (unanswered.length > waiting && !this.#server.process.isDead) {
      this.observer.violate("L2", `no answer for ${unanswered.map((member) => member.address).join(" ")}`);
    }
  }

  #alive(): SimulatedMember[] {
    return this.#members.filter((member) => !member.isOver);
  }

  /** L1, S1 and S2: every two listed members are linked, once, and both ends agree on who dialed. */
  #checkWhole(): void {
    const lives = new Map(this.#alive().map((member) => [member.address, member]));
    const listed = [...this.observer.members.values()];
    for (const [index, a] of listed.entries()) {
      for (const b of listed.slice(index + 1)) this.#checkPair(lives.get(a), lives.get(b));
    }
    const connections = [...this.network.open].filter(isPeerConnection).length / 2;
    const links = [...lives.values()].reduce((sum, member) => sum + member.links.size, 0) / 2;
    if (connections !== links) this.observer.violate("S1", `${connections} connections for ${links} links`);
  }

  #checkPair(earlier: SimulatedMember | undefined, later: SimulatedMember | undefined): void {
    if (earlier === undefined || later === undefined) return;
    const pair = `${earlier.address} - ${later.address}`;
    const there = earlier.links.get(later.address)?.direction;
    const back = later.links.get(earlier.address)?.direction;
    if (there === undefined || back === undefined) this.observer.violate("L1", `${pair} not linked at both ends`);
    else if (there !== "dialed" || back !== "accepted") this.observer.violate("S2", `${pair} is ${there} and ${back}`);
  }

  /** S10: nobody is left, and no connection is. */
  #checkGone(): void {
    const left = this.#members.filter((member) => !member.isGone).map((member) => member.address);
    if (left.length > 0) this.observer.violate("S10", `${left.join(" ")} has not ended`);
    const open: End[] = [...this.network.open];
    if (open.length > 0) this.observer.violate("S10", `${open.length} ends are open`);
    if (!this.#server.isClosed && !this.#server.process.isDead)
      this.observer.violate("S10", "the server has not closed");
  }

  /** D1: in a calm run each pair of members has come about by exactly one dial. */
  #checkDials(): void {
    const listed = new Set<Address>(
      this.#members.filter((member) => member.isRegistered).map((member) => member.address),
    );
    const dials = this.#members.reduce((sum, member) => sum + member.dials, 0);
    const pairs = (listed.size * (listed.size - 1)) / 2;
    if (dials !== pairs && this.scenario.isPrompt) this.observer.violate("D1", `${dials} dials for ${pairs} pairs`);
  }
}
