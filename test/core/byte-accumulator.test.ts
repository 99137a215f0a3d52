import { describe, expect, test } from "vitest";
import { ByteAccumulator } from "../../src/core/byte-accumulator.js";

function gathered(...pieces: readonly Uint8Array[]): ByteAccumulator {
  const bytes = new ByteAccumulator();
  for (const piece of pieces) bytes.add(piece);
  return bytes;
}

describe("gathered bytes", () => {
  test.each([[[]], [[3]], [[1, 1, 1]], [[255, 1, 1]], [[256]], [[300, 300, 70_000, 5]]])(
    "are the bytes of pieces of %j in order",
    (lengths) => {
      let next = 0;
      const pieces = lengths.map((length) => Uint8Array.from({ length }, () => next++));
      expect(Buffer.concat([...gathered(...pieces)])).toEqual(Buffer.concat(pieces));
    },
  );

  test("hold less than twice what has come, and one block, however small the pieces are", () => {
    for (const length of [1, 2, 100, 1_000, 65_536]) {
      const piece = new Uint8Array(length);
      const bytes = new ByteAccumulator();
      let came = 0;
      for (; came < 1_000_000; came += length) bytes.add(piece);
      expect(bytes.heldBytes).toBeLessThanOrEqual(2 * came + 256);
      expect([...bytes].length).toBeLessThan(40);
    }
  });

  test("keep nothing of the memory that a piece was a view of", () => {
    const read = Uint8Array.of(1, 2, 3);
    const bytes = gathered(read.subarray(1));
    read.fill(9);
    expect([...bytes].map((block) => [...block])).toEqual([[2, 3]]);
  });
});
