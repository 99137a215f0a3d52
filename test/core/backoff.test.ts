import { describe, expect, test } from "vitest";
import { backoffMs } from "../../src/core/backoff.js";
import { SeededRandom } from "../../src/core/random.js";

describe("a pause after failures in a row", () => {
  test("doubles up to its bound, each between half and the whole of its value", () => {
    const random = new SeededRandom(1);
    const wholes = [50, 100, 200, 400, 800, 1_000, 1_000];
    for (const [index, whole] of wholes.entries()) {
      for (let times = 0; times < 100; times += 1) {
        const pauseMs = backoffMs(index + 1, 50, 1_000, random);
        expect(pauseMs).toBeGreaterThanOrEqual(whole / 2);
        expect(pauseMs).toBeLessThan(whole);
      }
    }
  });

  test("is none after no failure, and within its bound after very many", () => {
    const random = new SeededRandom(1);
    expect([0, -1].map((failures) => backoffMs(failures, 50, 1_000, random))).toEqual([0, 0]);
    expect(backoffMs(1e9, 50, 1_000, random)).toBeLessThanOrEqual(1_000);
  });

  test("differs between those who failed together", () => {
    const pauses = [1, 2, 3].map((seed) => backoffMs(3, 50, 1_000, new SeededRandom(seed)));
    expect(new Set(pauses).size).toBe(3);
  });
});
