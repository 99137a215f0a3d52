import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { decode, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { deepestValue, weighValue } from "../../../src/protocol/native/value.js";

function isValue(bytes: Uint8Array): boolean {
  return weighValue(bytes) !== undefined;
}

/** A list of so many, each of these bytes. */
function list(item: readonly number[], count: number): Uint8Array {
  const bytes = new Uint8Array(5 + count * item.length);
  bytes.set([0xdd, count >>> 24, (count >> 16) & 255, (count >> 8) & 255, count & 255]);
  for (let at = 5; at < bytes.length; at += item.length) bytes.set(item, at);
  return bytes;
}

/** An array of one in an array of one, and so on. */
function nested(depth: number): Uint8Array {
  return Uint8Array.from([...Array(depth).fill(0x91), 1]);
}

describe("what may be a value", () => {
  it("is everything that the codec writes", () => {
    fc.assert(fc.property(fc.anything({ withDate: true, maxDepth: 5 }), (value) => isValue(encode(value))));
    for (const size of [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536]) {
      expect(isValue(encode("x".repeat(size)))).toBe(true);
      expect(isValue(encode(new Uint8Array(size)))).toBe(true);
      expect(isValue(encode(Array.from({ length: size }, () => 1)))).toBe(true);
      expect(isValue(encode(Object.fromEntries(Array.from({ length: size }, (_, key) => [key, [key]]))))).toBe(true);
    }
  });

  it("is nothing that is cut short, and nothing that is too long", () => {
    const whole = encode({ text: "some", list: [1, 2.5, -70_000, new Uint8Array(300)], at: new Date(0), no: null });
    for (let length = 0; length < whole.length; length += 1) expect(isValue(whole.subarray(0, length))).toBe(false);
    expect(isValue(Uint8Array.of(...whole, 0xc0))).toBe(false);
  });

  it("knows all types but one", () => {
    for (let type = 0; type < 256; type += 1) {
      const bytes = new Uint8Array(1 + 4 + 256).fill(0);
      bytes[0] = type;
      const isSome = Array.from(bytes, (_, length) => isValue(bytes.subarray(0, length + 1))).some(Boolean);
      expect([type, isSome]).toEqual([type, type !== 0xc1]);
    }
  });

  it("is so deep and no deeper", () => {
    expect(isValue(nested(deepestValue))).toBe(true);
    expect(isValue(nested(deepestValue + 1))).toBe(false);
    expect(isValue(nested(1_000_000))).toBe(false);
  });

  it("is not what announces more than there is, however often", () => {
    const bomb = new Uint8Array(100_000);
    for (let at = 0; at + 5 <= bomb.length; at += 5) bomb.set([0xdd, 0, 0, 0xff, 0xff], at);
    expect(isValue(bomb)).toBe(false);
    // Not because of its depth.
    for (const count of [1, 2, deepestValue - 1]) expect(isValue(bomb.subarray(0, 5 * count))).toBe(false);
  });

  it("is looked for in any bytes without an exception", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => typeof isValue(bytes) === "boolean"));
  });
});

/** What the codec makes of these bytes takes so much memory: the median of several measurements, since others allocate and free meanwhile. */
async function measured(bytes: Uint8Array): Promise<number> {
  const collect = await collector();
  const measurements = Array.from({ length: 3 }, () => {
    const kept: unknown[] = [];
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let copy = 0; copy < 4; copy += 1) kept.push(decode(bytes));
    collect();
    return (process.memoryUsage().heapUsed - before) / kept.length;
  });
  return measurements.sort((a, b) => a - b)[1] ?? 0;
}

/** Collects garbage, which Node does on demand only if it was told so. */
async function collector(): Promise<() => void> {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}

describe("the weight of a value", () => {
  const many = 20_000;
  const keyed = (count: number, keys: number): Uint8Array =>
    encode(
      Array.from({ length: count }, (_, row) =>
        Object.fromEntries(Array.from({ length: keys }, (_, key) => [`k${row}.${key}`, 1])),
      ),
    );
  const heavy: readonly (readonly [what: string, bytes: Uint8Array])[] = [
    ["empty maps", list([0x80], many)],
    ["empty arrays", list([0x90], many)],
    ["arrays of one", list([0x91, 0xc0], many)],
    ["arrays in arrays", list([...Array(98).fill(0x91), 1], 500)],
    ["nulls", list([0xc0], many)],
    ["short texts", list([0xa2, 0x61, 0x62], many)],
    ["wide texts", encode(Array(1_000).fill(`${"x".repeat(300)}\u4e00`))],
    ["dates", list([0xd6, 0xff, 1, 2, 3, 4], many)],
    ["byte arrays", list([0xc4, 0], many)],
    ["numbers with a fraction", encode(Array.from({ length: many }, (_, index) => index + 0.5))],
    ["large numbers", encode(Array.from({ length: many }, (_, index) => 2 ** 32 - 1 - index))],
    ["maps with a key of their own", keyed(many, 1)],
    ["maps with five keys of their own", keyed(4_000, 5)],
    ["maps with thirty keys of their own", keyed(600, 30)],
    ["one map with many keys", keyed(1, many)],
    ["maps with a large number as their key", list([0x81, 0xcd, 0x03, 0xff, 1], 500)],
    ["maps with a text of digits as their key", list([0x81, 0xa4, 0x31, 0x30, 0x32, 0x33, 1], 500)],
    ["maps with two numbers far from one another as keys", list([0x82, 0xcd, 3, 0xff, 1, 0xcd, 9, 0xc4, 1], 200)],
    ["maps with a number with a fraction as their key", list([0x81, 0xca, 0x44, 0x7f, 0xc0, 0, 1], 500)],
    ["maps with small numbers as keys", list([0x82, 1, 1, 2, 1], many)],
    ["maps with a number beyond all places", list([0x81, 0xce, 200, 0, 0, 1, 1], many)],
  ];

  it.each(heavy)("is no less than what they take: %s", async (_what, bytes) => {
    const weight = weighValue(bytes) ?? 0;
    const memory = await measured(bytes);
    // What the test itself leaves behind meanwhile is small beside them.
    expect(weight).toBeGreaterThan(memory - 100_000);
    expect(weight).toBeLessThan(5 * memory + 200_000);
  });

  it("of what people send is far below what is allowed", () => {
    const rows = Array.from({ length: 5_000 }, (_, id) => ({
      id,
      name: `name ${id}`,
      price: id / 3,
      tags: ["a", "b"],
      at: new Date(id),
    }));
    const values = [
      Array.from({ length: 100_000 }, Math.random),
      rows,
      "x".repeat(1_000_000),
      new Uint8Array(1_000_000),
    ];
    for (const value of values) expect(weighValue(encode(value))).toBeLessThan(defaultLimits.valueBytes / 2);
  });

  it("of no value below 4 KiB is more than is allowed, so that those need not be weighed by who sends them", () => {
    const worst = Math.max(...heavy.map(([, bytes]) => (weighValue(bytes) ?? 0) / bytes.length));
    expect(worst * 4_096).toBeLessThan(defaultLimits.valueBytes);
  });

  it("ends the looking when it is more than is allowed", () => {
    const bytes = list([0x80], 100_000);
    bytes.set([0xc1], bytes.length - 1);
    expect(weighValue(bytes)).toBeUndefined();
    expect(weighValue(bytes, 1_000)).toBeGreaterThan(1_000);
  });
});
