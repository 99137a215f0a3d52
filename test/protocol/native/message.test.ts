import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeAcknowledgement, encodeAcknowledgement } from "../../../src/protocol/native/acknowledgement.js";
import { frameHeaderBytes, frameKinds } from "../../../src/protocol/native/frames.js";
import {
  decodeMessage,
  encodeMessage,
  messageCreditBytes,
  messageOverheadBytes,
} from "../../../src/protocol/native/message.js";
import { isNumbered, numberedKinds, readUint48, writeUint48 } from "../../../src/protocol/native/numbered-frames.js";
import { type PayloadForm, payloadForms } from "../../../src/protocol/native/payload.js";
import { decodeWithin, roundTrip, Sheet } from "./link-writer.js";

const topics = fc.string({ unit: "binary", maxLength: 60 }).filter((text) => !/\p{Cs}/u.test(text));
const payloads = fc.oneof(
  fc.uint8Array({ maxLength: 100 }),
  fc.constantFrom(4_095, 4_096, 4_097).map((length) => new Uint8Array(length).fill(7)),
);
const numbers = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  fc.constantFrom(0, 1, 255, 256, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 48 - 1),
);

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

describe("a message", () => {
  test("reads back as it was written, and counts the bytes of its topic and its payload", () => {
    fc.assert(
      fc.property(topics, fc.constantFrom<PayloadForm>(0, 1), payloads, (topic, form, payload) => {
        const write = (sheet: Sheet): void => encodeMessage(sheet, bytes(topic), form, payload);
        expect(roundTrip(numberedKinds.message, write, decodeMessage)).toEqual({ topic, form, payload: [...payload] });
        const sheet = new Sheet();
        write(sheet);
        expect(messageCreditBytes(sheet.content.length)).toBe(
          messageOverheadBytes + bytes(topic).length + payload.length,
        );
      }),
    );
  });

  test("may be nothing", () => {
    const write = (sheet: Sheet): void => encodeMessage(sheet, bytes(""), payloadForms.nothing, bytes(""));
    expect(roundTrip(numberedKinds.message, write, decodeMessage)).toEqual({ topic: "", form: 2, payload: [] });
  });

  test("has a payload that is copied below 4 KiB and goes by reference from there on", () => {
    const [short, long] = [new Uint8Array(4_095), new Uint8Array(4_096)];
    const sheet = new Sheet();
    encodeMessage(sheet, bytes("a"), 0, short);
    expect(sheet.tail).toBeUndefined();
    encodeMessage(sheet, bytes("a"), 0, long);
    expect(sheet.tail).toBe(long);
  });

  test("hands on its payload as a view, and holds on to nothing for an empty one", () => {
    const read = Uint8Array.of(9, 9, 0, 1, 97, 5, 6, 9);
    const message = decodeMessage(read, 2, 7);
    if (typeof message === "string") throw new Error(message);
    expect([message.payload.buffer === read.buffer, [...message.payload]]).toEqual([true, [5, 6]]);
    const empty = decodeMessage(read, 2, 5);
    expect(typeof empty === "object" && empty.payload.buffer !== read.buffer).toBe(true);
  });

  test("keeps a byte order mark at the beginning of its topic", () => {
    const write = (sheet: Sheet): void => encodeMessage(sheet, bytes("\ufeffa"), 0, bytes(""));
    expect(roundTrip(numberedKinds.message, write, decodeMessage)).toMatchObject({ topic: "\ufeffa" });
  });

  test.each([
    ["nothing", [], /cut short/],
    ["a form alone", [0], /cut short/],
    ["a topic that is longer than the rest", [0, 2, 0x61], /topic .* cut short/],
    ["a topic that is no UTF-8", [0, 1, 0xff], /no UTF-8/],
    ["a topic that ends in the middle of a character", [0, 1, 0xc3], /no UTF-8/],
    ["half of a surrogate pair as its topic", [0, 3, 0xed, 0xa0, 0x80], /no UTF-8/],
    ["a form that there is not", [3, 0], /form/],
    ["nothing, and bytes of it", [2, 0, 1], /form/],
  ])("is none: %s", (_, content, expected) => {
    expect(decodeWithin(decodeMessage, Uint8Array.from(content))).toMatch(expected);
  });

  test("or a sentence comes of any bytes, and what comes is written as these bytes again", () => {
    const short = fc.tuple(fc.integer({ min: 0, max: 3 }), fc.nat(6), fc.uint8Array({ maxLength: 12 }));
    const likely = short.map(([form, length, rest]) => Uint8Array.of(form, length, ...rest));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 30 }), likely), (content) => {
        const message = decodeMessage(content, 0, content.length);
        decodeWithin(decodeMessage, content);
        if (typeof message === "string") return;
        const sheet = new Sheet();
        encodeMessage(sheet, bytes(message.topic), message.form, message.payload);
        expect(sheet.content).toEqual(content);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a number", () => {
  test("reads back as it was written, in its six bytes only", () => {
    fc.assert(
      fc.property(numbers, (number) => {
        const memory = new Uint8Array(10).fill(0xee);
        writeUint48(memory, 2, number);
        expect([readUint48(memory, 2), memory[1], memory[8]]).toEqual([number, 0xee, 0xee]);
      }),
    );
  });

  test("belongs to the frames of sixteen kinds", () => {
    const kinds = Array.from({ length: 256 }, (_, kind) => kind).filter(isNumbered);
    expect([kinds.length, kinds[0], kinds.at(-1)]).toEqual([16, 0x10, 0x1f]);
    expect(Object.values(numberedKinds).every(isNumbered)).toBe(true);
    expect(Object.values(frameKinds).some(isNumbered)).toBe(false);
  });
});

describe("an acknowledgement", () => {
  test("reads back as it was written", () => {
    fc.assert(
      fc.property(numbers, (number) => {
        const frame = encodeAcknowledgement(number);
        expect([...frame.subarray(0, frameHeaderBytes)]).toEqual([0, 0, 0, 6, frameKinds.acknowledgement]);
        expect(decodeAcknowledgement(frame.subarray(frameHeaderBytes))).toBe(number);
      }),
    );
  });

  test("has six bytes, neither fewer nor more", () => {
    for (const length of [0, 5, 7, 12]) expect(decodeAcknowledgement(new Uint8Array(length))).toBeUndefined();
    expect(decodeAcknowledgement(Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(0x010203040506);
  });
});
