import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ascii, utf8 } from "../../src/protocol/text.js";
import { bytesOf } from "./readers.js";

test("ascii gives one byte for each character", () => {
  expect(ascii("list:\n")).toEqual(Uint8Array.of(0x6c, 0x69, 0x73, 0x74, 0x3a, 0x0a));
});

describe("utf8", () => {
  test("reads what is UTF-8, character by character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(utf8(new TextEncoder().encode(text))).toBe(text);
      }),
    );
  });

  test("keeps a byte order mark", () => {
    expect(utf8(bytesOf("\xef\xbb\xbfa"))).toBe("\ufeffa");
  });

  test.each(["\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80"])("is nothing for %j", (text) => {
    expect(utf8(bytesOf(text))).toBeUndefined();
  });
});
