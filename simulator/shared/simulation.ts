import { defaultLimits, type Limits } from "../../src/core/limits.js";
import { type Address, formatAddress } from "../../src/protocol/address.js";
import { type invariants, StopAtViolation, type Violation } from "../checkers/invariant-checker.js";
import { Engine, type SimulatedProcess } from "../engine.js";
import { SimulatedNetwork } from "../network.js";
import type { SimulationResult } from "../run.js";
import { withoutFaults } from "../scenario.js";
import { SimulatedStore } from "../store.js";
import { SharedChecker } from "./checker.js";
import type { SharedContext } from "./context.js";
import { SharedMember } from "./member.js";
import { type SharedFault, type SharedScenario, sharedScenarioOf } from "./scenario.js";
import { SharedServer } from "./server.js";

/** Options of a run. */
export interface SharedRunOptions {
  readonly keepsTrace?: boolean;
  readonly stopsAtViolation?: boolean;
  readonly scenario?: SharedScenario;
}

/** How long it may take until all is well after the last fault: a lease, the silence before it, and the longest pauses. */
const healingMs = 120_000;
/** How long a mesh that is whole stays so. */
const stayingMs = 5_000;
const checkMs = 500;
const endingMs = 60_000;

/** Runs the scenario of a seed, with several servers over one store. The same seed gives the same result. */
export function runShared(seed: number, options: SharedRunOptions = {}): SimulationResult {
  return new SharedSimulation(seed, options).perform();
}

/** Servers that share their logs through a store, and members that have sessions at any of them. */
class SharedSimulation implements SharedContext {
  readonly network: SimulatedNetwork;
  readonly scenario: SharedScenario;
  readonly limits: Limits = defaultLimits;
  readonly checker: SharedChecker;
  readonly store: SimulatedStore;
  /** The newest life of each server. */
  readonly servers: SharedServer[] = [];
  /** The newest run of each member. */
  readonly members: SharedMember[] = [];
  readonly #seed: number;
  readonly #engine: Engine;
  readonly #options: SharedRunOptions;
  readonly #violations: Violation[] = [];
  readonly #labels = new Map<string, number>();
  readonly #history: string[] = [];
  #isSettled = false;

  constructor(seed: number, options: SharedRunOptions) {
    this.#seed = seed;
    this.#options = options;
    this.scenario = options.scenario ?? sharedScenarioOf(seed);
    this.#engine = new Engine(seed);
    this.network = new SimulatedNetwork(this.#engine, this.scenario.conditions);
    this.store = new SimulatedStore(this.#engine, this.scenario.store);
    this.checker = new SharedChecker(this);
  }

  count = (label: string): void => {
    this.#labels.set(label, (this.#labels.get(label) ?? 0) + 1);
  };

  record = (line: () => string): void => {
    if (this.#options.keepsTrace === true) this.#history.push(`${this.#engine.now.toFixed(3)} ${line()}`);
  };

  violate = (invariant: keyof typeof invariants, detail: string): void => {
    this.#violations.push({ invariant, at: this.#engine.now, detail });
    if (this.#options.stopsAtViolation === true) throw new StopAtViolation();
  };

  /** True if this life of a server has begun within so many milliseconds, and is not the first. */
  wasStarted(process: SimulatedProcess, withinMs: number): boolean {
    const server = this.servers.find((one) => one.process === process);
    return server !== undefined && server.startedAt > this.#engine.now - withinMs;
  }

  perform(): SimulationResult {
    try {
      this.#simulate();
    } catch (error) {
      if (!(error instanceof StopAtViolation)) {
        const detail = String(error instanceof Error ? error.stack : error);
        this.#violations.push({ invariant: "S0", at: this.#engine.now, detail });
      }
    }
    return {
      seed: this.#seed,
      violations: this.#violations,
      labels: this.#labels,
      steps: this.#engine.steps,
      messages: [],
      history: this.#history,
    };
  }

  #simulate(): void {
    const { servers, members, faults, healsAt } = this.scenario;
    const { random } = this.#engine;
    for (let number = 0; number < servers; number += 1) this.#startServer(number);
    for (let number = 0; number < members; number += 1) {
      this.#engine.at(random.next() * (random.chance(0.6) ? 50 : healsAt), () => this.#startMember(number));
    }
    for (const fault of faults) this.#engine.at(fault.at, () => this.#inject(fault));
    for (let moment = 0; moment < healsAt; moment += random.integer(20, 800)) {
      this.#engine.at(moment, () => this.#pick()?.send());
      if (this.scenario.claims) this.#engine.at(moment + 1, () => this.#pick()?.changeClaim("job"));
    }
    this.#engine.run(healsAt);
    this.network.conditions = withoutFaults(this.network.conditions);
    // Faults that began before last for a while.
    const ends = faults.map(({ at, forMs }) => at + forMs);
    // eslint-disable-next-line no-restricted-syntax -- a scenario has few
    this.#engine.run(Math.max(healsAt, ...ends));
    this.#heal();
    this.#end();
  }

  #pick(): SharedMember | undefined {
    return this.members[this.#engine.random.integer(0, Math.max(0, this.members.length - 1))];
  }

  #addressOf(number: number): Address {
    return formatAddress({ host: `10.0.0.${number + 1}`, port: 8080 });
  }

  #startServer(number: number): void {
    this.servers[number] = new SharedServer(this, number);
  }

  #startMember(number: number): void {
    const index = this.members.findIndex((one) => one.number === number);
    if (index >= 0 && this.members[index]?.isGone === false) return;
    const { servers } = this;
    const first = number % servers.length;
    const addresses = [...servers.slice(first), ...servers.slice(0, first)].map(({ address }) => address);
    const member = new SharedMember(this, number, this.#addressOf(number), addresses);
    if (index >= 0) this.members[index] = member;
    else this.members.push(member);
  }

  #inject(fault: SharedFault): void {
    this.count(`fault: ${fault.type}`);
    this.record(() => `fault ${JSON.stringify(fault)}`);
    const { forMs } = fault;
    if (fault.type === "storeAway") this.store.leave(forMs);
    else if ("server" in fault) this.#injectServerFault(fault.type, fault.server, forMs);
    else this.#injectMemberFault(fault.type, fault.member, forMs);
  }

