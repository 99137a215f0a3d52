import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  address,
  code,
  type Field,
  id,
  isMeta,
  isName,
  list,
  literalTrue,
  longestMeta,
  longestName,
  meta,
  name,
  object,
  oneOf,
  optional,
  readFields,
  row,
  sentence,
  wholeNumber,
} from "../../../src/protocol/native/fields.js";

const all: readonly (readonly [string, Field<unknown>])[] = Object.entries({
  id,
  address,
  whole: wholeNumber(1),
  name,
  meta,
  sentence,
  code,
  yes: literalTrue,
  oneOf: oneOf(["a", "b"]),
  list: list(id),
  row: row("order, reason", wholeNumber(1), sentence),
  object: object("an object", { id, name: optional(name) }),
});

describe("every field", () => {
  test.each(all)("says what it may hold: %s", (_, field) => {
    expect(field.describes).toMatch(/^\S.*\S$/);
  });

  test.each(all)("takes no null, and throws on no JSON value: %s", (_, field) => {
    expect(field.read(null)).toBeUndefined();
    expect(field.read(undefined)).toBeUndefined();
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const read = field.read(value);
        // What has been read once is as it should be, so reading it again changes nothing.
        if (read !== undefined) expect(field.read(read)).toEqual(read);
      }),
    );
  });
});

describe("a whole number", () => {
  test.each([
    [1, 1],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    [0, undefined],
    [-1, undefined],
    [1.5, undefined],
    [2 ** 53, undefined],
    [Number.POSITIVE_INFINITY, undefined],
    [Number.NaN, undefined],
    ["1", undefined],
    [[1], undefined],
    [true, undefined],
  ])("from 1: %j is %j", (value, expected) => {
    expect(wholeNumber(1).read(value)).toBe(expected);
  });

  test("has no negative zero", () => {
    expect(wholeNumber(0).read(JSON.parse("-0"))).toBe(0);
  });
});

describe("a name", () => {
  test.each([
    ["default", true],
    ["a".repeat(longestName), true],
    ["a".repeat(longestName + 1), false],
    ["ü".repeat(longestName / 2), true],
    [`${"ü".repeat(longestName / 2)}a`, false],
    ["", false],
    ["a\nb", false],
    ["a\x7f", false],
    ["a\u0085", false],
    ["a b/c\u{1f310}", true],
    ["a\ud83c", false],
    ["\udf10\ud83c", false],
  ])("%j is one: %s", (text, expected) => {
    expect(isName(text)).toBe(expected);
    expect(name.read(text)).toBe(expected ? text : undefined);
  });
});

describe("what a member says of itself", () => {
  const circle: Record<string, unknown> = {};
  circle.itself = circle;

  test.each([
    ["an empty object", {}, true],
    ["JSON of all kinds", { a: [1, null, true, { b: "c" }] }, true],
    [`${longestMeta} bytes`, { m: "x".repeat(longestMeta - 8) }, true],
    [`${longestMeta + 1} bytes`, { m: "x".repeat(longestMeta - 7) }, false],
    [`${longestMeta + 1} bytes, but fewer characters`, { m: `ü${"x".repeat(longestMeta - 9)}` }, false],
    ["a list", [], false],
    ["null", null, false],
    ["text", "{}", false],
    ["a date, which JSON writes as text", new Date(0), false],
    ["a circle", circle, false],
    ["a big integer", { a: 1n }, false],
    ["nothing", undefined, false],
  ])("may be: %s", (_, value, expected) => {
    expect(isMeta(value)).toBe(expected);
  });

  test("may not be nested beyond what a stack holds", () => {
    const deep = 30_000;
    expect(meta.read(JSON.parse(`{"a":${"[".repeat(deep)}${"]".repeat(deep)}}`))).toBeUndefined();
  });

  test("is nothing with a key named __proto__, however deep, but may have a text of that name", () => {
    expect(meta.read(JSON.parse('{"__proto__":{"isAdmin":true}}'))).toBeUndefined();
    expect(meta.read(JSON.parse('{"a":[{"b":{"\\u005f_proto__":1}}]}'))).toBeUndefined();
    const fine = { a: "__proto__", b: '"__proto__":', constructor: 1 };
    expect(meta.read(fine)).toBe(fine);
  });
});

describe("a sentence", () => {
  test("is cut after 500 characters, and half a character at its end is replaced", () => {
    expect(sentence.read("x".repeat(500))).toBe("x".repeat(500));
    expect(sentence.read("x".repeat(501))).toBe("x".repeat(500));
    expect(sentence.read(`${"x".repeat(499)}\u{1f310}`)).toBe(`${"x".repeat(499)}\ufffd`);
  });

  test("steers no terminal", () => {
    expect(sentence.read("a\x1b[2J\r\n\x07b\u009b")).toBe("a\ufffd[2J\ufffd\ufffd\ufffdb\ufffd");
  });

  test("keeps whole characters of any script", () => {
    expect(sentence.read("größer 測試 \u{1f310}")).toBe("größer 測試 \u{1f310}");
  });
});

describe("a code", () => {
  test.each([
    ["BUSY", true],
    ["ADDRESS_IN_USE", true],
    ["A".repeat(40), true],
    ["A".repeat(41), false],
    ["_A", false],
    ["busy", false],
    ["BUSY\n", false],
    ["", false],
  ])("%j is one: %s", (text, expected) => {
    expect(code.read(text)).toBe(expected ? text : undefined);
  });
});

describe("an id", () => {
  test.each([
    ["0123456789abcdef0123456789abcdef", true],
    ["0123456789ABCDEF0123456789ABCDEF", false],
    ["0123456789abcdef0123456789abcde", false],
    ["0123456789abcdef0123456789abcdef0", false],
    ["0123456789abcdef0123456789abcdef\n", false],
  ])("%j is one: %s", (text, expected) => {
    expect(id.read(text)).toBe(expected ? text : undefined);
  });
});

describe("lists and rows", () => {
  test("a list with a bad item is none", () => {
    expect(list(wholeNumber(1)).read([1, 2])).toEqual([1, 2]);
    expect(list(wholeNumber(1)).read([1, 0])).toBeUndefined();
    expect(list(wholeNumber(1)).read({ length: 0 })).toBeUndefined();
  });

  test("a row may be longer than expected, not shorter", () => {
    expect(row("order, reason", wholeNumber(1), sentence).read([1, "a", "new"])).toEqual([1, "a"]);
    expect(row("order, reason", wholeNumber(1), sentence).read([1])).toBeUndefined();
    expect(row("order, reason", wholeNumber(1), sentence).read(["1", "a"])).toBeUndefined();
  });
});

describe("the fields of an object", () => {
  const fields = { place: wholeNumber(1), name: optional(name) };

  test("are read without those that nobody knows", () => {
    expect(readFields(fields, { place: 1, colour: "red" })).toEqual({ place: 1 });
    expect(readFields(fields, { place: 1, name: "a" })).toEqual({ place: 1, name: "a" });
  });

  test("say which of them is bad", () => {
    expect(readFields(fields, {})).toBe("place");
    expect(readFields(fields, { place: 1, name: "" })).toBe("name");
    expect(readFields(fields, { place: 1, name: null })).toBe("name");
  });

  test("are its own, not those of its prototype", () => {
    expect(readFields(fields, JSON.parse('{"__proto__":{"place":1}}') as object)).toBe("place");
    expect(readFields(fields, Object.create({ place: 1 }) as object)).toBe("place");
  });
});
