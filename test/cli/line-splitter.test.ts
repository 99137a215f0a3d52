import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LineSplitter, type SplitLine } from "../../src/cli/line-splitter.js";

function textOf(line: SplitLine | undefined): string | number | undefined {
  if (line === undefined) return undefined;
  return line instanceof Uint8Array ? Buffer.from(line).toString("latin1") : line.tooLong;
}

function cut(lines: LineSplitter, bytes: Uint8Array, size: number): (string | number | undefined)[] {
  const found: (string | number | undefined)[] = [];
  for (let at = 0; at < bytes.length; at += size)
    for (const line of lines.push(bytes.subarray(at, at + size))) found.push(textOf(line));
  return found;
}

describe("a line splitter", () => {
  it("gives the same lines however the bytes are cut, also within a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "\n", "\u00fc", "\u20ac") }), fc.nat(9), (text, size) => {
        const bytes = Buffer.from(text);
        const lines = new LineSplitter();
        const found = cut(lines, bytes, size + 1);
        const [last, ...whole] = bytes.toString("latin1").split("\n").reverse();
        expect(found).toEqual(whole.reverse());
        expect(lines.unfinishedBytes).toBe(last?.length);
        expect(textOf(lines.takeUnfinished()) ?? "").toBe(last);
      }),
    );
  });

  it("keeps lines up to a length, and counts longer ones", () => {
    const text = "a".repeat(10);
    const bytes = Buffer.from(`${text}\n${text}b\n\nc\n${text.repeat(300)}`);
    for (const size of [1, 2, 7, 10, 11, 12, 4_000]) {
      const lines = new LineSplitter(10);
      expect(cut(lines, bytes, size)).toEqual([text, 11, "", "c"]);
      expect(textOf(lines.takeUnfinished())).toBe(3_000);
      expect(lines.takeUnfinished()).toBeUndefined();
    }
  });

  it("takes lines and pieces of any length", () => {
    for (const piece of [65_535, 65_537, 200_000]) {
      const lines = new LineSplitter();
      expect(lines.push(new Uint8Array(piece))).toEqual([]);
      expect(lines.push(new Uint8Array(piece))).toEqual([]);
      const [line] = lines.push(Buffer.from("\n"));
      expect((line as Uint8Array).length).toBe(2 * piece);
    }
  });

  it("does not copy a line again for each byte", () => {
    const lines = new LineSplitter();
    const one = Uint8Array.of(0x78);
    // One copy for each byte would be 128 GiB, and take minutes.
    for (let count = 0; count < 512 * 1024; count += 1) lines.push(one);
    expect(lines.unfinishedBytes).toBe(512 * 1024);
  });
});
