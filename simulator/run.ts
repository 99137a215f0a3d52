import { defaultLimits, type Limits } from "../src/core/limits.js";
import { type Address, endpointOf } from "../src/protocol/address.js";
import type { Id } from "../src/protocol/directory.js";
import type { TraceRecord } from "../src/runtime/trace.js";
import type { CheckedSimulation } from "./checked-simulation.js";
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
import type { NativeRun } from "./simulation-context.js";

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
  /** Called before each event of the engine, with its moment. */
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

class Simulation implements CheckedSimulation, FaultTargets {
  readonly network: SimulatedNetwork;
  readonly invariantChecker: InvariantChecker;
  readonly scenario: Scenario;
  readonly limits: Limits;
  readonly logChecker: LogChecker;
  readonly linkChecker: LinkChecker;
  readonly messageChecker: MessageChecker;
  readonly requestChecker: RequestChecker;
  readonly streamChecker: StreamChecker;
  readonly completenessChecker: CompletenessChecker;
  readonly memberRuns = new Map<Id, NativeRun>();
  readonly serverProcess: SimulatedProcess;
  readonly members: SimulatedMember[] = [];
  isSettled = false;
  /** All members are gone: nobody is started again. */
  #isOverForAll = false;
  readonly #seed: number;
  readonly #engine: Engine;
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
    this.#engine = new Engine(seed, options.onStep);
    this.network = new SimulatedNetwork(this.#engine, this.scenario.conditions);
    const { delayMs, splitGapMs } = this.scenario.conditions;
    this.invariantChecker = new InvariantChecker({
      now: () => this.#engine.now,
      stopsAtViolation: options.stopsAtViolation === true,
      capacity: this.scenario.capacity,
      settleMs: defaultLimits.settleMs,
      // A list that is cut off in the middle of a port looks like one that ends there.
      mayMisread: delayMs + splitGapMs >= defaultLimits.quietMs || (this.#hasNatives && !this.scenario.isCalm),
    });
    this.logChecker = new LogChecker(this);
    this.linkChecker = new LinkChecker(this);
    this.messageChecker = new MessageChecker(this);
    this.requestChecker = new RequestChecker(this);
    this.streamChecker = new StreamChecker(this);
    this.completenessChecker = new CompletenessChecker(this);
    this.serverProcess = new SimulatedProcess(this.#engine, "server", endpointOf(serverAddress).host);
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
    if (this.#keepsTrace) this.#history.push(`${this.#engine.now.toFixed(3)} ${line()}`);
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
      violations: this.invariantChecker.violations,
      labels: this.#labels,
      steps: this.#engine.steps,
      messages: this.#messages,
      history: this.#history,
    };
  }

  #thrown(error: unknown): void {
    const detail = String(error instanceof Error ? error.stack : error);
    this.invariantChecker.violations.push({ invariant: "S0", at: this.#engine.now, detail });
  }

  enter(script: MemberScript): void {
    // A port has one listener: while one run is there, the next does not begin.
    const isThere = this.members.some((memberRun) => memberRun.address === script.address && !memberRun.isGone);
    if (this.serverProcess.isDead || isThere) return;
    this.members.push(new SimulatedMember(this, script, this.#engine.random.integer(0, 2 ** 31)));
  }

  failed(address: Address): void {
    const script = this.scenario.scripts.find((one) => one.address === address);
    const comebacks = (this.#comebacks.get(address) ?? 0) + 1;
    if (script === undefined || comebacks > mostComebacks) return;
    this.#comebacks.set(address, comebacks);
    this.#engine.after(2_000, () => {
      if (!this.isSettled && !this.#isOverForAll && !this.#isServerGone) this.enter({ ...script, hesitatesMs: 0 });
    });
  }

  get #isServerGone(): boolean {
    return this.#server.isClosed || this.serverProcess.isDead;
  }

  get #hasNatives(): boolean {
    return this.scenario.scripts.some(({ dialect }) => dialect === "native");
  }

  #play(): void {
    const { scripts, faults, healsAt } = this.scenario;
    for (const script of scripts) this.#engine.at(script.startsAt, () => this.enter(script));
    for (const fault of faults) this.#engine.at(fault.at, () => this.#strike(fault));
    this.#writeNowAndThen(healsAt);
    this.#lookForPromptness();
    this.#engine.run(healsAt);
    this.network.conditions = withoutFaults(this.network.conditions);
    this.#heal();
    this.#checkForgotten();
    if (!this.#isServerGone) {
      if (this.completenessChecker.endsBy !== undefined)
        this.invariantChecker.violate("S9", "a full mesh does not end");
      this.#checkWhole();
      this.#server.teardown();
    }
    this.#end();
    if (this.scenario.isCalm) this.#checkDials();
  }

  #lookForPromptness(): void {
    const { honest, healsAt, scripts } = this.scenario;
    if (honest === undefined) return;
    const addresses = new Set(honest.scripts.map((number) => scripts[number]?.address));
    const latencyChecker = new LinkLatencyChecker(this, honest.withinMs);
    for (let moment = 0; moment < healsAt; moment += lookOftenMs) {
      this.#engine.at(moment, () => latencyChecker.look(this.members.filter(({ address }) => addresses.has(address))));
    }
  }

  #strike(fault: Fault): void {
    this.hit(`fault: ${fault.type}`);
    this.tell(() => `fault ${JSON.stringify(fault)}`);
    injectFault(this, fault);
  }

