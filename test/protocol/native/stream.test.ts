import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { harmless } from "../../../src/core/escaping.js";
import { numberedKinds } from "../../../src/protocol/native/numbered-frames.js";
import {
  decodeAbort,
  decodeCredit,
  decodeEnd,
  decodeOpen,
  decodeStreamData,
  encodeAbort,
  encodeCredit,
  encodeEnd,
  encodeOpen,
  encodeStreamData,
} from "../../../src/protocol/native/stream.js";
import { decodeWithin, roundTrip, Sheet } from "./link-writer.js";

const texts = fc.string({ unit: "binary", maxLength: 60 }).filter((text) => !/\p{Cs}/u.test(text));
const streams = fc.oneof(fc.integer({ min: 1, max: 2 ** 32 - 1 }), fc.constantFrom(1, 2, 2 ** 31, 2 ** 32 - 1));
const limits = fc.oneof(fc.integer({ min: 0, max: 2 ** 48 - 1 }), fc.constantFrom(0, 2 ** 32, 2 ** 48 - 1));

describe("what goes to and fro for a stream reads back as it was written", () => {
  test("its opening", () => {
    fc.assert(
      fc.property(streams, texts, (stream, topic) => {
        const write = (sheet: Sheet): void => encodeOpen(sheet, stream, new TextEncoder().encode(topic));
        expect(roundTrip(numberedKinds.open, write, decodeOpen)).toEqual({ stream, topic });
      }),
    );
  });

  test("its bytes, copied when they are few and by reference when they are many", () => {
    const pieces = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 100 }),
      fc.constantFrom(4_095, 4_096, 65_536).map((length) => new Uint8Array(length).fill(5)),
    );
    fc.assert(
      fc.property(streams, pieces, (stream, bytes) => {
        const sheet = new Sheet();
        encodeStreamData(sheet, stream, bytes);
        expect(sheet.tail).toBe(bytes.length < 4_096 ? undefined : bytes);
        const data = decodeStreamData(sheet.content, 0, sheet.content.length);
        if (typeof data === "string") throw new Error(data);
        expect(data.stream).toBe(stream);
        // Comparing byte by byte with `toEqual` would take half a minute.
        expect(Buffer.compare(data.bytes, bytes)).toBe(0);
      }),
    );
  });

  test("its end, its abort, and credit", () => {
    fc.assert(
      fc.property(streams, limits, texts, (stream, limit, message) => {
        expect(roundTrip(numberedKinds.end, (sheet) => encodeEnd(sheet, stream), decodeEnd)).toBe(stream);
        const credit = roundTrip(numberedKinds.credit, (sheet) => encodeCredit(sheet, stream, limit), decodeCredit);
        expect(credit).toEqual({ flow: stream, limit });
        const reason = { number: stream, code: "STREAM_ABORTED", message: harmless(message) };
        expect(roundTrip(numberedKinds.abort, (sheet) => encodeAbort(sheet, reason), decodeAbort)).toEqual(reason);
      }),
    );
  });
});

describe("none is", () => {
  test.each([
    ["an opening of three bytes", decodeOpen, [0, 0, 1], /cut short/],
    ["an opening of stream 0", decodeOpen, [0, 0, 0, 0, 65], /number 0/],
    ["an opening whose topic is no UTF-8", decodeOpen, [0, 0, 0, 1, 0xff], /UTF-8/],
    ["an opening whose topic is too long", decodeOpen, [0, 0, 0, 1, ...new Array<number>(256).fill(65)], /too long/],
    ["data without a stream", decodeStreamData, [0, 0, 1], /no bytes/],
    ["data without bytes", decodeStreamData, [0, 0, 0, 1], /no bytes/],
    ["an end with more than a number", decodeEnd, [0, 0, 0, 1, 0], /no number/],
    ["an abort without a code", decodeAbort, [0, 0, 0, 1, 0], /cut short/],
    ["credit of nine bytes", decodeCredit, [0, 0, 0, 1, 0, 0, 0, 0, 1], /flow and a limit/],
    ["credit of eleven bytes", decodeCredit, [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0], /flow and a limit/],
  ])("%s", (_name, decode, content, expected) => {
    expect(decodeWithin<unknown>(decode, Uint8Array.from(content))).toMatch(expected);
  });

  test("a reason for throwing, or for reading elsewhere: any bytes bring content or a sentence", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (content) => {
        for (const decode of [decodeOpen, decodeStreamData, decodeEnd, decodeAbort, decodeCredit]) {
          decodeWithin<unknown>(decode, content);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
