import type { Machine } from "../../src/core/machine.js";
import { type Address, endpointOf, formatAddress } from "../../src/protocol/address.js";
import type { Id } from "../../src/protocol/directory.js";
import { RendezvousMachine } from "../../src/rendezvous/rendezvous-machine.js";
import type { LogAnswer, RendezvousInput, RendezvousOutput, SharedLogInput } from "../../src/rendezvous/types.js";
import { Driver } from "../../src/runtime/driver.js";
import { ReplicatedLog } from "../../src/runtime/replicated/replicated-log.js";
import { SimulatedProcess } from "../engine.js";
import { meshName } from "../server.js";
import type { SimulatedStoreClient } from "../store.js";
import type { SharedContext, SharedServerRun } from "./context.js";

/** One life of a rendezvous server that shares its logs with others: the real machine over the real log. */
export class SharedServer implements SharedServerRun {
  readonly name: string;
  readonly address: Address;
  readonly process: SimulatedProcess;
  readonly machine: RendezvousMachine;
  readonly startedAt: number;
  isClosed = false;
  /** Its log has given up, and why. */
  failure: string | undefined;
  readonly #context: SharedContext;
  readonly #driver: Driver<RendezvousInput, RendezvousOutput>;
  /** Its way to the store. */
  readonly client: SimulatedStoreClient;
  readonly #log: ReplicatedLog;
  /** The log of the mesh, as it was restored last. */
  #logId: Id = "";

  constructor(context: SharedContext, number: number) {
    const { network, limits, scenario, store } = context;
    const { engine } = network;
    this.#context = context;
    this.name = `server ${number}`;
    this.address = formatAddress({ host: `10.0.1.${number + 1}`, port: 4000 });
    this.startedAt = engine.now;
    this.process = new SimulatedProcess(engine, this.name, endpointOf(this.address).host);
    const firstRevision = Math.floor(engine.now * 1_000);
    this.machine = new RendezvousMachine({
      capacity: scenario.capacity,
      onFull: "hold",
      mayAdvertise: () => false,
      dialect: "any",
      isKeyed: false,
      isShared: true,
      newId: () => engine.draw(),
      wallTime: () => engine.now,
      firstRevision,
      startedAtMs: engine.now,
      version: "0.0.0",
      limits,
    });
    this.#driver = new Driver<RendezvousInput, RendezvousOutput>({
      machine: this.#recorded(),
      transport: network.transportOf(this.process),
      clock: this.process.clock,
      perform: (output) => this.#perform(output),
    });
    this.client = store.connect(this.process);
    const rules = {
      ...({ format: 1, onFull: "hold", dialect: "any", leaseMs: limits.leaseMs } as const),
      capacity: Number.isFinite(scenario.capacity) ? scenario.capacity : null,
    };
    this.#log = new ReplicatedLog(
      this.client,
      this.process.clock,
      (input) => this.#logged(input),
      { rules, limits, newId: () => engine.draw(), address: this.address, baseRevision: () => firstRevision },
      (error) => {
        this.failure = error.message;
      },
    );
    this.process.do(() =>
      this.#log.start(() => this.#driver.listen(endpointOf(this.address), () => context.count("server started"))),
    );
  }

  get memberIds(): Id[] {
    return this.machine
      .status(meshName, this.#driver.now())
      .members.flatMap(({ id, state }) => {
        return id !== undefined && (state === "member" || state === "suspect") ? [id] : [];
      })
      .sort();
  }

  get isComplete(): boolean {
    return this.machine.status(meshName, this.#driver.now()).complete;
  }

  close(): void {
    this.process.do(() => this.#driver.input({ type: "close" }));
  }

  /** A process that is dead does nothing any more with what the store says. */
  kill(): void {
    this.#context.network.kill(this.process);
    this.client.close();
  }

  #logged(input: LogAnswer | SharedLogInput): void {
    const { record, count, checker } = this.#context;
    record(() => `${this.name} log ${JSON.stringify(input)}`);
    count(`log: ${input.type}`);
    if (input.type === "restored" && input.mesh === meshName) {
      this.#logId = input.state.log;
      const { log, revision, members } = input.state;
      checker.restored(
        this.name,
        log,
        revision,
        members.map(({ id }) => id),
      );
    }
    this.#driver.input(input);
  }

  /** The machine, with what it makes of each entry checked. */
  #recorded(): Machine<RendezvousInput, RendezvousOutput> {
    const { machine } = this;
    return {
      handle: (input, now) => {
        machine.handle(input, now);
        if (input.type === "appended") {
          this.#context.checker.appended(this.name, this.#logId, input.entry, this.memberIds);
        }
      },
      poll: () => machine.poll(),
      nextTimeout: () => machine.nextTimeout(),
    };
  }

  #perform(output: RendezvousOutput): void {
    const { record, count } = this.#context;
    if (output.type === "append") this.#log.append(output);
    else if (output.type === "publish") this.#log.publish(output.mesh, output.fact);
    else if (output.type === "forgetLog") this.#log.forget(output.mesh);
    else if (output.type === "note") {
      record(() => `${this.name} ${JSON.stringify(output.note)}`);
      count(output.note.code);
    } else if (output.type === "event") {
      record(() => `${this.name} ${JSON.stringify(output.event)}`);
      count(output.event.type);
      if (output.event.type !== "closed") return;
      this.isClosed = true;
      this.#log.stop(() => {});
    }
  }
}
