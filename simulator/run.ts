import { networkOf } from "../src/core/connections.js";
import { defaultLimits, type Limits } from "../src/core/limits.js";
import { type Address, endpointOf } from "../src/protocol/address.js";
import type { Id } from "../src/protocol/directory.js";
import type { TraceRecord } from "../src/runtime/trace.js";
import type { CheckedSimulation } from "./checked-simulation.js";
import { ClaimChecker } from "./checkers/claim-checker.js";
import { CompletenessChecker } from "./checkers/completeness-checker.js";
import { InvariantChecker, StopAtViolation, type Violation } from "./checkers/invariant-checker.js";
import { LinkChecker } from "./checkers/link-checker.js";
import { LinkLatencyChecker } from "./checkers/link-latency-checker.js";
import { LogChecker, reportLagMs } from "./checkers/log-checker.js";
import { MessageChecker } from "./checkers/message-checker.js";
import { firstRecoveryFault } from "./checkers/recovery.js";
import { firstReleaseFault } from "./checkers/release.js";
import { RequestChecker } from "./checkers/request-checker.js";
import { StreamChecker } from "./checkers/stream-checker.js";
import { Engine, SimulatedProcess } from "./engine.js";
import { type FaultTargets, injectFault } from "./faults.js";
import { SimulatedMember, serverLostMs } from "./member.js";
import { scenarioOf } from "./native-scenario.js";
import { SimulatedNetwork } from "./network.js";
import { PageMemory } from "./page-memory.js";
import { type Fault, type MemberScript, type Scenario, type ScenarioKind, withoutFaults } from "./scenario.js";
import { SimulatedServer, serverAddressOf } from "./server.js";
import type { NativeRun } from "./simulation-context.js";

/** The result of a run. */
export interface SimulationResult {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** Which situations the run met, and how often: shows that runs are not vacuous. */
  readonly labels: ReadonlyMap<string, number>;
  readonly steps: number;
  /** Every message in the order of sending; empty without `keepsTrace`. */
  readonly messages: readonly TraceRecord[];
  /** The run's history, line by line; empty without `keepsTrace`. */
  readonly history: readonly string[];
}

/** Options of a run. */
export interface RunOptions {
  /** Which members there are; classic ones by default. */
  readonly kind?: ScenarioKind;
  /** Keep messages and history. */
  readonly keepsTrace?: boolean;
  /** Stop at the first violation: those that follow from it are of no interest. */
  readonly stopsAtViolation?: boolean;
  /** Run this instead of the scenario of the seed. */
  readonly scenario?: Scenario;
  /** Called before each event of the engine, with its moment. */
  readonly onStep?: (now: number) => void;
}

/** How long a mesh may take to be complete after all faults: twice the longest pause between two dials. */
const healingMs = 60_000;
/** How long an end may take: an open dial, the last messages, and the time that a peer has to close. */
const endingMs = 15_000;
/** A complete mesh stays complete for so long; now and then the longer time, in which pings would find a dead connection. */
const stayingMs = { often: 1_000, seldom: 20_000 };
/** Between two checks whether a mesh is complete, or gone. */
const checkMs = 500;
/** Between two checks whether pairs are linked in time. */
const latencyCheckMs = 20;
/** How often it is checked who holds which key, and somebody may claim one. */
const claimCheckMs = 100;
/** How often a member that has failed is started again. */
const mostRestarts = 3;

