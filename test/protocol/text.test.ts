import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ascii, harmless, printable, utf8 } from "../../src/protocol/text.js";
import { bytesOf } from "./readers.js";

describe("printable", () => {
  test("leaves plain ASCII as it is", () => {
    expect(printable(bytesOf("127.0.0.1:80 ~!"))).toBe("127.0.0.1:80 ~!");
  });

  test("shows every other byte by its number, and the backslash too, so that it cannot be forged", () => {
    expect(printable(bytesOf("a\n\x1b[31m\x7f\xff\\"))).toBe("a\\x0a\\x1b[31m\\x7f\\xff\\x5c");
  });

  test("says that it left something out", () => {
    expect(printable("x".repeat(64))).toBe("x".repeat(64));
    expect(printable("x".repeat(65))).toBe(`${"x".repeat(64)}...`);
    expect(printable("abcdef", 3)).toBe("abc...");
  });

  test("gives printable ASCII of bounded length for any bytes and any string", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ unit: "binary" })), (foreign) => {
        const text = printable(foreign);
        expect(text).toMatch(/^[\x20-\x7e]*$/);
        expect(text.length).toBeLessThanOrEqual(64 + "\\x00".length + "...".length);
      }),
    );
  });
});

test("harmless leaves words of any language, and replaces what could steer a terminal and halves of pairs", () => {
  expect(harmless("größer 測試 \u{1f310} \\x1b")).toBe("größer 測試 \u{1f310} \\x1b");
  expect(harmless("a\x1b[2J\r\n\x07b\u009b\ud83c.\udf10")).toBe("a\ufffd[2J\ufffd\ufffd\ufffdb\ufffd\ufffd.\ufffd");
});

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
