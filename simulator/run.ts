import { defaultLimits, type Limits } from "../src/core/limits.js";
import { type Address, endpointOf } from "../src/protocol/address.js";
import type { Id } from "../src/protocol/directory.js";
import type { TraceRecord } from "../src/runtime/trace.js";
import { CompletenessChecker } from "./checkers/completeness-checker.js";
import { InvariantChecker, StopAtViolation, type Violation } from "./checkers/invariant-checker.js";
import { LinkChecker } from "./checkers/link-checker.js";
import { LinkLatencyChecker } from "./checkers/link-latency-checker.js";
import { LogChecker, reportLagMs } from "./checkers/log-checker.js";
import { MessageChecker } from "./checkers/message-checker.js";
import { firstRecoveryFault } from "./checkers/recovery.js";
import { RequestChecker } from "./checkers/request-checker.js";
import { StreamChecker } from "./checkers/stream-checker.js";
import { Engine, SimulatedProcess } from "./engine.js";
import { type FaultTargets, injectFault } from "./faults.js";
import { SimulatedMember, serverLostMs } from "./member.js";
import { scenarioOf } from "./native-scenario.js";
import { SimulatedNetwork } from "./network.js";
import { type Fault, type MemberScript, type Scenario, type ScenarioKind, withoutFaults } from "./scenario.js";
import { SimulatedServer, serverAddress } from "./server.js";
import type { NativeRun, SimulationContext } from "./simulation-context.js";

/** What came of a run. */
export interface SimulationResult {
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
  /** Which members play; classic ones if it is not said. */
  readonly kind?: ScenarioKind;
  /** Keep messages and history. */
  readonly keepsTrace?: boolean;
  /** Stop at the first violation: what follows from it may be much, and says nothing new. */
  readonly stopsAtViolation?: boolean;
  /** Play this instead of what the seed says. */
  readonly scenario?: Scenario;
  /** Called before each event of the world, with its moment. */
  readonly onStep?: (now: number) => void;
}

/** How long a mended mesh may take to be whole: twice the longest pause between two dials. */
const healingMs = 60_000;
/** How long an end may take: a dial under way, then the last words and the patience with who does not close. */
const endingMs = 15_000;
/** A whole mesh stays whole for so long; now and then the longer time, in which probes would show a dead connection. */
const stayingMs = { often: 1_000, seldom: 20_000 };
/** How often it is looked whether a mesh is whole, or gone. */
const lookMs = 500;
/** How often it is looked whether a pair has come about in time. */
const lookOftenMs = 20;
/** How often a member that has failed is started again. */
const mostComebacks = 3;

/** Plays the scenario of a seed. The same seed and options give the same outcome, to the byte. */
export function run(seed: number, options: RunOptions = {}): SimulationResult {
  return new Simulation(seed, options).perform();
}

class Simulation implements SimulationContext, FaultTargets {
  readonly network: SimulatedNetwork;
  readonly observer: InvariantChecker;
  readonly scenario: Scenario;
  readonly limits: Limits;
  readonly ledger: LogChecker;
  readonly bonds: LinkChecker;
  readonly mail: MessageChecker;
  readonly errands: RequestChecker;
  readonly currents: StreamChecker;
  readonly wholeness: CompletenessChecker;
  readonly lives = new Map<Id, NativeRun>();
  readonly serverProcess: SimulatedProcess;
  readonly members: SimulatedMember[] = [];
  isSettled = false;
  /** All members are gone: nobody is started again. */
  #isOverForAll = false;
  readonly #seed: number;
  readonly #world: Engine;
  readonly #keepsTrace: boolean;
  readonly #server: SimulatedServer;
  readonly #comebacks = new Map<Address, number>();
  readonly #labels = new Map<string, number>();
  readonly #messages: TraceRecord[] = [];
  readonly #history: string[] = [];

