import fc from "fast-check";
import { expect, test } from "vitest";
import { SeededRandom } from "../../src/core/random.js";

function draw(seed: number, count: number): number[] {
  const random = new SeededRandom(seed);
  return Array.from({ length: count }, () => random.next());
}

test("the same seed gives the same numbers", () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (seed) => {
      expect(draw(seed, 20)).toEqual(draw(seed, 20));
    }),
  );
});

/** sfc32 in exact integers, as its author's C code has it, with the seed in its first two words. */
function* sfc32(seed: bigint): Generator<number> {
  const word = (value: bigint): bigint => BigInt.asUintN(32, value);
  let [a, b, c, counter] = [word(seed), word(seed >> 32n), 0x9e3779b9n, 1n];
  for (let round = 0; ; round += 1) {
    const sum = word(a + b + counter);
    counter = word(counter + 1n);
    a = b ^ (b >> 9n);
    b = word(c + (c << 3n));
    c = word(((c << 21n) | (c >> 11n)) + sum);
    if (round >= 12) yield Number(sum) / 2 ** 32;
  }
}

test("numbers are those of sfc32, so that a seed that was kept still means the same run", () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (seed) => {
      const expected = sfc32(BigInt(seed));
      expect(draw(seed, 50)).toEqual(Array.from({ length: 50 }, () => expected.next().value));
    }),
  );
});

test("neighbouring seeds give other numbers, also where only the high half of the seed differs", () => {
  const firsts = [0, 1, 2, 3, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 33, 2 ** 52].map((seed) => draw(seed, 4).join());
  expect(new Set(firsts).size).toBe(firsts.length);
});

test("numbers lie in [0, 1)", () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (seed) => {
      for (const number of draw(seed, 100)) {
        expect(number).toBeGreaterThanOrEqual(0);
        expect(number).toBeLessThan(1);
      }
    }),
  );
});

test("numbers are spread evenly, and do not depend on the one before", () => {
  const buckets = 16;
  const draws = 64_000;
  const singles = new Array<number>(buckets).fill(0);
  const pairs = new Array<number>(buckets * buckets).fill(0);
  let last = 0;
  for (const number of draw(12_345, draws)) {
    const bucket = Math.floor(number * buckets);
    singles[bucket] = (singles[bucket] ?? 0) + 1;
    pairs[last * buckets + bucket] = (pairs[last * buckets + bucket] ?? 0) + 1;
    last = bucket;
  }
  // The seed is fixed, so this either always holds or never does; the bounds are six standard deviations wide.
  for (const count of singles) expect(Math.abs(count - 4_000)).toBeLessThan(6 * Math.sqrt(4_000));
  for (const count of pairs) expect(Math.abs(count - 250)).toBeLessThan(6 * Math.sqrt(250));
});

test("integers reach both ends and nothing beyond", () => {
  const random = new SeededRandom(1);
  const seen = new Set(Array.from({ length: 1_000 }, () => random.integer(-1, 3)));
  expect([...seen].toSorted((a, b) => a - b)).toEqual([-1, 0, 1, 2, 3]);
  expect(random.integer(7, 7)).toBe(7);
});

test("a chance of 0 never comes, a chance of 1 always, a quarter about each fourth time", () => {
  const random = new SeededRandom(1);
  const count = (probability: number): number =>
    Array.from({ length: 4_000 }, () => random.chance(probability)).filter(Boolean).length;
  expect(count(0)).toBe(0);
  expect(count(1)).toBe(4_000);
  expect(Math.abs(count(0.25) - 1_000)).toBeLessThan(170);
});
