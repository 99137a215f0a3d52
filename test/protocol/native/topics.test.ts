import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeTopic, isTopic, longestTopic } from "../../../src/protocol/native/topics.js";

const texts = fc.string({ unit: "binary", maxLength: 12 });

describe("a topic", () => {
  test.each([
    ["", true],
    ["a".repeat(longestTopic), true],
    ["a".repeat(longestTopic + 1), false],
    ["ü".repeat(127), true],
    ["ü".repeat(128), false],
    ["\n\0", true],
    ["\u{1f310}", true],
    ["\ud83c", false],
    ["\udf10\ud83c", false],
  ])("%j is one: %s", (text, expected) => {
    expect(isTopic(text)).toBe(expected);
  });

  test("is read as it was written, whatever others went by before and after", () => {
    fc.assert(
      fc.property(fc.array(texts, { minLength: 1, maxLength: 40 }), (all) => {
        for (const text of [...all, ...all]) {
          if (!isTopic(text)) continue;
          const bytes = new TextEncoder().encode(text);
          const around = Uint8Array.of(1, 2, ...bytes, 3);
          expect(decodeTopic(around, 2, 2 + bytes.length)).toBe(text);
        }
      }),
    );
  });

  test("is not mistaken for another of the same length, beginning and end", () => {
    for (const text of ["abc", "axc", "abc", "a\u00fcc", "abbc"]) {
      const bytes = new TextEncoder().encode(text);
      expect(decodeTopic(bytes, 0, bytes.length)).toBe(text);
    }
  });

  test("is remembered as it was, whatever becomes of the bytes that it was read from", () => {
    const read = Buffer.from("chat");
    expect(decodeTopic(read, 0, 4)).toBe("chat");
    read.fill("c", 1, 3);
    expect(decodeTopic(read, 0, 4)).toBe("ccct");
    expect(decodeTopic(Buffer.from("chat"), 0, 4)).toBe("chat");
  });

  test("is none when it is no UTF-8, also twice, and when it is too long", () => {
    const bad = Uint8Array.of(0x61, 0xff, 0x61);
    expect([decodeTopic(bad, 0, 3), decodeTopic(bad, 0, 3), decodeTopic(bad, 0, 1)]).toEqual([
      undefined,
      undefined,
      "a",
    ]);
    expect(decodeTopic(new Uint8Array(256).fill(97), 0, 256)).toBeUndefined();
  });
});
