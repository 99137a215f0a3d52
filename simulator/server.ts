import type { Machine } from "../src/core/machine.js";
import { type Address, endpointOf } from "../src/protocol/address.js";
import type { Id } from "../src/protocol/directory.js";
import { RendezvousMachine } from "../src/rendezvous/rendezvous-machine.js";
import type { LogAnswer, RendezvousInput, RendezvousOutput } from "../src/rendezvous/types.js";
import { Driver } from "../src/runtime/driver.js";
import type { CheckedSimulation } from "./checked-simulation.js";
import { allowedMemberCodes } from "./checkers/allowed-codes.js";
import type { ConnectionEnd } from "./connection-end.js";
import type { SimulatedProcess } from "./engine.js";
import { SimulatedMembershipLog } from "./membership-log.js";
import { controlTypeOf, describeBytes } from "./message-text.js";
import type { Scenario } from "./scenario.js";

/** Where the simulated server listens. */
export function serverAddressOf({ isLocal }: Scenario): Address {
  return isLocal === true ? "unix:/run/mesh/mesh.sock" : "10.0.1.1:4000";
}

/** The mesh of all members: classic members know no other. */
export const meshName = "default";

/** The rendezvous server: the real machine with a log that may answer late, or reject. */
export class SimulatedServer {
  readonly process: SimulatedProcess;
  readonly machine: RendezvousMachine;
  /** When it last reported that the mesh is complete. */
  completeAt: number | undefined;
  readonly #context: CheckedSimulation;
  readonly #driver: Driver<RendezvousInput, RendezvousOutput>;
  readonly #log: SimulatedMembershipLog;
  /** The log of the mesh. */
  #logId: Id | undefined;
  /** How many things the machine kept when it began. */
  readonly #sizeAtStart: number;
  #isOrdered = false;
  #isClosed = false;

  /** `firstRevision`: its start, as its clock has it. */
  constructor(context: CheckedSimulation, firstRevision: number) {
    const { scenario, network, limits } = context;
    this.#context = context;
    this.process = context.serverProcess;
    this.machine = new RendezvousMachine({
      capacity: scenario.capacity,
      onFull: scenario.onFull,
      mayAdvertise: () => false,
      dialect: "any",
      isKeyed: false,
      isShared: false,
      newId: () => network.engine.draw(),
      wallTime: () => network.engine.now,
      firstRevision,
      startedAtMs: network.engine.now,
      version: "0.0.0",
      limits,
    });
    const { logDelayMs: delayMs, logRejects: rejects, healsAt } = scenario;
    const answered = (answer: LogAnswer): void => this.process.do(() => this.#answered(answer));
    this.#log = new SimulatedMembershipLog(network.engine, { delayMs, rejects, healsAt }, answered);
    this.#logId = this.machine.logOf(meshName);
    this.#sizeAtStart = this.machine.size;
    this.#driver = new Driver<RendezvousInput, RendezvousOutput>({
      machine: this.#recorded(),
      transport: network.transportOf(this.process),
      clock: this.process.clock,
      perform: (output) => this.#perform(output),
      onSend: (connection, bytes) => {
        this.#label(network.endOf(this.process, connection), bytes);
        context.trace(() => {
          const to = this.machine.addressOf(connection) ?? "?";
          return { at: network.engine.now, from: "server", to, text: describeBytes(bytes) };
        });
      },
    });
    this.#driver.listen(endpointOf(serverAddressOf(scenario)), () => {});
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** How many things it keeps beyond those with which it began. */
  get kept(): number {
    return this.machine.size - this.#sizeAtStart;
  }

  teardown(): void {
    this.#isOrdered = true;
    this.process.do(() => this.#driver.input({ type: "teardown", reason: "the play is over" }));
  }

  /** It goes, and the mesh stays. */
  release(): void {
    this.#isOrdered = true;
    this.process.do(() => this.#driver.input({ type: "release", reason: "the mesh can do without" }));
  }

  /** The machine, with a log checker that is written as the log's answers are read. */
  #recorded(): Machine<RendezvousInput, RendezvousOutput> {
    const { machine } = this;
    const { logChecker } = this.#context;
    return {
      handle: (input, now) => {
        if (input.type === "appended") logChecker.append(input.entry);
        machine.handle(input, now);
        this.#noticeLog();
        if (input.type === "appended") logChecker.held(machine.membersOf(input.mesh));
      },
      poll: () => machine.poll(),
      nextTimeout: () => machine.nextTimeout(),
    };
  }

  /** If the log is another one, the machine has forgotten the mesh and begun a new one of that name. */
  #noticeLog(): void {
    const log = this.machine.logOf(meshName);
    if (log === this.#logId) return;
    this.#logId = log;
    this.#context.count("mesh forgotten");
    this.#context.logChecker.forgotten();
  }

  #perform(output: RendezvousOutput): void {
    const context = this.#context;
    if (output.type === "append") {
      if (context.scenario.logDelayMs > 0) context.count("append in flight");
      this.#log.append(output);
    } else if (output.type === "forgetLog") {
      this.#log.forget(output.mesh);
    } else if (output.type === "event") {
      const { event } = output;
      context.record(() => `server ${JSON.stringify(event)}`);
      context.invariantChecker.serverEvent(event, this.#isOrdered);
      context.completenessChecker.serverEvent(event, this.#isOrdered);
      context.count(event.type);
      if (event.type === "complete") this.completeAt = context.network.engine.now;
      if (event.type === "joined" && event.replaces !== undefined) context.count("replaced by restart");
      if (event.type === "closed") this.#isClosed = true;
    } else if (output.type === "note") {
      context.record(() => `server ${JSON.stringify(output.note)}`);
      context.count(output.note.code);
      this.#blame(output.note.code, output.note.message);
    }
  }

  #blame(code: string, message: string): void {
    const { invariantChecker, scenario } = this.#context;
    const isFault =
      allowedMemberCodes.has(code) || (scenario.isCalm && (code === "ADDRESS_UNPROVED" || code === "SILENT"));
    if (isFault) invariantChecker.violate("D1", `the server noted ${code}: ${message}`);
  }

  /** The entries that a returning member gets. */
  #label(end: ConnectionEnd | undefined, bytes: Uint8Array): void {
    if (end?.other?.isResuming !== true) return;
    const type = controlTypeOf(bytes);
    if (type === "directory") this.#context.count("snapshot instead of entries");
    if (type === "entries") this.#context.count("entries after a resume");
    if (type === "directory" || type === "entries") end.other.isResuming = false;
  }

  #answered(answer: LogAnswer): void {
    this.#context.record(() => `log ${JSON.stringify(answer)}`);
    if (answer.type === "rejected") this.#context.count("append rejected");
    this.#driver.input(answer);
  }
}
