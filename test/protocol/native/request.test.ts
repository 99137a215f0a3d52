import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { harmless } from "../../../src/core/escaping.js";
import { encodeMessage, messageFrameBytes } from "../../../src/protocol/native/message.js";
import { numberBytes, numberedKinds } from "../../../src/protocol/native/numbered-frames.js";
import type { PayloadForm } from "../../../src/protocol/native/payload.js";
import { encodeReason, type FailureReason, isCode } from "../../../src/protocol/native/reason.js";
import {
  decodeCancel,
  decodeFailure,
  decodeReply,
  decodeRequest,
  encodeCancel,
  encodeFailure,
  encodeReply,
  encodeRequest,
  replyFrameBytes,
  requestFrameBytes,
} from "../../../src/protocol/native/request.js";
import { decodeWithin, roundTrip, Sheet } from "./link-writer.js";

const texts = fc.string({ unit: "binary", maxLength: 60 }).filter((text) => !/\p{Cs}/u.test(text));
const sentences = texts.filter((text) => harmless(text) === text);
const payloads = fc.oneof(fc.uint8Array({ maxLength: 100 }), fc.constant(new Uint8Array(4_096).fill(7)));
const requests = fc.oneof(fc.integer({ min: 1, max: 2 ** 32 - 1 }), fc.constantFrom(1, 255, 2 ** 31, 2 ** 32 - 1));
const encodings = fc.constantFrom<PayloadForm>(0, 1);
const codes = fc.stringMatching(/^[\x21-\x7e]{1,64}$/);

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

describe("what goes to and fro for a request reads back as it was written", () => {
  test("a request", () => {
    fc.assert(
      fc.property(requests, texts, encodings, payloads, (request, topic, form, payload) => {
        const write = (sheet: Sheet): void => encodeRequest(sheet, request, bytes(topic), form, payload);
        const expected = { request, topic, form, payload: [...payload] };
        expect(roundTrip(numberedKinds.request, write, decodeRequest)).toEqual(expected);
      }),
    );
  });

  test("a reply", () => {
    fc.assert(
      fc.property(requests, encodings, payloads, (request, form, payload) => {
        const write = (sheet: Sheet): void => encodeReply(sheet, request, form, payload);
        expect(roundTrip(numberedKinds.reply, write, decodeReply)).toEqual({ request, form, payload: [...payload] });
      }),
    );
  });

  test("a failure", () => {
    fc.assert(
      fc.property(requests, codes, sentences, (number, code, message) => {
        const write = (sheet: Sheet): void => encodeFailure(sheet, { number, code, message });
        expect(roundTrip(numberedKinds.failure, write, decodeFailure)).toEqual({ number, code, message });
      }),
    );
  });

  test("a cancel", () => {
    fc.assert(
      fc.property(requests, (request) => {
        expect(roundTrip(numberedKinds.cancel, (sheet) => encodeCancel(sheet, request), decodeCancel)).toBe(request);
      }),
    );
  });
});

test("what is said to be around topic and payload in a frame's body is what is there", () => {
  const sheet = new Sheet();
  encodeRequest(sheet, 1, bytes("topic"), 0, new Uint8Array(10));
  expect(numberBytes + sheet.content.length).toBe(requestFrameBytes + 5 + 10);
  encodeReply(sheet, 1, 0, new Uint8Array(10));
  expect(numberBytes + sheet.content.length).toBe(replyFrameBytes + 10);
  encodeMessage(sheet, bytes("topic"), 0, new Uint8Array(10));
  expect(numberBytes + sheet.content.length).toBe(messageFrameBytes + 5 + 10);
});

