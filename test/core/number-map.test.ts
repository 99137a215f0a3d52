import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NumberMap } from "../../src/core/number-map.js";

interface Value {
  readonly step: number;
}

/** One step on both; the two must come to the same. */
const steps = {
  set: (both: Map<number, Value> | NumberMap<Value>, key: number, step: number): unknown => {
    both.set(key, { step });
    return undefined;
  },
  get: (both: Map<number, Value> | NumberMap<Value>, key: number): unknown => both.get(key),
  take: (both: Map<number, Value> | NumberMap<Value>, key: number): unknown => {
    if (both instanceof NumberMap) return both.take(key);
    const value = both.get(key);
    both.delete(key);
    return value;
  },
  // Seldom, so that more than a few come together.
  clear: (both: Map<number, Value> | NumberMap<Value>, key: number): unknown => (key === 0 ? both.clear() : undefined),
};

describe("a map of numbers", () => {
  // Few places and many collisions; and numbers as large as those of requests may be.
  const key = fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 40 }).map((number) => number * 64),
    fc.integer({ min: 2 ** 32 - 40, max: 2 ** 32 - 1 }),
  );
  const step = fc.tuple(
    fc.constantFrom("set" as const, "set" as const, "take" as const, "get" as const, "clear" as const),
    key,
  );

  test("does what a Map does, whatever comes and goes in whatever order", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (taken) => {
        const map = new NumberMap<Value>();
        const model = new Map<number, Value>();
        for (const [at, [what, number]] of taken.entries()) {
          expect(steps[what](map, number, at)).toEqual(steps[what](model, number, at));
          expect(map.size).toBe(model.size);
        }
        for (const [number, value] of model) expect(map.get(number)).toEqual(value);
        expect(map.entries().sort(([a], [b]) => a - b)).toEqual([...model].sort(([a], [b]) => a - b));
      }),
    );
  });

  test("keeps those that stay while thousands come and go", () => {
    const map = new NumberMap<{ readonly number: number }>();
    for (let number = 1; number <= 20_000; number += 1) {
      map.set(number, { number });
      // Every thousandth stays.
      if (number > 64 && (number - 64) % 1_000 !== 0) expect(map.take(number - 64)?.number).toBe(number - 64);
    }
    expect(map.size).toBe(19 + 64);
    expect(map.get(5_000)?.number).toBe(5_000);
    for (const [number] of map.entries()) map.take(number);
    expect([map.size, map.entries(), map.get(5_000), map.take(1)]).toEqual([0, [], undefined, undefined]);
  });

  test("begins anew after so many that their places were given back, and tells all in the order of their numbers", () => {
    const map = new NumberMap<{ readonly number: number }>();
    for (const first of [1, 2 ** 31 - 300, 1]) {
      const numbers = Array.from({ length: 600 }, (_, index) => first + index);
      for (const number of numbers.toReversed()) map.set(number, { number });
      expect(map.entries().map(([number]) => number)).toEqual(numbers);
      for (const number of numbers) expect(map.take(number)?.number).toBe(number);
      expect([map.size, map.get(first)]).toEqual([0, undefined]);
    }
  });

  test("comes to an end with what it has not, however many it has", () => {
    const map = new NumberMap<{ readonly number: number }>();
    for (let number = 1; number <= 100; number += 1) {
      map.set(number, { number });
      expect([map.get(1_000 + number), map.take(2_000 + number)]).toEqual([undefined, undefined]);
    }
  });

  test("is empty when all have been taken", () => {
    const map = new NumberMap<{ readonly number: number }>();
    for (const number of [1, 2, 3]) map.set(number, { number });
    for (const [number] of map.entries()) map.take(number);
    expect([map.size, map.entries(), map.get(5_000), map.take(1)]).toEqual([0, [], undefined, undefined]);
  });
});
