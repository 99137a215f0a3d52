import { describe, expect, test } from "vitest";
import { EventRateLimiter } from "../../src/runtime/event-rate-limiter.js";

/** Sends events of 1,000 characters at one moment, and says how many go through. */
function flood(limiter: EventRateLimiter, count: number, type = "joined"): number {
  const passed = Array.from({ length: count }, () => limiter.pass(type, 1_000, 0));
  return passed.filter((leftOut) => leftOut !== undefined).length;
}

describe("EventRateLimiter", () => {
  test("passes 8,000 joins at once, two times", () => {
    const limiter = new EventRateLimiter();
    const passed = Array.from({ length: 16_000 }, () => limiter.pass("joined", 250, 0));
    expect(passed.every((leftOut) => leftOut === 0)).toBe(true);
  });

  test("passes less than 100 MB a day of one type, however long a flood lasts", () => {
    const limiter = new EventRateLimiter();
    flood(limiter, 10_000);
    const dayMs = 86_400_000;
    let characters = 0;
    for (let now = 10_000; now < 10_000 + dayMs; now += 100) {
      if (limiter.pass("joined", 1_000, now) !== undefined) characters += 1_000;
    }
    expect(characters).toBeGreaterThan(80_000_000);
    expect(characters).toBeLessThan(100_000_000);
  });

  test("reports with the next one that passes how many were dropped", () => {
    const limiter = new EventRateLimiter();
    const passed = flood(limiter, 10_000);
    expect(limiter.pass("joined", 1_000, 20_000)).toBe(10_000 - passed);
    expect(limiter.pass("joined", 1_000, 30_000)).toBe(0);
  });

  test("counts the length: one that exceeds the budget passes, and the next ones are dropped", () => {
    const limiter = new EventRateLimiter();
    expect(limiter.pass("directory", 5_000_000, 0)).toBe(0);
    expect(limiter.pass("directory", 10, 1)).toBeUndefined();
    expect(limiter.pass("directory", 10, 1_000_000)).toBe(1);
  });

  test("does not drop other types in a flood of one", () => {
    const limiter = new EventRateLimiter();
    flood(limiter, 10_000);
    expect(limiter.pass("degraded", 1_000, 10_000)).toBe(0);
  });

  test("reports dropped ones at the end", () => {
    const limiter = new EventRateLimiter();
    const passed = flood(limiter, 10_000) + flood(limiter, 10, "left");
    expect(limiter.finish()).toEqual([["joined", 10_010 - passed]]);
    expect(limiter.finish()).toEqual([]);
  });
});
