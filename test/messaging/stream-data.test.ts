import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import { numberedKinds } from "../../src/protocol/native/numbered-frames.js";
import { type End, faultText, Pair, topic } from "./pair.js";

const { data, end, message, open } = numberedKinds;
const id = [0, 0, 0, 2];

/** The end that does not own the link, with two streams that its peer has opened. */
function opened(): End {
  const end = new Pair().first;
  for (const number of [2, 4]) expect(end.receive(open, 0, 0, 0, number, topic("file"))).toBeUndefined();
  return end;
}

/** A portion comes, cut at these places, up to the one after which its connection breaks; the first fault that is found. */
function bring(to: End, portion: Uint8Array, places: readonly number[], isWhole = true): string | undefined {
  const content = Buffer.concat([Uint8Array.from(id), portion]);
  // The head comes together with the first byte.
  const ends = [...places.map((place) => place + id.length + 1), ...(isWhole ? [content.length] : [])];
  let from = 0;
  for (const at of ends) {
    const part = content.subarray(from, at);
    const rest = content.length - at;
    const fault =
      from === 0 ? to.channel.take(data, part, 0, part.length, rest) : to.channel.takeMore(part, 0, part.length, rest);
    if (fault !== undefined) return faultText(fault);
    from = at;
  }
  return undefined;
}

function arrived(to: End): Buffer {
  return Buffer.concat(to.of("data").map(({ bytes }) => bytes));
}

const portions = fc.uint8Array({ minLength: 2, maxLength: 40 }).chain((portion) => {
  const places = fc.uniqueArray(fc.integer({ min: 0, max: portion.length - 2 }), { maxLength: 4 });
  const sorted = places.map((some) => some.sort((a, b) => a - b));
  return fc.record({ portion: fc.constant(portion), cuts: sorted, broken: fc.array(sorted, { maxLength: 3 }) });
});

describe("a portion of a stream that comes in parts", () => {
  test("is handed on as it comes, and is there when its last byte is", () => {
    const to = opened();
    const portion = Uint8Array.from({ length: 100 }, (_, index) => index);
    expect(bring(to, portion, [9, 59], false)).toBeUndefined();
    expect(to.of("data").map(({ bytes }) => bytes.length)).toEqual([10, 50]);
    expect(to.channel.takeMore(portion, 60, 100, 0)).toBeUndefined();
    expect(arrived(to).equals(portion)).toBe(true);
    expect(to.receive(end, ...id)).toBeUndefined();
    expect(to.of("finished")).toHaveLength(1);
  });

  test("is handed on once, however often the connection breaks in its middle and wherever it is cut again", () => {
    fc.assert(
      fc.property(fc.array(portions, { maxLength: 5 }), (all) => {
        const to = opened();
        for (const { portion, cuts, broken } of all) {
          for (const places of broken) expect(bring(to, portion, places, false)).toBeUndefined();
          expect(bring(to, portion, cuts)).toBeUndefined();
        }
        expect(arrived(to).equals(Buffer.concat(all.map(({ portion }) => portion)))).toBe(true);
      }),
    );
  });

  test("counts against the credit once, part by part", () => {
    const to = opened();
    const window = defaultLimits.streamWindowBytes;
    const portion = new Uint8Array(60_000);
    for (const places of [[10], [50_000]]) expect(bring(to, portion, places, false)).toBeUndefined();
    expect(bring(to, portion, [])).toBeUndefined();
    expect(bring(to, new Uint8Array(window - portion.length), [7])).toBeUndefined();
    expect(bring(to, new Uint8Array(2), [0], false)).toMatch(/beyond its credit/);
  });

  test("of a stream that this end has aborted meanwhile is ignored to its end", () => {
    const to = opened();
    bring(to, new Uint8Array(20), [5], false);
    to.only("data").stream.abort("ENOUGH", "enough");
    expect(to.channel.takeMore(new Uint8Array(14), 0, 14, 0)).toBeUndefined();
    expect(to.of("data")).toHaveLength(1);
    expect(to.receive(data, 0, 0, 0, 4, 1)).toBeUndefined();
    expect(to.of("data")).toHaveLength(2);
  });

  test.each<[string, (to: End) => string | undefined, RegExp]>([
    ["another stream", (to) => to.receive(data, 0, 0, 0, 4, 1, 1, 1, 1, 1, 1, 1), /for another stream/],
    ["fewer bytes", (to) => to.receive(data, ...id, 1, 1, 1), /was shorter/],
    ["a message", (to) => to.receive(message, 0, 0), /came again as another one/],
    ["an end", (to) => to.receive(end, ...id), /came again as another one/],
  ])("may not come again as %s", (_, again, fault) => {
    const to = opened();
    bring(to, new Uint8Array(20), [5], false);
    expect(again(to)).toMatch(fault);
  });
});
