import { afterEach, describe, expect, it, vi } from "vitest";
import { SharedLogSimulation } from "../../../simulator/logs/simulation.js";
import { adverseStore, SimulatedStore, SimulatedStoreClient } from "../../../simulator/store.js";
import { Directory } from "../../../src/protocol/directory.js";
import { LogFold } from "../../../src/runtime/replicated/log-fold.js";
import { RepeatedRequest } from "../../../src/runtime/replicated/repeated-request.js";
import { ServerTracker } from "../../../src/runtime/replicated/server-tracker.js";
import { StoreWriter } from "../../../src/runtime/replicated/store-writer.js";
import type { Condition } from "../../../src/runtime/store.js";

const durationMs = 15_000;

/** Performs transactions without the conditions that these are not. */
function demandOnly(isDemanded: (condition: Condition) => boolean): void {
  const { perform } = SimulatedStore.prototype;
  vi.spyOn(SimulatedStore.prototype, "perform").mockImplementation(function (this: SimulatedStore, transaction) {
    return perform.call(this, { ...transaction, conditions: transaction.conditions.filter(isDemanded) });
  });
}

const isOwn = ({ key, of }: Condition): boolean => key.startsWith("server/") && of === "modified";

/** Bugs put in on purpose, each with a seed that showed it when it was written. */
const plants: readonly { readonly when: string; readonly seed: number; readonly plant: () => void }[] = [
  {
    when: "a transaction is performed though the presence of its writer is not as it left it",
    seed: 1,
    plant: () => demandOnly((condition) => !isOwn(condition)),
  },
  {
    when: "two servers begin a log at the same time",
    seed: 1,
    plant: () => demandOnly(({ key }) => !key.endsWith("/log")),
  },
  {
    when: "a snapshot forgets which numbers it covers",
    seed: 1,
    plant: () => {
      const { snapshot } = LogFold.prototype;
      vi.spyOn(LogFold.prototype, "snapshot").mockImplementation(function (this: LogFold, covers, kept) {
        return { ...snapshot.call(this, covers, kept), writers: [] };
      });
    },
  },
  {
    when: "what was rejected is taken for an entry once it is read anew",
    seed: 1,
    plant: () => {
      const { outcomeOf } = LogFold.prototype;
      vi.spyOn(LogFold.prototype, "outcomeOf").mockImplementation(function (this: LogFold, writer, number) {
        return outcomeOf.call(this, writer, number) === undefined ? undefined : true;
      });
    },
  },
  {
    when: "a watch begins one revision too late",
    seed: 1,
    plant: () => {
      const { watch } = SimulatedStoreClient.prototype;
      vi.spyOn(SimulatedStoreClient.prototype, "watch").mockImplementation(function (
        this: SimulatedStoreClient,
        from,
        events,
      ) {
        return watch.call(this, from + 1, events);
      });
    },
  },
  {
    when: "a watch that says nothing is never given up",
    seed: 1,
    plant: () => vi.spyOn(StoreWriter.prototype, "silentMs").mockReturnValue(0),
  },
  {
    when: "a request that is not answered is not sent again",
    seed: 1,
    plant: () => vi.spyOn(RepeatedRequest.prototype, "tick").mockImplementation(() => {}),
  },
  {
    when: "an own entry that comes back is not known as one",
    seed: 1,
    plant: () => vi.spyOn(StoreWriter.prototype, "settle").mockReturnValue(undefined),
  },
  {
    when: "a member that has come back is lost by whoever has judged its older session",
    seed: 1,
    plant: () => {
      const { add } = LogFold.prototype;
      vi.spyOn(LogFold.prototype, "add").mockImplementation(function (this: LogFold, writer, number, content) {
        if ("fact" in content) return add.call(this, writer, number, content);
        const { judges: _, ...unjudged } = content;
        return add.call(this, writer, number, unjudged);
      });
    },
  },
  {
    when: "each server judges the capacity for itself, and not the log",
    seed: 1,
    plant: () => vi.spyOn(Directory.prototype, "size", "get").mockReturnValue(0),
  },
  {
    when: "a server never notices that it has lost the store",
    seed: 1,
    plant: () => vi.spyOn(StoreWriter.prototype, "beatAgeMs").mockReturnValue(0),
  },
  {
    when: "a server that is gone is never missed",
    seed: 1,
    plant: () => {
      const { judge } = ServerTracker.prototype;
      vi.spyOn(ServerTracker.prototype, "judge").mockImplementation(function (this: ServerTracker, self, now) {
        this.steady(now);
        return judge.call(this, self, now);
      });
    },
  },
];

describe("the play of servers that share a store", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it.each(plants)("finds it when $when", ({ plant, seed }) => {
    plant();
    let found: string | undefined;
    for (let next = seed; found === undefined && next < seed + 40; next += 1) {
      try {
        new SharedLogSimulation(next, { ...adverseStore, healsAt: durationMs }).run(durationMs);
      } catch (error) {
        found = `seed ${next}: ${String(error)}`;
      }
    }
    expect(found).toBeDefined();
  });
});
