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

describe("lines", () => {
  it("are the same however their bytes come, also where a character is cut", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "\n", "\u00fc", "\u20ac") }), fc.nat(9), (text, size) => {
        const bytes = Buffer.from(text);
        const lines = new LineSplitter();
        const found = cut(lines, bytes, size + 1);
        const [last, ...whole] = bytes.toString("latin1").split("\n").reverse();
        expect(found).toEqual(whole.reverse());
        expect(lines.restBytes).toBe(last?.length);
        expect(textOf(lines.rest()) ?? "").toBe(last);
      }),
    );
  });

  it("are kept up to a length, and counted beyond it, however their bytes come", () => {
    const text = "a".repeat(10);
    const bytes = Buffer.from(`${text}\n${text}b\n\nc\n${text.repeat(300)}`);
    for (const size of [1, 2, 7, 10, 11, 12, 4_000]) {
      const lines = new LineSplitter(10);
      expect(cut(lines, bytes, size)).toEqual([text, 11, "", "c"]);
      expect(textOf(lines.rest())).toBe(3_000);
      expect(lines.rest()).toBeUndefined();
    }
  });

  it("may be of any length, and be cut into pieces of any length, whatever is kept of them already", () => {
    for (const piece of [65_535, 65_537, 200_000]) {
      const lines = new LineSplitter();
      expect(lines.push(new Uint8Array(piece))).toEqual([]);
      expect(lines.push(new Uint8Array(piece))).toEqual([]);
      const [line] = lines.push(Buffer.from("\n"));
      expect((line as Uint8Array).length).toBe(2 * piece);
    }
  });

  it("are not copied anew for each byte that comes", () => {
    const lines = new LineSplitter();
    const one = Uint8Array.of(0x78);
    // Copied whole for each byte, these would be 128 GiB, and take minutes.
    for (let count = 0; count < 512 * 1024; count += 1) lines.push(one);
    expect(lines.restBytes).toBe(512 * 1024);
  });
});
