import { Engine } from "../../simulator/engine.js";
import { SimulatedMembershipLog } from "../../simulator/membership-log.js";
import { describeMembershipLog } from "../runtime/membership-log.js";

const healsAt = Number.POSITIVE_INFINITY;

describeMembershipLog("the simulator's log", (answer) => {
  const engine = new Engine(5);
  const log = new SimulatedMembershipLog(engine, { delayMs: 300, rejects: 0.3, healsAt }, answer);
  return { log, settled: () => engine.run(engine.now + 1_000) };
});
