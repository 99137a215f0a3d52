import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deepestValue, isValue } from "../../../src/protocol/native/value.js";

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
  });

  it("is looked for in any bytes without an exception", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => typeof isValue(bytes) === "boolean"));
  });
});