  constructor(seed: number, options: RunOptions) {
    this.#seed = seed;
    this.#keepsTrace = options.keepsTrace === true;
    this.scenario = options.scenario ?? scenarioOf(seed, options.kind ?? "classic");
    this.limits = { ...defaultLimits, ...this.scenario.limits };
    this.#world = new Engine(seed, options.onStep);
    this.network = new SimulatedNetwork(this.#world, this.scenario.weather);
    const { delayMs, splitGapMs } = this.scenario.weather;
    this.observer = new InvariantChecker({
      now: () => this.#world.now,
      stopsAtViolation: options.stopsAtViolation === true,
      capacity: this.scenario.capacity,
      settleMs: defaultLimits.settleMs,
      // A list that is cut off in the middle of a port looks like one that ends there.
      mayMisread: delayMs + splitGapMs >= defaultLimits.quietMs || (this.#hasNatives && !this.scenario.isCalm),
    });
    this.ledger = new LogChecker(this);
    this.bonds = new LinkChecker(this);
    this.mail = new MessageChecker(this);
    this.errands = new RequestChecker(this);
    this.currents = new StreamChecker(this);
    this.wholeness = new CompletenessChecker(this);
    this.serverProcess = new SimulatedProcess(this.#world, "server", endpointOf(serverAddress).host);
    this.#server = new SimulatedServer(this);
  }

  hit = (label: string): void => {
    this.#labels.set(label, (this.#labels.get(label) ?? 0) + 1);
  };

  trace = (record: () => TraceRecord): void => {
    if (!this.#keepsTrace) return;
    const message = record();
    this.#messages.push(message);
    this.tell(() => `${message.from} -> ${message.to}: ${JSON.stringify(message.text)}`);
  };

  tell = (line: () => string): void => {
    if (this.#keepsTrace) this.#history.push(`${this.#world.now.toFixed(3)} ${line()}`);
  };

  perform(): SimulationResult {
    try {
      this.#play();
    } catch (error) {
      // A machine that comes to a state which its tables do not have says so by throwing.
      if (!(error instanceof StopAtViolation)) this.#thrown(error);
    }
    return {
      seed: this.#seed,
      violations: this.observer.violations,
      labels: this.#labels,
      steps: this.#world.steps,
      messages: this.#messages,
      history: this.#history,
    };
  }

  #thrown(error: unknown): void {
    const detail = String(error instanceof Error ? error.stack : error);
    this.observer.violations.push({ invariant: "S0", at: this.#world.now, detail });
  }

  enter(part: MemberScript): void {
    // A port has one listener: while one life is there, the next does not begin.
    const isThere = this.members.some((life) => life.address === part.address && !life.isGone);
    if (this.serverProcess.isDead || isThere) return;
    this.members.push(new SimulatedMember(this, part, this.#world.random.integer(0, 2 ** 31)));
  }

  failed(address: Address): void {
    const part = this.scenario.parts.find((one) => one.address === address);
    const comebacks = (this.#comebacks.get(address) ?? 0) + 1;
    if (part === undefined || comebacks > mostComebacks) return;
    this.#comebacks.set(address, comebacks);
    this.#world.after(2_000, () => {
      if (!this.isSettled && !this.#isOverForAll && !this.#isServerGone) this.enter({ ...part, hesitatesMs: 0 });
    });
  }

  get #isServerGone(): boolean {
    return this.#server.isClosed || this.serverProcess.isDead;
  }

  get #hasNatives(): boolean {
    return this.scenario.parts.some(({ dialect }) => dialect === "native");
  }

  #play(): void {
    const { parts, misfortunes, healsAt } = this.scenario;
    for (const part of parts) this.#world.at(part.startsAt, () => this.enter(part));
    for (const misfortune of misfortunes) this.#world.at(misfortune.at, () => this.#strike(misfortune));
    this.#writeNowAndThen(healsAt);
    this.#lookForPromptness();
    this.#world.run(healsAt);
    this.network.weather = withoutFaults(this.network.weather);
    this.#heal();
    this.#checkForgotten();
    if (!this.#isServerGone) {
      if (this.wholeness.endsBy !== undefined) this.observer.violate("S9", "a full mesh does not end");
      this.#checkWhole();
      this.#server.teardown();
    }
    this.#end();
    if (this.scenario.isCalm) this.#checkDials();
  }

  #lookForPromptness(): void {
    const { honest, healsAt, parts } = this.scenario;
    if (honest === undefined) return;
    const addresses = new Set(honest.parts.map((number) => parts[number]?.address));
    const promptness = new LinkLatencyChecker(this, honest.withinMs);
    for (let moment = 0; moment < healsAt; moment += lookOftenMs) {
      this.#world.at(moment, () => promptness.look(this.members.filter(({ address }) => addresses.has(address))));
    }
  }

  #strike(misfortune: Fault): void {
    this.hit(`misfortune: ${misfortune.type}`);
    this.tell(() => `misfortune ${JSON.stringify(misfortune)}`);
    injectFault(this, misfortune);
  }

  #writeNowAndThen(until: number): void {
    const { random } = this.#world;
    const [shortest, longest] = this.#hasNatives ? [20, 800] : [500, 3_000];
    for (let moment = 0; moment < until; moment += random.integer(shortest, longest)) {
      this.#world.at(moment, () => {
        const member = this.members[random.integer(0, Math.max(0, this.members.length - 1))];
        member?.write();
      });
    }
  }