describe("a reason", () => {
  test("is made harmless where it is read: nothing in it steers a terminal", () => {
    const steering: FailureReason = { number: 1, code: "X", message: "a\x1b[2J\r\n\u009bü" };
    const write = (sheet: Sheet): void => encodeReason(sheet, numberedKinds.failure, steering);
    expect(roundTrip(numberedKinds.failure, write, decodeFailure)).toMatchObject({
      message: "a\ufffd[2J\ufffd\ufffd\ufffdü",
    });
  });

  test.each([0, 1, 2, 3])("is cut where it is read as where it is sent: %d bytes before a long one", (before) => {
    const sentence = bytes("a".repeat(before) + "\u{1f310}".repeat(1_000));
    const write = (sheet: Sheet): void => {
      const at = sheet.begin(numberedKinds.failure, 6 + sentence.length);
      sheet.memory.set([0, 0, 0, 1, 1, 0x41, ...sentence], at);
    };
    const kept = Math.floor((1_024 - before) / 4);
    expect(roundTrip(numberedKinds.failure, write, decodeFailure)).toEqual({
      number: 1,
      code: "A",
      message: "a".repeat(before) + "\u{1f310}".repeat(kept),
    });
  });

  test.each([1_023, 1_024, 1_025, 1_026, 1_027])("is cut between characters: %d bytes before a long one", (length) => {
    const write = (sheet: Sheet): void =>
      encodeReason(sheet, numberedKinds.failure, {
        number: 1,
        code: "A",
        message: `${"a".repeat(length - 4)}\u{1f310}z`,
      });
    const { message } = roundTrip(numberedKinds.failure, write, decodeFailure) as { readonly message: string };
    expect(bytes(message).length).toBeLessThanOrEqual(1_024);
    expect(`${"a".repeat(length - 4)}\u{1f310}z`.startsWith(message)).toBe(true);
    expect(message.length).toBeGreaterThan(1_000);
  });

  test("has a code that is one", () => {
    expect(["A", "NO_HANDLER", "x".repeat(64)].every(isCode)).toBe(true);
    expect(["", " ", "a b", "ü", "a\n", "x".repeat(65)].some(isCode)).toBe(false);
    expect(() => encodeReason(new Sheet(), 0x13, { number: 1, code: "", message: "" })).toThrow(RangeError);
  });
});

describe("none is", () => {
  test.each([
    ["a request of five bytes", decodeRequest, [0, 0, 0, 1, 0], /cut short/],
    ["a request whose topic is longer than the rest", decodeRequest, [0, 0, 0, 1, 0, 1], /topic .* cut short/],
    ["a request with number 0", decodeRequest, [0, 0, 0, 0, 0, 0], /number 0/],
    ["a request of an unknown form", decodeRequest, [0, 0, 0, 1, 9, 0], /form/],
    ["a request whose topic is no UTF-8", decodeRequest, [0, 0, 0, 1, 0, 1, 0xff], /UTF-8/],
    ["a reply of four bytes", decodeReply, [0, 0, 0, 1], /cut short/],
    ["a reply of nothing with bytes", decodeReply, [0, 0, 0, 1, 2, 0], /form/],
    ["a failure without a code", decodeFailure, [0, 0, 0, 1, 0], /cut short/],
    ["a failure whose code is cut", decodeFailure, [0, 0, 0, 1, 2, 65], /cut short/],
    ["a failure whose code is none", decodeFailure, [0, 0, 0, 1, 1, 10], /code/],
    ["a failure whose code is no text", decodeFailure, [0, 0, 0, 1, 1, 0xff], /code/],
    ["a failure whose sentence is none", decodeFailure, [0, 0, 0, 1, 1, 65, 0xff], /UTF-8/],
    ["a cancel of three bytes", decodeCancel, [0, 0, 1], /no number/],
    ["a cancel of five bytes", decodeCancel, [0, 0, 0, 1, 0], /no number/],
  ])("%s", (_name, decode, content, expected) => {
    expect(decodeWithin<unknown>(decode, Uint8Array.from(content))).toMatch(expected);
  });

  test("a reason for throwing, or for reading elsewhere: any bytes bring content or a sentence", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (content) => {
        for (const decode of [decodeRequest, decodeReply, decodeFailure, decodeCancel]) {
          decodeWithin<unknown>(decode, content);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
