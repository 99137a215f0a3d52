import { afterEach, describe, expect, it, vi } from "vitest";
import { runShared } from "../../simulator/shared/simulation.js";
import { Attachments } from "../../src/rendezvous/attachments.js";
import { SharingServers } from "../../src/rendezvous/sharing-servers.js";
import { LogFold } from "../../src/runtime/replicated/log-fold.js";
import { ServerTracker } from "../../src/runtime/replicated/server-tracker.js";

/** Bugs put in on purpose, into machine and log, each with a seed that showed it when it was written. */
const plants: readonly { readonly when: string; readonly seed: number; readonly plant: () => void }[] = [
  {
    when: "whoever has its session at another server is a suspect here",
    seed: 1,
    plant: () => vi.spyOn(SharingServers.prototype, "has").mockReturnValue(false),
  },
  {
    when: "a server does not say anew who has a session there once it has another life",
    seed: 158,
    plant: () => {
      vi.spyOn(Attachments.prototype, "settleAnew").mockImplementation(() => {});
      const { relocate } = Attachments.prototype;
      const { settle } = Attachments.prototype;
      vi.spyOn(Attachments.prototype, "relocate").mockImplementation(function (this: Attachments, now) {
        this.settle = () => {};
        relocate.call(this, now);
        this.settle = settle;
      });
    },
  },
  {
    when: "an older session stays when the member is at another server",
    seed: 23,
    plant: () => {
      const { published } = Attachments.prototype;
      vi.spyOn(Attachments.prototype, "published").mockImplementation(function (this: Attachments, input, now) {
        published.call(this, input, now);
        return undefined;
      });
    },
  },
  {
    when: "reports of an older session count",
    seed: 21,
    plant: () => {
      const { report } = LogFold.prototype;
      vi.spyOn(LogFold.prototype, "report").mockImplementation(function (this: LogFold, id, writer, stored) {
        const { server = writer, attachment } = this.state.attachments.find((each) => each.id === id) ?? {
          attachment: stored.attachment,
        };
        return report.call(this, id, server, { ...stored, attachment });
      });
    },
  },
  {
    when: "a server takes itself for a second one at its address",
    seed: 1,
    plant: () => {
      vi.spyOn(ServerTracker.prototype, "isIntruder").mockReturnValue(true);
    },
  },
  {
    when: "a server does not see which others are there",
    seed: 1,
    plant: () => vi.spyOn(ServerTracker.prototype, "judge").mockReturnValue([]),
  },
  {
    when: "no report of a member at another server counts",
    seed: 1,
    plant: () => vi.spyOn(LogFold.prototype, "report").mockReturnValue(undefined),
  },
];

describe("the play of servers that share their logs", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it.each(plants)("finds it when $when", { timeout: 100_000 }, ({ plant, seed }) => {
    plant();
    let found: string | undefined;
    for (let next = seed; found === undefined && next < seed + 40; next += 1) {
      const [violation] = runShared(next, { stopsAtViolation: true }).violations;
      if (violation !== undefined) found = `seed ${next}: ${violation.invariant}`;
    }
    expect(found).toBeDefined();
  });
});