/** Runs the scenario of a seed. The same seed and options give the same result, to the byte. */
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
  readonly claimChecker: ClaimChecker;
  readonly memory = new PageMemory();
  readonly memberRuns = new Map<Id, NativeRun>();
  serverProcess: SimulatedProcess;
  readonly members: SimulatedMember[] = [];
  isSettled = false;
  /** All members are gone: nobody is started again. */
  #areAllMembersGone = false;
  readonly #seed: number;
  readonly #engine: Engine;
  readonly #keepsTrace: boolean;
  #server: SimulatedServer;
  /** It has left the mesh to its members. */
  #isReleased = false;
  /** It was killed, and another one will be started. */
  #isServerAway = false;
  readonly #restarts = new Map<Address, number>();
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
    this.claimChecker = new ClaimChecker(this);
    this.serverProcess = this.#newServerProcess();
    this.#server = new SimulatedServer(this, 0);
  }

  count = (label: string): void => {
    this.#labels.set(label, (this.#labels.get(label) ?? 0) + 1);
  };

  trace = (record: () => TraceRecord): void => {
    if (!this.#keepsTrace) return;
    const message = record();
    this.#messages.push(message);
    this.record(() => `${message.from} -> ${message.to}: ${JSON.stringify(message.text)}`);
  };

  record = (line: () => string): void => {
    if (this.#keepsTrace) this.#history.push(`${this.#engine.now.toFixed(3)} ${line()}`);
  };

  perform(): SimulationResult {
    try {
      this.#simulate();
    } catch (error) {
      // A machine throws on an event that its transition table does not allow.
      if (!(error instanceof StopAtViolation)) this.#thrown(error);
    } finally {
      this.memory.release();
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

  startMember(script: MemberScript): void {
    // A port has one listener: the next run waits until the last one is gone.
    const isThere = this.members.some((one) => one.script.address === script.address && !one.isGone);
    if (this.#isServerGone || isThere) return;
    this.members.push(new SimulatedMember(this, script, this.#engine.random.integer(0, 2 ** 31)));
  }

  memberFailed(address: Address): void {
    const script = this.scenario.scripts.find((one) => one.address === address);
    const comebacks = (this.#restarts.get(address) ?? 0) + 1;
    if (script === undefined || comebacks > mostRestarts) return;
    this.#restarts.set(address, comebacks);
    this.#engine.after(2_000, () => {
      if (!this.isSettled && !this.#areAllMembersGone && !this.#isServerGone)
        this.startMember({ ...script, hesitatesMs: 0 });
    });
  }

  releaseServer(): void {
    if (this.#isServerGone) return;
    this.#isReleased = true;
    this.#server.release();
  }

  restartServer(forMs: number, isClockBack: boolean): void {
    if (this.#isServerGone || this.#isServerAway) return;
    this.network.kill(this.serverProcess);
    this.#isServerAway = true;
    this.#engine.after(forMs, () => {
      this.#isServerAway = false;
      this.logChecker.restarted();
      this.invariantChecker.serverRestarted();
      this.completenessChecker.serverRestarted();
      this.claimChecker.serverRestarted(isClockBack);
      this.serverProcess = this.#newServerProcess();
      this.#server = new SimulatedServer(this, isClockBack ? 0 : Math.floor(this.#engine.now * 1_000));
    });
  }

  #newServerProcess(): SimulatedProcess {
    return new SimulatedProcess(this.#engine, "server", networkOf(endpointOf(serverAddressOf(this.scenario))));
  }

  get #isServerGone(): boolean {
    return this.#server.isClosed || (this.serverProcess.isDead && !this.#isServerAway);
  }

  get #hasNatives(): boolean {
    return this.scenario.scripts.some(({ dialect }) => dialect === "native");
  }

  #simulate(): void {
    const { scripts, faults, healsAt } = this.scenario;
    for (const script of scripts) this.#engine.at(script.startsAt, () => this.startMember(script));
    for (const fault of faults) this.#engine.at(fault.at, () => this.#injectFault(fault));
    if (this.scenario.isLocal === true) this.count("local sockets");
    this.#scheduleWrites(healsAt);
    this.#checkLinkLatency();
    if (this.scenario.claims === true) this.#scheduleClaims(healsAt);
    this.#engine.run(healsAt);
    this.network.conditions = withoutFaults(this.network.conditions);
    if (this.#isReleased) this.#checkReleased();
    else {
      this.#heal();
      this.#checkForgotten();
    }
    if (!this.#isServerGone) {
      if (this.completenessChecker.endsBy !== undefined)
        this.invariantChecker.violate("S9", "a full mesh does not end");
      this.#checkWhole();
      this.#server.teardown();
    }
    this.#end();
    if (this.scenario.isCalm) this.#checkDials();
  }

  #checkLinkLatency(): void {
    const { honest, healsAt, scripts } = this.scenario;
    if (honest === undefined) return;
    const addresses = new Set(honest.scripts.map((number) => scripts[number]?.address));
    const latencyChecker = new LinkLatencyChecker(this, honest.withinMs);
    for (let moment = 0; moment < healsAt; moment += latencyCheckMs) {
      this.#engine.at(moment, () => latencyChecker.check(this.members.filter(({ address }) => addresses.has(address))));
    }
  }

  #scheduleClaims(until: number): void {
    const { random } = this.#engine;
    for (let moment = 0; moment < until; moment += claimCheckMs) {
      this.#engine.at(moment, () => {
        this.claimChecker.check(this.members);
        if (random.chance(0.2)) this.members[random.integer(0, Math.max(0, this.members.length - 1))]?.changeClaims();
      });
    }
  }

  #injectFault(fault: Fault): void {
    this.count(`fault: ${fault.type}`);
    this.record(() => `fault ${JSON.stringify(fault)}`);
    injectFault(this, fault);
  }

  #scheduleWrites(until: number): void {
    const { random } = this.#engine;
    const [shortest, longest] = this.#hasNatives ? [20, 800] : [500, 3_000];
    for (let moment = 0; moment < until; moment += random.integer(shortest, longest)) {
      this.#engine.at(moment, () => {
        const member = this.members[random.integer(0, Math.max(0, this.members.length - 1))];
        member?.write();
      });
    }
  }

  /** When the last fault is over, and the last member has started. */
  get #faultFreeAt(): number {
    const { scripts, faults, healsAt } = this.scenario;
    const ends = faults.map((one) => ("forMs" in one && Number.isFinite(one.forMs) ? one.at + one.forMs : one.at));
    // eslint-disable-next-line no-restricted-syntax -- a scenario has few of both
    return Math.max(healsAt, ...ends) + Math.max(...scripts.map((script) => script.hesitatesMs));
  }

  /** Gives the mesh the time to become complete, and checks that it stays so. */
  #heal(): void {
    if (!this.#hasNatives) {
      // eslint-disable-next-line no-restricted-syntax -- a scenario has few members
      const hesitation = Math.max(...this.scenario.scripts.map((script) => script.hesitatesMs));
      this.#engine.run(this.scenario.healsAt + hesitation + healingMs);
      return;
    }
    const mendedAt = this.#faultFreeAt;
    this.#engine.run(mendedAt);
    // A full mesh ends by itself: `settleMs` after it is complete, or when it is not complete in time.
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
    this.count("found whole");
    const { often, seldom } = stayingMs;
    this.#runUntil(this.#engine.now + (this.#engine.random.chance(0.2) ? seldom : often), () => this.#isServerGone);
  }

  /** A lease after the last fault, members that the server has left alone are linked at both ends, or have parted for good. */
  #checkReleased(): void {
    const { leaseMs, silentMs } = this.limits;
    // Who was not told looks for the server first.
    this.#engine.run(this.#faultFreeAt + serverLostMs + 2 * leaseMs + 2 * silentMs + healingMs);
    const fault = firstReleaseFault(this, this.members);
    if (fault !== undefined) this.invariantChecker.violate(fault.invariant, fault.detail);
    for (const member of this.members) if (!member.isOver) member.leave();
  }

  /** N26: a lease after all members have died, the server keeps no more than at its start. */
  #checkForgotten(): void {
    if (this.#isServerGone || this.members.some((member) => !member.isOver)) return;
    this.#areAllMembersGone = true;
    const { silentMs, leaseMs, challengeMs, finishMs, settleMs } = this.limits;
    this.count("all members gone");
    // A dial-back to a member that has just gone may still be open.
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

  /** Runs until nobody is left. */
  #end(): void {
    const patience = this.#hasNatives ? endingMs + serverLostMs + this.limits.silentMs : endingMs;
    this.#runUntil(this.#engine.now + patience, () => {
      return this.#isServerGone && this.members.every(({ isGone }) => isGone) && [...this.network.open].length === 0;
    });
    this.#checkGone();
  }

  #runUntil(deadline: number, isDone: () => boolean): void {
    while (this.#engine.now < deadline && !isDone()) this.#engine.run(Math.min(deadline, this.#engine.now + checkMs));
  }

  /** S10: no member and no connection is left. S8: the end of every link was reported. */
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

  /** D1: in a run without faults each pair is linked by exactly one dial. */
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
