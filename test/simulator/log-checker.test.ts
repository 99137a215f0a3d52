import { expect, test } from "vitest";
import { InvariantChecker } from "../../simulator/checkers/invariant-checker.js";
import { LinkChecker } from "../../simulator/checkers/link-checker.js";
import { LogChecker, reportLagMs } from "../../simulator/checkers/log-checker.js";
import { MessageChecker } from "../../simulator/checkers/message-checker.js";
import { Engine, SimulatedProcess } from "../../simulator/engine.js";
import { scenarioOf } from "../../simulator/native-scenario.js";
import { SimulatedNetwork } from "../../simulator/network.js";
import type { SimulationContext } from "../../simulator/simulation-context.js";
import { defaultLimits } from "../../src/core/limits.js";

/** The parts of a simulation that a log checker reads, without members. */
class EmptySimulation implements SimulationContext {
  readonly scenario = scenarioOf(1, "native");
  readonly limits = defaultLimits;
  readonly engine = new Engine(1);
  readonly network = new SimulatedNetwork(this.engine, this.scenario.conditions);
  readonly serverProcess = new SimulatedProcess(this.engine, "server", "10.0.1.1");
  readonly memberRuns = new Map();
  readonly isSettled = true;
  readonly invariantChecker = new InvariantChecker({
    now: () => this.engine.now,
    stopsAtViolation: false,
    capacity: Number.POSITIVE_INFINITY,
    settleMs: this.limits.settleMs,
    mayMisread: false,
  });
  readonly logChecker: LogChecker = new LogChecker(this);
  readonly linkChecker: LinkChecker = new LinkChecker(this);
  readonly messageChecker: MessageChecker = new MessageChecker(this);
  count = (): void => {};
  trace = (): void => {};
  record = (): void => {};
  memberFailed = (): void => {};
}

// A key that was passed on just before the end of a play: those who had not read it yet counted as behind [S5].
test("a member is not behind while the newest entries may be on their way to it, and is after that", () => {
  const simulation = new EmptySimulation();
  const { logChecker, engine } = simulation;
  const lag = reportLagMs(simulation);
  const granted = (revision: number): void => logChecker.append({ type: "claimed", key: "job", holder: "a", revision });
  granted(1);
  granted(2);
  engine.run(lag + 1);
  granted(3);
  granted(4);
  expect([1, 2, 3, 4, 5].map((revision) => logChecker.isCurrent(revision))).toEqual([false, true, true, true, false]);
  engine.run(2 * lag);
  expect([2, 3, 4].map((revision) => logChecker.isCurrent(revision))).toEqual([true, true, true]);
  engine.run(2 * lag + 1);
  expect([2, 3, 4].map((revision) => logChecker.isCurrent(revision))).toEqual([false, false, true]);
});

test("a revision of the log of a server that was started again is not current", () => {
  const { logChecker, engine } = new EmptySimulation();
  logChecker.append({ type: "claimed", key: "job", holder: "a", revision: 1 });
  logChecker.restarted();
  engine.run(1);
  logChecker.append({ type: "claimed", key: "job", holder: "a", revision: 7 });
  expect([1, 7].map((revision) => logChecker.isCurrent(revision))).toEqual([false, true]);
});
