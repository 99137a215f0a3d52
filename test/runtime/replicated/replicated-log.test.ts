import { Engine, SimulatedProcess } from "../../../simulator/engine.js";
import { adverseStore, calmStore, SimulatedStore, type StoreConditions } from "../../../simulator/store.js";
import type { FullmeshError } from "../../../src/core/errors.js";
import { defaultLimits } from "../../../src/core/limits.js";
import type { LogAnswer, SharedLogInput } from "../../../src/rendezvous/types.js";
import { ReplicatedLog } from "../../../src/runtime/replicated/replicated-log.js";
import { describeMembershipLog } from "../membership-log.js";
import { rules } from "./samples.js";

function open(
  engine: Engine,
  store: SimulatedStore,
  answer: (input: LogAnswer | SharedLogInput) => void,
  fatal = (error: FullmeshError): void => {
    throw error;
  },
): ReplicatedLog {
  const process = new SimulatedProcess(engine, "server", "10.0.0.1");
  const settings = { rules, limits: defaultLimits, newId: () => engine.draw(), baseRevision: () => 100 };
  return new ReplicatedLog(store.connect(), process.clock, answer, settings, fatal);
}

function describeOver(name: string, conditions: StoreConditions, seed: number): void {
  describeMembershipLog(name, (answer) => {
    const engine = new Engine(seed);
    const log = open(engine, new SimulatedStore(engine, conditions), answer);
    let isStarted = false;
    log.start(() => {
      isStarted = true;
    });
    engine.run(300_000, () => isStarted);
    return { log, settled: () => engine.run(engine.now + 60_000) };
  });
}

describeOver("the log over a calm store", calmStore, 1);
for (const seed of [2, 3, 4]) describeOver(`the log over adverse store ${seed}`, adverseStore, seed);
