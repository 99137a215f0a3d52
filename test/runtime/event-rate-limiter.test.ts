import { describe, expect, test } from "vitest";
import { EventRateLimiter } from "../../src/runtime/event-rate-limiter.js";

/** Sends events of 1,000 characters at one moment, and says how many go through. */
function flood(gate: EventRateLimiter, count: number, type = "joined"): number {
  const passed = Array.from({ length: count }, () => gate.pass(type, 1_000, 0));
  return passed.filter((leftOut) => leftOut !== undefined).length;
}

describe("EventGate", () => {
  test("lets 8,000 joins through at once, two times", () => {
    const gate = new EventRateLimiter();
    const passed = Array.from({ length: 16_000 }, () => gate.pass("joined", 250, 0));
    expect(passed.every((leftOut) => leftOut === 0)).toBe(true);
  });

  test("lets one type through at less than 100 MB a day, however long a flood lasts", () => {
    const gate = new EventRateLimiter();
    flood(gate, 10_000);
    const dayMs = 86_400_000;
    let characters = 0;
    for (let now = 10_000; now < 10_000 + dayMs; now += 100) {
      if (gate.pass("joined", 1_000, now) !== undefined) characters += 1_000;
    }
    expect(characters).toBeGreaterThan(80_000_000);
    expect(characters).toBeLessThan(100_000_000);
  });

  test("says with the next one that goes through how many were left out", () => {
    const gate = new EventRateLimiter();
    const passed = flood(gate, 10_000);
    expect(gate.pass("joined", 1_000, 20_000)).toBe(10_000 - passed);
    expect(gate.pass("joined", 1_000, 30_000)).toBe(0);
  });

  test("counts the length: one of more than there is goes through, and those behind it wait", () => {
    const gate = new EventRateLimiter();
    expect(gate.pass("directory", 5_000_000, 0)).toBe(0);
    expect(gate.pass("directory", 10, 1)).toBeUndefined();
    expect(gate.pass("directory", 10, 1_000_000)).toBe(1);
  });

  test("does not let the flood of one type hide another", () => {
    const gate = new EventRateLimiter();
    flood(gate, 10_000);
    expect(gate.pass("degraded", 1_000, 10_000)).toBe(0);
  });

  test("says at the end what nobody has been told", () => {
    const gate = new EventRateLimiter();
    const passed = flood(gate, 10_000) + flood(gate, 10, "left");
    expect(gate.finish()).toEqual([["joined", 10_010 - passed]]);
    expect(gate.finish()).toEqual([]);
  });
});
