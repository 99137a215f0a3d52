import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { callerKindOf } from "../../../src/protocol/caller-kind.js";
import {
  decodePreface,
  encodePreface,
  firstNativeByte,
  isSupported,
  mayBePreface,
  prefaceBytes,
  version,
} from "../../../src/protocol/native/preface.js";

const byte = fc.integer({ min: 0, max: 255 });

describe("a preface", () => {
  test("has eight bytes, of which the first begins no text and tells who calls", () => {
    const preface = encodePreface();
    expect(preface).toEqual(Uint8Array.of(0xf7, 0x66, 0x6d, 0x65, 0x73, 0x68, version, version));
    expect(preface).toHaveLength(prefaceBytes);
    expect(callerKindOf(firstNativeByte, undefined)).toBe("native");
    expect(() => new TextDecoder("utf-8", { fatal: true }).decode(preface)).toThrow();
  });

  test("reads back for every range that is one, and for no other", () => {
    fc.assert(
      fc.property(byte, byte, (lowest, highest) => {
        const isRange = lowest >= 1 && lowest <= highest;
        expect(decodePreface(encodePreface({ lowest, highest }))).toEqual(isRange ? { lowest, highest } : undefined);
      }),
    );
  });

  test("may still come as long as its magic does", () => {
    const preface = encodePreface();
    for (let end = 0; end <= prefaceBytes; end += 1) {
      expect(mayBePreface(preface.subarray(0, end))).toBe(true);
      expect(decodePreface(preface.subarray(0, end)) === undefined).toBe(end < prefaceBytes);
    }
    for (let index = 0; index < 6; index += 1) {
      const other = preface.with(index, 0x20);
      expect(mayBePreface(other.subarray(0, index + 1))).toBe(false);
      expect(decodePreface(other)).toBeUndefined();
    }
  });

  test("of nine bytes is none", () => {
    expect(decodePreface(Uint8Array.of(...encodePreface(), 1))).toBeUndefined();
  });

  test("suits us if our version lies in its range", () => {
    expect(isSupported({ lowest: version, highest: version })).toBe(true);
    expect(isSupported({ lowest: version, highest: 255 })).toBe(true);
    expect(isSupported({ lowest: version + 1, highest: 255 })).toBe(false);
  });
});