  #injectServerFault(type: Extract<SharedFault, { server: number }>["type"], number: number, forMs: number): void {
    const server = this.servers[number];
    if (server === undefined || server.process.isDead) return;
    const { process } = server;
    if (type === "suspendServer") process.suspend(forMs);
    else if (type === "cutServerFromStore") {
      server.client.isCut = true;
      this.#engine.after(forMs, () => {
        server.client.isCut = false;
      });
    } else if (type === "cutServerFromMembers") {
      for (const member of this.members) {
        this.network.stall(process.name, member.process.name, forMs);
        this.network.stall(member.process.name, process.name, forMs);
      }
    } else {
      server.kill();
      this.#engine.after(forMs, () => this.#startServer(number));
    }
  }

  #injectMemberFault(type: Extract<SharedFault, { member: number }>["type"], number: number, forMs: number): void {
    const member = this.members.find((one) => one.number === number);
    if (member === undefined || member.isOver) return;
    if (type === "suspendMember") member.process.suspend(forMs);
    else {
      if (type === "leave") member.leave();
      else this.network.kill(member.process);
      this.#engine.after(forMs, () => {
        if (!this.#isSettled) this.#startMember(number);
      });
    }
  }

  /** L1: after all faults the mesh comes to be whole, by the word of every server, and stays so. */
  #heal(): void {
    const deadline = this.#engine.now + healingMs;
    while (this.#engine.now < deadline && this.#fault() !== undefined) this.#engine.run(this.#engine.now + checkMs);
    const fault = this.#fault();
    if (fault !== undefined) {
      this.violate("L1", fault);
      return;
    }
    this.count("found whole");
    this.#engine.run(this.#engine.now + stayingMs);
    const later = this.#fault();
    if (later !== undefined) this.violate("L1", `the mesh does not stay whole: ${later}`);
  }

  #fault(): string | undefined {
    const failed = this.servers.find((server) => server.failure !== undefined);
    return failed === undefined ? this.checker.faultAtEnd() : `${failed.name} has given up: ${failed.failure}`;
  }

  /** S10: all leave, the servers close, and no connection is left. */
  #end(): void {
    this.#isSettled = true;
    for (const member of this.members) if (!member.isOver) member.leave();
    const areGone = (): boolean => this.members.every(({ isGone }) => isGone);
    const deadline = this.#engine.now + endingMs;
    while (this.#engine.now < deadline && !areGone()) this.#engine.run(this.#engine.now + checkMs);
    for (const server of this.servers) server.close();
    this.#engine.run(this.#engine.now + endingMs);
    const open = [...this.network.open];
    if (!areGone() || open.length > 0) this.violate("S10", `${open.length} ends are open`);
    for (const { name, isClosed } of this.servers) if (!isClosed) this.violate("S10", `${name} has not closed`);
  }
}
