import { describe, expect, it } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import { addressOf } from "./outcomes.js";
import { pair } from "./pair.js";

const KiB = 1_024;

describe("what a loop does not take", () => {
  it("is put off beyond what all peers may have, with its connection, and comes once and in order in the end", async () => {
    const { first, second, secondLog } = await pair(
      {},
      { limits: { heldBytes: 400 * KiB, heldPerPeerBytes: 10 * KiB } },
    );
    const loop = second.subscribe("a");
    const count = 100;
    const sent = Array.from({ length: count }, (_, index) => `${index}`.padEnd(4 * KiB, "."));
    for (const text of sent) first.send(addressOf(second), "a", text);
    await secondLog.first(({ code }) => code === "OVERLOADED");
    const taken: unknown[] = [];
    for await (const { payload } of loop) {
      taken.push(payload);
      if (taken.length === count) break;
    }
    expect(taken).toEqual(sent);
    expect(count * 4 * KiB).toBeLessThan(defaultLimits.queueSoftBytes);
  });
});
