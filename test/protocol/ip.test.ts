import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalIp, isUnspecified, longestIp } from "../../src/protocol/ip.js";

const hextet = fc.integer({ min: 0, max: 0xffff });
const groups = fc.array(fc.oneof(hextet, fc.constant(0)), { minLength: 8, maxLength: 8 });

/** The same eight groups, written in other ways that RFC 4291 allows. */
function spellings(values: readonly number[]): string[] {
  const hex = values.map((value) => value.toString(16));
  const padded = hex.map((text) => text.padStart(4, "0"));
  const [high = 0, low = 0] = values.slice(6);
  const dotted = [high >> 8, high & 255, low >> 8, low & 255].join(".");
  const all = [
    hex.join(":"),
    padded.join(":"),
    padded.join(":").toUpperCase(),
    [...hex.slice(0, 6), dotted].join(":"),
    [...padded.slice(0, 6), dotted].join(":"),
  ];
  for (let start = 0; start < 8; start += 1) {
    for (let end = start + 1; end <= 8 && values[end - 1] === 0; end += 1) {
      all.push(`${hex.slice(0, start).join(":")}::${hex.slice(end).join(":")}`);
    }
  }
  return all;
}

/** Strings from which IP literals are made, put together at random: some are literals, most are nearly so. */
const nearLiterals = fc
  .array(
    fc.constantFrom("0", "1", "10", "255", "256", "01", "ffff", "FFFF", "db8", "g", ".", ".", ":", ":", "::", " "),
    {
      maxLength: 16,
    },
  )
  .map((parts) => parts.join(""));
const fourNumbers = fc
  .array(
    fc.constantFrom("0", "1", "9", "10", "99", "100", "199", "255", "256", "300", "00", "07", "", "+1", "0x1", "1e1"),
    {
      minLength: 3,
      maxLength: 5,
    },
  )
  .map((parts) => parts.join("."));

describe("canonicalIp", () => {
  test("accepts exactly the literals without a zone that node:net accepts", () => {
    const literals = fc.oneof(
      nearLiterals,
      fourNumbers,
      fc.ipV4(),
      fc.ipV6(),
      groups.chain((values) => fc.constantFrom(...spellings(values))),
      fc.string(),
    );
    fc.assert(
      fc.property(literals, (text) => {
        fc.pre(!text.includes("%"));
        expect(canonicalIp(text) !== undefined).toBe(isIP(text) !== 0);
      }),
      { numRuns: 5_000 },
    );
  });

  test("is idempotent, and gives a literal that is no longer than the longest", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const canonical = canonicalIp(text);
        if (canonical === undefined) throw new Error(`${text} was refused`);
        expect(canonicalIp(canonical)).toBe(canonical);
        expect(isIP(canonical)).not.toBe(0);
        expect(canonical.length).toBeLessThanOrEqual(longestIp);
      }),
    );
  });

  test("gives one spelling to an address however it is written", () => {
    fc.assert(
      fc.property(groups, (values) => {
        expect(new Set(spellings(values).map((text) => canonicalIp(text))).size).toBe(1);
      }),
    );
  });

  test("keeps different addresses different", () => {
    fc.assert(
      fc.property(groups, groups, (a, b) => {
        fc.pre(a.join() !== b.join());
        expect(canonicalIp(a.map((value) => value.toString(16)).join(":"))).not.toBe(
          canonicalIp(b.map((value) => value.toString(16)).join(":")),
        );
      }),
    );
  });

  test.each([
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:0:0:0:0:0:0:0", "1::"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["::FFFF:0a00:1", "10.0.0.1"],
    ["::ffff:0:10.0.0.1", "::ffff:0:a00:1"],
    ["::10.0.0.1", "::a00:1"],
    ["10.0.0.1", "10.0.0.1"],
  ])("writes %s as %s", (text, canonical) => {
    expect(canonicalIp(text)).toBe(canonical);
  });

  test.each([
    "",
    "127.1",
    "0177.0.0.1",
    "2130706433",
    "0x7f.0.0.1",
    "1.2.3.4.",
    "fe80::1%eth0",
    "::1%1",
    "1::2::3",
    ":::",
    "1::2:3:4:5:6:7:8",
    "::1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8::",
    "1:2:3:4:5:6:7:1.2.3.4",
    "1:2:3:4:5:6:7:",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "[::1]",
    "localhost",
    "١.٢.٣.٤",
  ])("refuses %j, which a resolver might read as it likes", (text) => {
    expect(canonicalIp(text)).toBeUndefined();
  });

  test("takes the longest literal and nothing that is longer", () => {
    const longest = "0000:0000:0000:0000:0000:abcd:255.255.255.255";
    expect(longest).toHaveLength(longestIp);
    expect(canonicalIp(longest)).toBe("::abcd:ffff:ffff");
    expect(canonicalIp(`0${longest}`)).toBeUndefined();
  });
});

test("the unspecified addresses are 0.0.0.0 and ::, however they are written", () => {
  for (const text of ["0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::0.0.0.0", "::ffff:0.0.0.0"]) {
    expect(isUnspecified(canonicalIp(text) ?? "")).toBe(true);
  }
  for (const text of ["0.0.0.1", "::1", "127.0.0.1"]) expect(isUnspecified(text)).toBe(false);
});
