import fc from "fast-check";
import { expect, test } from "vitest";
import { ByteQueue } from "../../src/messaging/byte-queue.js";
import { content } from "./pair.js";

/** A push of so many bytes, or a take of at most so many. */
const steps = fc.tuple(
  fc.constantFrom("push", "push", "take"),
  fc.oneof(fc.integer({ min: 1, max: 3_000 }), fc.constantFrom(1, 4_095, 4_096, 10_000)),
);

function takeFrom(chunks: ByteQueue, most: number): Uint8Array {
  return chunks.take(most) ?? new Uint8Array(0);
}

test("chunks come out as the bytes that went in, whatever their lengths and the order of pushes and takes", () => {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 60, size: "max" }), (all) => {
      const chunks = new ByteQueue();
      let [pushed, taken] = [Buffer.alloc(0), Buffer.alloc(0)];
      for (const [index, [type, length]] of all.entries()) {
        if (type === "push") {
          const bytes = content(length, index);
          pushed = Buffer.concat([pushed, bytes]);
          chunks.push(bytes);
          // Short ones have been copied.
          if (length < 4_096) bytes.fill(0);
        } else if (chunks.bytes > 0) {
          const bytes = takeFrom(chunks, length);
          expect(bytes.length > 0 && bytes.length <= length).toBe(true);
          taken = Buffer.concat([taken, bytes]);
        }
        expect(chunks.bytes).toBe(pushed.length - taken.length);
      }
      while (chunks.bytes > 0) taken = Buffer.concat([taken, takeFrom(chunks, 1_000)]);
      expect(taken.equals(pushed)).toBe(true);
    }),
  );
});

test("a lent chunk whose memory was transferred away gives nothing, and neither does what is behind it", () => {
  const chunks = new ByteQueue();
  const buffer = new ArrayBuffer(5_000);
  chunks.push(content(10));
  chunks.push(new Uint8Array(buffer));
  structuredClone(buffer, { transfer: [buffer] });
  expect(chunks.take(100)).toHaveLength(10);
  expect([chunks.take(100), chunks.take(100)]).toEqual([undefined, undefined]);
});

test("no chunks give nothing", () => {
  const chunks = new ByteQueue();
  chunks.push(new Uint8Array(0));
  expect(chunks.bytes).toBe(0);
  expect(() => chunks.take(1)).toThrow(RangeError);
  chunks.push(content(10));
  chunks.clear();
  expect(chunks.bytes).toBe(0);
  expect(() => chunks.take(1)).toThrow(RangeError);
});
