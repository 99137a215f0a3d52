import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Lines } from "../../src/cli/lines.js";

function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString("latin1");
}

describe("lines", () => {
  it("are the same however their bytes come, also where a character is cut", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "\n", "\u00fc", "\u20ac") }), fc.nat(9), (text, size) => {
        const bytes = Buffer.from(text);
        const lines = new Lines();
        const cut: (string | undefined)[] = [];
        for (let at = 0; at < bytes.length; at += size + 1)
          cut.push(...lines.push(bytes.subarray(at, at + size + 1)).map(textOf));
        const [last, ...whole] = bytes.toString("latin1").split("\n").reverse();
        expect(cut).toEqual(whole.reverse());
        expect(textOf(lines.rest()) ?? "").toBe(last);
      }),
    );
  });

  it("without an end are passed on in pieces, so that they cost no more than one piece", () => {
    const lines = new Lines();
    const pieces = lines.push(new Uint8Array(200_000));
    expect(pieces.map(({ length }) => length)).toEqual([65_536, 65_536, 65_536]);
    expect(lines.rest()?.length).toBe(200_000 - 3 * 65_536);
    expect(lines.rest()).toBeUndefined();
  });
});