  /** When the last misfortune is over, and the last part has entered. */
  get #mendedAt(): number {
    const { parts, misfortunes, healsAt } = this.scenario;
    const ends = misfortunes.map((one) => ("forMs" in one && Number.isFinite(one.forMs) ? one.at + one.forMs : one.at));
    // eslint-disable-next-line no-restricted-syntax -- a scenario has few of both
    return Math.max(healsAt, ...ends) + Math.max(...parts.map((part) => part.hesitatesMs));
  }

  /** Gives the mesh the time to become whole, and sees that it stays so. */
  #heal(): void {
    if (!this.#hasNatives) {
      // eslint-disable-next-line no-restricted-syntax -- a scenario has few parts
      const hesitation = Math.max(...this.scenario.parts.map((part) => part.hesitatesMs));
      this.#world.run(this.scenario.healsAt + hesitation + healingMs);
      return;
    }
    const mendedAt = this.#mendedAt;
    this.#world.run(mendedAt);
    // A full mesh ends by itself, a settle time after it is whole, or when it has not become so in time.
    const deadline = (): number => Math.max(mendedAt + healingMs, this.wholeness.endsBy ?? 0);
    const isOver = (): boolean => this.#isServerGone || this.#world.now >= deadline();
    const isWhole = (): boolean => this.wholeness.endsBy === undefined && this.#amiss() === undefined;
    do {
      this.#runUntil(deadline(), () => isOver() || isWhole());
      // The newest reports are on their way.
      this.#world.run(this.#world.now + reportLagMs(this));
    } while (!isOver() && !isWhole());
    if (isOver() || this.members.every((member) => member.isOver)) return;
    this.isSettled = true;
    this.hit("found whole");
    const { often, seldom } = stayingMs;
    this.#runUntil(this.#world.now + (this.#world.random.chance(0.2) ? seldom : often), () => this.#isServerGone);
  }

  /** N26: when all members have died, the server is a lease later as it was at its start. */
  #checkForgotten(): void {
    if (this.#isServerGone || this.members.some((member) => !member.isOver)) return;
    this.#isOverForAll = true;
    const { silentMs, leaseMs, challengeMs, finishMs, settleMs } = this.limits;
    this.hit("all members gone");
    // A dial-back to somebody who has just gone may still be under way.
    const endMs = this.wholeness.endsBy === undefined ? 0 : finishMs + settleMs;
    const withinMs = silentMs + leaseMs + 2 * challengeMs + endMs;
    this.#runUntil(this.#world.now + withinMs, () => this.#isServerGone || this.#server.kept === 0);
    if (this.#isServerGone || this.#server.kept === 0) return;
    this.observer.violate("N26", `all members are gone, and the server keeps ${this.#server.kept} things`);
  }

  #amiss(): ReturnType<typeof firstRecoveryFault> {
    return firstRecoveryFault(this, this.#server, this.members);
  }

  #checkWhole(): void {
    const amiss = this.#amiss();
    this.isSettled = false;
    if (amiss !== undefined) this.observer.violate(amiss.invariant, amiss.detail);
  }

  /** Lets the time pass until nobody is left. */
  #end(): void {
    const patience = this.#hasNatives ? endingMs + serverLostMs + this.limits.silentMs : endingMs;
    this.#runUntil(this.#world.now + patience, () => {
      return this.#isServerGone && this.members.every(({ isGone }) => isGone) && [...this.network.open].length === 0;
    });
    this.#checkGone();
  }

  #runUntil(deadline: number, isDone: () => boolean): void {
    while (this.#world.now < deadline && !isDone()) this.#world.run(Math.min(deadline, this.#world.now + lookMs));
  }

  /** S10: nobody is left, and no connection is. S8: every link that there was has been told to have ended. */
  #checkGone(): void {
    const left = this.members.filter((member) => !member.isGone).map((member) => member.address);
    if (left.length > 0) this.observer.violate("S10", `${left.join(" ")} has not ended`);
    const open = [...this.network.open];
    if (open.length > 0) this.observer.violate("S10", `${open.length} ends are open`);
    if (!this.#isServerGone) this.observer.violate("S10", "the server has not closed");
    for (const member of this.members) {
      if (member.process.isDead) continue;
      this.errands.checkSettled(member.id, member.address);
      if (this.bonds.count(member) === 0) continue;
      this.observer.violate("S8", `${member.address} is gone, and did not tell how all of its links ended`);
    }
  }

  /** D1: in a calm run each pair of members has come about by exactly one dial. */
  #checkDials(): void {
    const listed = new Set<Address>(
      this.members.filter((member) => member.isRegistered).map((member) => member.address),
    );
    const dials = this.members.reduce((sum, member) => sum + member.dials, 0);
    const pairs = (listed.size * (listed.size - 1)) / 2;
    if (dials !== pairs && this.scenario.isPrompt) this.observer.violate("D1", `${dials} dials for ${pairs} pairs`);
  }
}