  #writeNowAndThen(until: number): void {
    const { random } = this.#engine;
    const [shortest, longest] = this.#hasNatives ? [20, 800] : [500, 3_000];
    for (let moment = 0; moment < until; moment += random.integer(shortest, longest)) {
      this.#engine.at(moment, () => {
        const member = this.members[random.integer(0, Math.max(0, this.members.length - 1))];
        member?.write();
      });
    }
  }

  /** When the last fault is over, and the last member has entered. */
  get #mendedAt(): number {
    const { scripts, faults, healsAt } = this.scenario;
    const ends = faults.map((one) => ("forMs" in one && Number.isFinite(one.forMs) ? one.at + one.forMs : one.at));
    // eslint-disable-next-line no-restricted-syntax -- a scenario has few of both
    return Math.max(healsAt, ...ends) + Math.max(...scripts.map((script) => script.hesitatesMs));
  }

  /** Gives the mesh the time to become whole, and sees that it stays so. */
  #heal(): void {
    if (!this.#hasNatives) {
      // eslint-disable-next-line no-restricted-syntax -- a scenario has few members
      const hesitation = Math.max(...this.scenario.scripts.map((script) => script.hesitatesMs));
      this.#engine.run(this.scenario.healsAt + hesitation + healingMs);
      return;
    }
    const mendedAt = this.#mendedAt;
    this.#engine.run(mendedAt);
    // A full mesh ends by itself, a settle time after it is whole, or when it has not become so in time.
    const deadline = (): number => Math.max(mendedAt + healingMs, this.completenessChecker.endsBy ?? 0);
    const isOver = (): boolean => this.#isServerGone || this.#engine.now >= deadline();
    const isWhole = (): boolean => this.completenessChecker.endsBy === undefined && this.#recoveryFault() === undefined;
    do {
      this.#runUntil(deadline(), () => isOver() || isWhole());
      // The newest reports are on their way.
      this.#engine.run(this.#engine.now + reportLagMs(this));
    } while (!isOver() && !isWhole());
    if (isOver() || this.members.every((member) => member.isOver)) return;
    this.isSettled = true;
    this.hit("found whole");
    const { often, seldom } = stayingMs;
    this.#runUntil(this.#engine.now + (this.#engine.random.chance(0.2) ? seldom : often), () => this.#isServerGone);
  }

  /** N26: when all members have died, the server is a lease later as it was at its start. */
  #checkForgotten(): void {
    if (this.#isServerGone || this.members.some((member) => !member.isOver)) return;
    this.#isOverForAll = true;
    const { silentMs, leaseMs, challengeMs, finishMs, settleMs } = this.limits;
    this.hit("all members gone");
    // A dial-back to somebody who has just gone may still be under way.
    const endMs = this.completenessChecker.endsBy === undefined ? 0 : finishMs + settleMs;
    const withinMs = silentMs + leaseMs + 2 * challengeMs + endMs;
    this.#runUntil(this.#engine.now + withinMs, () => this.#isServerGone || this.#server.kept === 0);
    if (this.#isServerGone || this.#server.kept === 0) return;
    this.invariantChecker.violate("N26", `all members are gone, and the server keeps ${this.#server.kept} things`);
  }

  #recoveryFault(): ReturnType<typeof firstRecoveryFault> {
    return firstRecoveryFault(this, this.#server, this.members);
  }

  #checkWhole(): void {
    const recoveryFault = this.#recoveryFault();
    this.isSettled = false;
    if (recoveryFault !== undefined) this.invariantChecker.violate(recoveryFault.invariant, recoveryFault.detail);
  }

  /** Lets the time pass until nobody is left. */
  #end(): void {
    const patience = this.#hasNatives ? endingMs + serverLostMs + this.limits.silentMs : endingMs;
    this.#runUntil(this.#engine.now + patience, () => {
      return this.#isServerGone && this.members.every(({ isGone }) => isGone) && [...this.network.open].length === 0;
    });
    this.#checkGone();
  }

  #runUntil(deadline: number, isDone: () => boolean): void {
    while (this.#engine.now < deadline && !isDone()) this.#engine.run(Math.min(deadline, this.#engine.now + lookMs));
  }

  /** S10: nobody is left, and no connection is. S8: every link that there was has been told to have ended. */
  #checkGone(): void {
    const left = this.members.filter((member) => !member.isGone).map((member) => member.address);
    if (left.length > 0) this.invariantChecker.violate("S10", `${left.join(" ")} has not ended`);
    const open = [...this.network.open];
    if (open.length > 0) this.invariantChecker.violate("S10", `${open.length} ends are open`);
    if (!this.#isServerGone) this.invariantChecker.violate("S10", "the server has not closed");
    for (const member of this.members) {
      if (member.process.isDead) continue;
      this.requestChecker.checkSettled(member.id, member.address);
      if (this.linkChecker.count(member) === 0) continue;
      this.invariantChecker.violate("S8", `${member.address} is gone, and did not tell how all of its links ended`);
    }
  }

  /** D1: in a calm run each pair of members has come about by exactly one dial. */
  #checkDials(): void {
    const listed = new Set<Address>(
      this.members.filter((member) => member.isRegistered).map((member) => member.address),
    );
    const dials = this.members.reduce((sum, member) => sum + member.dials, 0);
    const pairs = (listed.size * (listed.size - 1)) / 2;
    if (dials !== pairs && this.scenario.isPrompt)
      this.invariantChecker.violate("D1", `${dials} dials for ${pairs} pairs`);
  }
}
