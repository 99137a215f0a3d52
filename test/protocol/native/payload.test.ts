import { describe, expect, test } from "vitest";
import { keepable } from "../../../src/protocol/native/payload.js";

describe("bytes that are kept for long", () => {
  test.each([
    ["one byte of a read of 64 KiB", 1, true],
    ["less than a quarter of it", 16_383, true],
    ["a quarter of it", 16_384, false],
    ["all of it", 65_536, false],
  ])("hold on to no more than four times their length: %s", (_, length, isCopied) => {
    const read = new Uint8Array(65_536).fill(7);
    const kept = keepable(read.subarray(0, length));
    expect([...kept]).toEqual([...read.subarray(0, length)]);
    expect(kept.buffer !== read.buffer).toBe(isCopied);
    expect(kept.buffer.byteLength).toBeLessThanOrEqual(4 * length);
  });

  test("are none where there are none", () => {
    expect(keepable(new Uint8Array(0))).toHaveLength(0);
  });
});
