import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NumberMap } from "../../src/core/number-map.js";

describe("a map of numbers", () => {
  // Few places and many collisions; and numbers as large as those of requests may be.
  const key = fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 40 }).map((number) => number * 64),
    fc.integer({ min: 2 ** 32 - 40, max: 2 ** 32 - 1 }),
  );

  test("does what a Map does, whatever comes and goes in whatever order", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom("set", "set", "take", "get", "clear"), key)), (steps) => {
        const map = new NumberMap<{ readonly step: number }>();
        const model = new Map<number, { readonly step: number }>();
        for (const [step, [what, number]] of steps.entries()) {
          if (what === "get") expect(map.get(number)).toBe(model.get(number));
          else if (what === "set") {
            map.set(number, { step });
            model.set(number, { step });
          } else if (what === "take") {
            expect(map.take(number)).toEqual(model.get(number));
            model.delete(number);
          } else if (number === 0) {
            map.clear();
            model.clear();
          }
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
});
