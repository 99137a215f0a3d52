import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { countBatched, decodeBatch, encodeBatched, isBatchable } from "../../../src/protocol/native/batch.js";
import { messageOverheadBytes } from "../../../src/protocol/native/message.js";
import { numberedKinds } from "../../../src/protocol/native/numbered-frames.js";
import type { PayloadForm } from "../../../src/protocol/native/payload.js";
import { Sheet } from "./link-writer.js";

const { batchBytes } = defaultLimits;

interface Sent {
  readonly topic: string;
  readonly form: PayloadForm;
  readonly payload: readonly number[];
}

const topicNames = ["", "a", "price-change", "größe/測試"];
/** As the library has them: one array for a topic, however often it is used. */
const topics = new Map(topicNames.map((topic) => [topic, new TextEncoder().encode(topic)]));

const message: fc.Arbitrary<Sent> = fc.oneof(
  fc.record({
    topic: fc.constantFrom(...topicNames),
    form: fc.constantFrom<PayloadForm>(0, 1),
    payload: fc.oneof(fc.array(fc.nat({ max: 255 }), { maxLength: 20 }), fc.constant([...new Uint8Array(300).fill(7)])),
  }),
  fc.record({ topic: fc.constantFrom(...topicNames), form: fc.constant<PayloadForm>(2), payload: fc.constant([]) }),
);
const messages = fc.array(message, { minLength: 1, maxLength: 20 });

function bytesOf(topic: string): Uint8Array {
  return topics.get(topic) ?? new TextEncoder().encode(topic);
}

/** The content of one batch with all of them. */
function contentOf(sent: readonly Sent[]): Uint8Array {
  const sheet = new Sheet();
  let last: Uint8Array | undefined;
  for (const { topic, form, payload } of sent) {
    const bytes = bytesOf(topic);
    encodeBatched(sheet, bytes, form, Uint8Array.from(payload), last, batchBytes);
    last = bytes;
  }
  return sheet.content;
}

/** Reads content between other bytes; what comes must not depend on these. */
function read(content: Uint8Array, heaviest = 1e6): string | { sum: number; size: number; messages: unknown[] } {
  const [a, b] = [0x00, 0xff].map((around) => {
    const memory = new Uint8Array(content.length + 9).fill(around);
    memory.set(content, 5);
    const batch = decodeBatch(memory.subarray(2), 3, 3 + content.length, heaviest);
    if (typeof batch === "string") return batch;
    const each: unknown[] = [];
    while (batch.next()) {
      const { topic, form, payload, creditBytes } = batch;
      each.push({ topic, form, payload: [...payload], creditBytes });
    }
    return { sum: batch.totalCreditBytes, size: batch.size, messages: each };
  });
  expect(a).toEqual(b);
  return a ?? "nothing";
}

describe("a batch", () => {
  test("reads back as it was written, and each message counts what it counts alone, but no more than the heaviest", () => {
    fc.assert(
      fc.property(messages, fc.constantFrom(40, 1e6), (sent, heaviest) => {
        const content = contentOf(sent);
        const counted = sent.map((each) => ({
          ...each,
          creditBytes: Math.min(heaviest, messageOverheadBytes + bytesOf(each.topic).length + each.payload.length),
        }));
        const sum = counted.reduce((all, { creditBytes }) => all + creditBytes, 0);
        expect(read(content, heaviest)).toEqual({ sum, size: sent.length, messages: counted });
        expect(countBatched(content, 0, content.length)).toBe(sent.length);
      }),
    );
  });

  test("has the topic once for messages to one topic in a row", () => {
    const to = (topic: string): Sent => ({ topic, form: 0, payload: [1] });
    expect([...contentOf([to("a"), to("a"), to(""), to("a")])]).toEqual([
      ...[0, 1, 97, 0, 1, 1],
      ...[4, 0, 1, 1],
      ...[0, 0, 0, 1, 1],
      ...[0, 1, 97, 0, 1, 1],
    ]);
  });

  test("begins anew behind another frame, at the bound, and behind what has gone", () => {
    const sheet = new Sheet();
    const topic = bytesOf("a");
    const say = (most: number): void => encodeBatched(sheet, topic, 0, Uint8Array.of(1), topic, most);
    say(batchBytes);
    say(batchBytes);
    expect(sheet.content).toHaveLength(10);
    say(6 + 10 + 3);
    expect([...sheet.content]).toEqual([0, 1, 97, 0, 1, 1]);
    sheet.begin(numberedKinds.cancel, 4);
    say(batchBytes);
    expect([...sheet.content]).toEqual([0, 1, 97, 0, 1, 1]);
  });

  test("takes no message that goes by reference, or is longer than a frame may be", () => {
    const topic = bytesOf("a");
    expect(isBatchable(topic, new Uint8Array(4_095), batchBytes)).toBe(true);
    expect(isBatchable(topic, new Uint8Array(4_096), batchBytes)).toBe(false);
    expect([isBatchable(topic, new Uint8Array(9), 20), isBatchable(topic, new Uint8Array(9), 19)]).toEqual([
      true,
      false,
    ]);
  });

  test("is not understood if it is cut short anywhere but between two messages, and never throws", () => {
    fc.assert(
      fc.property(messages, fc.nat(), (sent, pick) => {
        const content = contentOf(sent);
        const cut = pick % content.length;
        const ends = sent.map((_, index) => contentOf(sent.slice(0, index + 1)).length);
        expect(typeof read(content.subarray(0, cut)) === "string").toBe(!ends.includes(cut));
      }),
    );
  });

  test("of any bytes is either refused or read to its end", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constantFrom(0, 1, 2, 4, 5), fc.nat({ max: 255 })), { maxLength: 40 }),
        (bytes) => {
          const result = read(Uint8Array.from(bytes));
          if (typeof result !== "string") expect(result.messages).toHaveLength(result.size);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ["that is empty", []],
    ["whose first message has no topic", [4, 0, 1, 7]],
    ["with a form that nobody knows", [3, 1, 97, 0, 0]],
    ["with a head that nobody knows", [8, 1, 97, 0, 0]],
    ["with nothing for a payload, and something in it", [2, 1, 97, 0, 1, 7]],
    ["with a topic that is no UTF-8", [0, 1, 0xff, 0, 0]],
    ["with a byte behind its last message", [0, 1, 97, 0, 0, 0]],
  ])("%s is refused", (_, bytes) => {
    expect(typeof read(Uint8Array.from(bytes))).toBe("string");
  });
});
