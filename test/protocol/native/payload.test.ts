import { describe, expect, test } from "vitest";
import { detachIfSmall, viewOf } from "../../../src/protocol/native/payload.js";

describe("a view", () => {
  test("shows what it is asked for, whichever bytes were viewed before, and shares their memory", () => {
    const memory = Uint8Array.from({ length: 100 }, (_, index) => index);
    const parts = [memory, memory.subarray(10), Uint8Array.of(7, 8, 9), Buffer.from(memory.buffer, 50, 20)];
    for (const bytes of [...parts, ...parts.toReversed(), ...parts]) {
      const view = viewOf(bytes, 1, 3);
      expect([...view]).toEqual([bytes[1], bytes[2]]);
      expect(view.buffer).toBe(bytes.buffer);
    }
  });

  test("of no bytes holds on to no memory", () => {
    expect(viewOf(new Uint8Array(100), 5, 5).buffer.byteLength).toBe(0);
  });
});

describe("bytes that are kept for long", () => {
  test.each([
    ["one byte of a read of 64 KiB", 1, true],
    ["less than a quarter of it", 16_383, true],
    ["a quarter of it", 16_384, false],
    ["all of it", 65_536, false],
  ])("hold on to no more than four times their length: %s", (_, length, isCopied) => {
    const read = new Uint8Array(65_536).fill(7);
    const kept = detachIfSmall(read.subarray(0, length));
    expect([...kept]).toEqual([...read.subarray(0, length)]);
    expect(kept.buffer !== read.buffer).toBe(isCopied);
    expect(kept.buffer.byteLength).toBeLessThanOrEqual(4 * length);
  });

  test("are none where there are none", () => {
    expect(detachIfSmall(new Uint8Array(0))).toHaveLength(0);
  });
});
