import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { frameHeaderBytes, frameKinds } from "../../../src/protocol/native/frames.js";
import {
  decodeAcknowledgement,
  decodeMessage,
  encodeAcknowledgement,
  encodeMessage,
  isTopic,
  longestTopic,
} from "../../../src/protocol/native/message.js";
import { payloads, texts } from "./reading.js";

const numbers = fc.oneof(
  fc.integer({ min: 1, max: 2 ** 48 - 1 }),
  fc.constantFrom(1, 255, 256, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 48 - 1),
);

function bodyOf(frame: Uint8Array, kind: number): Uint8Array {
  const body = frame.subarray(frameHeaderBytes);
  expect([...frame.subarray(0, frameHeaderBytes)]).toEqual([0, 0, body.length >> 8, body.length & 255, kind]);
  return body;
}

describe("a message", () => {
  test("reads back as it was written: its number, its topic, its payload", () => {
    fc.assert(
      fc.property(numbers, texts, payloads, (number, topic, payload) => {
        const message = { number, topic, payload };
        expect(decodeMessage(bodyOf(encodeMessage(message), frameKinds.message))).toEqual(message);
      }),
    );
  });

  test("may have an empty topic and no payload", () => {
    const message = { number: 1, topic: "", payload: new Uint8Array(0) };
    expect(encodeMessage(message)).toHaveLength(frameHeaderBytes + 7);
    expect(decodeMessage(encodeMessage(message).subarray(frameHeaderBytes))).toEqual(message);
  });

  test("keeps a byte order mark at the beginning of its topic", () => {
    const message = { number: 1, topic: "\ufeffa", payload: new Uint8Array(0) };
    expect(decodeMessage(encodeMessage(message).subarray(frameHeaderBytes))).toEqual(message);
  });

  test("hands on its payload as a view of its frame", () => {
    const body = encodeMessage({ number: 1, topic: "a", payload: new Uint8Array(100) }).subarray(frameHeaderBytes);
    expect(decodeMessage(body)?.payload.buffer).toBe(body.buffer);
  });

  test.each([
    ["nothing", []],
    ["six bytes", [0, 0, 0, 0, 0, 1]],
    ["a topic that is longer than the rest", [0, 0, 0, 0, 0, 1, 2, 0x61]],
    ["a topic that is no UTF-8", [0, 0, 0, 0, 0, 1, 1, 0xff]],
    ["a topic that ends in the middle of a character", [0, 0, 0, 0, 0, 1, 1, 0xc3]],
    ["half of a surrogate pair as its topic", [0, 0, 0, 0, 0, 1, 3, 0xed, 0xa0, 0x80]],
    ["number 0", [0, 0, 0, 0, 0, 0, 0]],
  ])("is none: %s", (_, bytes) => {
    expect(decodeMessage(Uint8Array.from(bytes))).toBeUndefined();
  });

  test("is read well after a bad one", () => {
    expect(decodeMessage(Uint8Array.of(0, 0, 0, 0, 0, 1, 1, 0xc3))).toBeUndefined();
    expect(decodeMessage(Uint8Array.of(0, 0, 0, 0, 0, 1, 1, 0x61))?.topic).toBe("a");
  });

  test("or nothing comes of any bytes, and what comes is written as these bytes again", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), (body) => {
        const message = decodeMessage(body);
        if (message !== undefined) expect(encodeMessage(message).subarray(frameHeaderBytes)).toEqual(body);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a topic", () => {
  test.each([
    ["", true],
    ["a".repeat(longestTopic), true],
    ["a".repeat(longestTopic + 1), false],
    ["ü".repeat(127), true],
    ["ü".repeat(128), false],
    ["\n\0", true],
    ["\u{1f310}", true],
    ["\ud83c", false],
    ["\udf10\ud83c", false],
  ])("%j is one: %s", (text, expected) => {
    expect(isTopic(text)).toBe(expected);
  });
});

describe("an acknowledgement", () => {
  test("reads back as it was written", () => {
    fc.assert(
      fc.property(fc.oneof(numbers, fc.constant(0)), (number) => {
        expect(decodeAcknowledgement(bodyOf(encodeAcknowledgement(number), frameKinds.acknowledgement))).toBe(number);
      }),
    );
  });

  test("has six bytes, neither fewer nor more", () => {
    for (const length of [0, 5, 7, 12]) expect(decodeAcknowledgement(new Uint8Array(length))).toBeUndefined();
    expect(decodeAcknowledgement(Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(0x010203040506);
  });
});
