import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messageOverheadBytes } from "../../src/protocol/native/message.js";
import { numberedKinds } from "../../src/protocol/native/numbered-frames.js";
import { bytesOf, content, Pair, text, topic } from "./pair.js";

const chat = topic("chat");
const kib = 1_024;
/** What each message counts beyond its topic and its payload. */
const overhead = messageOverheadBytes;

describe("a message", () => {
  test("arrives with its topic, its form and its payload, short and long ones in order", () => {
    const { first, second, ...pair } = make();
    const payloads = [0, 1, 31, 32, 33, 64, 4_095, 4_096, 4_097, 100_000].map((length) => content(length, length));
    for (const payload of payloads) expect(first.channel.send(chat, 0, payload)).toBe("taken");
    expect(first.channel.send(topic(""), 1, bytesOf("v"))).toBe("taken");
    expect(first.channel.send(chat, 2, content(0))).toBe("taken");
    pair.settle();
    const heard = second.of("message");
    expect(heard.slice(0, -2).map(({ payload }) => [...payload])).toEqual(payloads.map((payload) => [...payload]));
    expect(heard.slice(-2).map((each) => [each.topic, each.form, text(each.payload), each.bytes])).toEqual([
      ["", 1, "v", 1 + overhead],
      ["chat", 2, "", 4 + overhead],
    ]);
    expect(heard.every(({ from }) => from === second.channel)).toBe(true);
  });

  test("goes up with those that came before it, unless they have gone up already or something came between", () => {
    const { first, second, ...pair } = make();
    const say = (count: number): void => {
      for (let sent = 0; sent < count; sent += 1) first.channel.send(chat, 0, content(1, sent));
    };
    say(3);
    first.channel.request(chat, 0, content(0), 100, 0);
    say(2);
    pair.settle();
    expect(second.events.map((each) => (each.type === "messages" ? [...each].length : each.type))).toEqual([
      3,
      "request",
      2,
    ]);
    second.drain();
    say(1);
    pair.settle();
    expect(second.of("message").map(({ payload }) => payload.length)).toEqual([1]);
  });

  test("is copied when it is short, also when it must wait", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 100 });
    const buffer = bytesOf("x".repeat(60));
    first.channel.send(topic(""), 0, buffer);
    first.channel.send(topic(""), 0, buffer);
    buffer.fill(0);
    consumeAll(pair.whole);
    expect(second.of("message").map(({ payload }) => text(payload))).toEqual(["x".repeat(60), "x".repeat(60)]);
  });

  test("is copied while it waits also when it is long: taking its memory away does no harm", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 8_000 });
    first.channel.send(topic(""), 0, content(5_000, 1));
    const lent = content(5_000, 2);
    expect(first.channel.send(topic(""), 0, lent)).toBe("slow");
    const memory = lent.buffer as ArrayBuffer;
    structuredClone(memory, { transfer: [memory] });
    expect(lent).toHaveLength(0);
    consumeAll(pair.whole);
    expect(second.of("message").map(({ payload }) => payload.length)).toEqual([5_000, 5_000]);
    expect(first.channel.waitingBytes).toBe(0);
  });

  test("goes by reference when it is long", () => {
    const { first, second, ...pair } = make();
    const buffer = new Uint8Array(4_096);
    first.channel.send(chat, 0, buffer);
    buffer.fill(9);
    pair.settle();
    expect(second.only("message").payload.every((byte) => byte === 9)).toBe(true);
  });
});

describe("messages to a peer that takes batches", () => {
  const names = ["", "chat", "price-change"];
  const topics = new Map(names.map((name) => [name, topic(name)]));
  const message = fc.record({
    name: fc.constantFrom(...names),
    bytes: fc.oneof(fc.nat(40), fc.constantFrom(4_095, 4_096, 5_000)),
  });
  type Step = (pair: Pair, expected: string[]) => void;
  const steps: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 5,
      arbitrary: message.map(
        ({ name, bytes }): Step =>
          ({ first }, expected) => {
            const payload = content(bytes, expected.length);
            first.channel.send(topics.get(name) ?? topic(""), 0, payload);
            expected.push(`${name} ${bytes} ${payload[0]}`);
          },
      ),
    },
    fc.constantFrom<Step>(
      ({ first }) => void first.channel.request(chat, 0, content(3), Number.POSITIVE_INFINITY, 0),
      (pair) => pair.deliver(pair.first, 3),
      (pair) => pair.settle(),
    ),
  );

  test("arrive once and in order, whatever is sent between them, as they do alone", () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 60 }), fc.boolean(), (plan, takesBatches) => {
        const pair = new Pair({ queueSoftBytes: 1e6, queueHardBytes: 2e6, batchBytes: 500 }, takesBatches);
        const expected: string[] = [];
        for (const step of plan) step(pair, expected);
        pair.settle();
        const heard = pair.second.of("message");
        expect(heard.map((each) => `${each.topic} ${each.payload.length} ${each.payload[0]}`)).toEqual(expected);
        expect(pair.faults).toEqual([]);
      }),
    );
  });

  test("of one turn are one frame; a request between two makes three of them", () => {
    const pair = new Pair({}, true);
    const { link, channel } = pair.first;
    for (let count = 0; count < 10; count += 1) channel.send(chat, 0, content(10));
    expect(link.kinds).toEqual([0x15]);
    channel.request(chat, 0, content(0), 100, 0);
    channel.send(chat, 0, content(10));
    expect(link.kinds).toEqual([0x15, 0x11, 0x15]);
    channel.send(chat, 0, content(4_096));
    channel.send(chat, 0, content(10));
    expect(link.kinds).toEqual([0x15, 0x11, 0x15, 0x10, 0x15]);
    pair.settle();
    expect(pair.second.of("message")).toHaveLength(13);
    expect(pair.faults).toEqual([]);
  });

  test("are refused together when they are beyond the credit", () => {
    const { first } = make({ queueSoftBytes: 100 });
    expect(first.receive(0x15, 0, 0, 0, 1, 7, 4, 0, 1, 8)).toBeUndefined();
    expect(first.receive(0x15, 0, 0, 0, 1, 9, 4, 0, 1, 10)).toBe("a message is beyond the credit");
    expect(first.of("message").map(({ payload }) => payload[0])).toEqual([7, 8]);
  });
});

describe("a connection that takes less than is sent", () => {
  test("makes `send` slow, and `drained` follows as soon as it has taken most of it", () => {
    const pair = new Pair({ handedBytes: 4_000 }, true);
    const { first } = pair;
    const say = (): string => first.channel.send(chat, 0, content(1_000));
    expect([say(), say(), say(), say()]).toEqual(["taken", "taken", "slow", "slow"]);
    expect(first.of("drained")).toEqual([]);
    pair.deliver(first);
    expect(first.of("drained")).toHaveLength(1);
    expect(say()).toBe("taken");
  });

  test("is no reason before the link is up, because nothing has gone out", () => {
    const pair = new Pair({ handedBytes: 4_000 }, true);
    pair.first.link.hasBeenUp = false;
    for (let count = 0; count < 10; count += 1) expect(pair.first.channel.send(chat, 0, content(1_000))).toBe("taken");
  });
});

describe("the credit of messages", () => {
  test("is used up to its last byte; what goes beyond waits, is slow, and goes when credit comes", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 64 * kib });
    // Topic and payload count, and each message for itself.
    expect(first.channel.send(chat, 0, content(32 * kib - 4 - overhead))).toBe("taken");
    expect(first.channel.send(chat, 0, content(32 * kib - 4 - 2 * overhead))).toBe("taken");
    expect(first.channel.send(topic(""), 0, content(0))).toBe("taken");
    expect(first.channel.waiting).toBe(0);
    expect(first.channel.send(topic(""), 0, content(1))).toBe("slow");
    expect(first.channel.send(topic(""), 0, content(0))).toBe("slow");
    expect(first.channel.waiting).toBe(2);
    pair.settle();
    expect(second.of("message")).toHaveLength(3);
    second.channel.consumed(16 * kib - 1);
    pair.settle();
    expect(second.of("message")).toHaveLength(3);
    expect(first.arrivals).toEqual([]);
    second.channel.consumed(1);
    pair.settle();
    expect(second.of("message").map(({ bytes }) => bytes)).toEqual([
      32 * kib,
      32 * kib - overhead,
      overhead,
      overhead + 1,
      overhead,
    ]);
    expect(first.arrivals).toEqual([{ type: "drained", from: first.channel }]);
    expect([first.channel.waiting, first.channel.waitingBytes]).toEqual([0, 0]);
    expect(pair.whole.faults).toEqual([]);
  });

  test("of a peer that takes nothing ends in full, exactly at the hard limit, and nothing of that is taken", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 10_000, queueHardBytes: 20_000 });
    const outcomes = [1, 2, 3, 4].map((seed) => first.channel.send(topic(""), 0, content(6_000, seed)));
    expect(outcomes).toEqual(["taken", "slow", "slow", "full"]);
    const space = 20_000 - first.link.unacknowledgedBytes - first.channel.waitingBytes - overhead;
    expect(first.channel.send(topic(""), 0, content(space + 1))).toBe("full");
    expect(first.channel.send(topic(""), 0, content(space, 5))).toBe("slow");
    pair.settle();
    expect(second.of("message")).toHaveLength(1);
    expect(first.of("drained")).toHaveLength(0);
    consumeAll(pair.whole);
    expect(second.of("message").map(({ payload }) => payload[0])).toEqual([1, 2, 3, 5]);
    expect(first.of("drained")).toHaveLength(1);
  });

  test("that is not needed says nothing: a peer that keeps up costs one credit for each quarter of the window", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 4 * kib });
    let credits = 0;
    for (let count = 0; count < 64; count += 1) {
      expect(first.channel.send(topic(""), 0, content(256 - overhead))).toBe("taken");
      pair.whole.move(first);
      second.channel.consumed(second.only("message").bytes);
      second.drain();
      credits += second.link.kinds.filter((kind) => kind === numberedKinds.credit).length;
      pair.whole.move(second);
    }
    expect(credits).toBe(16);
    expect(first.arrivals).toEqual([]);
  });

  test("lets messages of any size through in the end", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 1_000, queueHardBytes: 100_000 });
    for (const length of [10, 5_000, 999, 1_000, 751, 250, 20_000, 1]) first.channel.send(chat, 0, content(length));
    consumeAll(pair.whole);
    expect(second.of("message")).toHaveLength(8);
    expect(pair.whole.faults).toEqual([]);
  });

  test("counts what is unacknowledged against full, and drains when that has gone", () => {
    const { first, ...pair } = make({ queueSoftBytes: 8_000, queueHardBytes: 20_000, streamBacklogBytes: 9_000 });
    first.channel.request(chat, 0, content(15_000), 1_000, 0);
    expect(first.channel.send(chat, 0, content(5_000))).toBe("full");
    first.channel.moved();
    expect(first.arrivals).toEqual([]);
    pair.settle();
    expect(first.arrivals).toEqual([{ type: "drained", from: first.channel }]);
    expect(first.channel.send(chat, 0, content(5_000))).toBe("taken");
  });

  test("is not needed by requests, replies and streams, which get through while messages wait", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 1_000 });
    while (first.channel.send(chat, 0, content(100)) === "taken");
    while (second.channel.send(chat, 0, content(100)) === "taken");
    const request = first.channel.request(chat, 0, bytesOf("?"), 1_000, 0);
    const stream = first.channel.open(chat);
    stream.write(bytesOf("streamed"));
    pair.settle();
    second.channel.reply(second.only("request").request, 0, bytesOf("!"));
    pair.settle();
    expect(first.only("reply")).toMatchObject({ request, form: 0 });
    expect(text(second.only("data").bytes)).toBe("streamed");
  });
});

describe("messages without topic and payload", () => {
  test("use up the credit too, so that a reader who takes nothing is never buried in them", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 10 * overhead });
    let taken = 0;
    while (first.channel.send(topic(""), 2, content(0)) === "taken") taken += 1;
    expect(taken).toBe(10);
    pair.settle();
    expect(second.of("message")).toHaveLength(10);
  });
});

describe("when the link ends", () => {
  test("what waits is lost and counted, and nothing is taken or told any more", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 100 });
    for (let count = 0; count < 5; count += 1) first.channel.send(topic(""), 0, content(60));
    expect(first.channel.waiting).toBe(4);
    pair.settle();
    pair.whole.end("lost");
    expect([first.channel.waiting, first.channel.isOpen]).toEqual([0, false]);
    expect(first.channel.send(topic(""), 0, content(1))).toBe("full");
    second.channel.consumed(60);
    first.channel.moved();
    expect(first.receive(0x17)).toBeUndefined();
    expect([first.arrivals, second.link.kinds]).toEqual([[], []]);
    expect(first.messaging.at("second")).toBeUndefined();
  });

  test("an earlier link's end leaves the next incarnation at the same address alone", () => {
    const { first } = make();
    const { messaging } = first;
    expect(messaging.at("second")).toBe(first.channel);
    const next = messaging.attach("second", true, first.link);
    expect(messaging.at("second")).toBe(next);
    first.channel.ended("replaced");
    expect(messaging.at("second")).toBe(next);
    expect([...messaging.channels]).toEqual([next]);
    next.ended("gone");
    expect(messaging.at("second")).toBeUndefined();
  });

  test("what waited before a goodbye still goes", () => {
    const { first, second, ...pair } = make({ queueSoftBytes: 100 });
    first.channel.send(topic(""), 0, content(60));
    first.channel.send(topic(""), 0, content(60));
    first.link.isOpen = false;
    expect(first.channel.send(topic(""), 0, content(0))).toBe("full");
    consumeAll(pair.whole);
    expect(second.of("message")).toHaveLength(2);
  });
});

describe("a hostile peer", () => {
  test("may not go beyond its credit, not by one byte", () => {
    const { first } = make({ queueSoftBytes: 1_000 });
    expect(first.receive(numberedKinds.message, 0, 0, content(700))).toBeUndefined();
    expect(first.receive(numberedKinds.message, 0, 1, 65, content(299 - 2 * overhead))).toBeUndefined();
    expect(first.receive(numberedKinds.message, 0, 0, content(0))).toBe("a message is beyond the credit");
  });

  test("may not lower its credit, and may raise it to the highest number", () => {
    const { first } = make({ queueSoftBytes: 1_000 });
    const flow = [0, 0, 0, 0];
    expect(first.receive(numberedKinds.credit, ...flow, 0, 0, 0, 0, 3, 231)).toMatch(/goes back to 999/);
    expect(first.receive(numberedKinds.credit, ...flow, 255, 255, 255, 255, 255, 255)).toBeUndefined();
    expect(first.channel.send(chat, 0, content(100_000))).toBe("taken");
    expect(first.receive(numberedKinds.credit, ...flow, 255, 255, 255, 255, 255, 254)).toMatch(/goes back/);
  });

  test("may not send a numbered frame of a kind that there is not", () => {
    const { first } = make();
    expect([0x16, 0x17, 0x1d, 0x1f].map((kind) => first.receive(kind))).toEqual(
      [22, 23, 29, 31].map((kind) => `there is no numbered frame of kind ${kind}`),
    );
  });

  test("may not have more consumed than came: that is the caller's fault", () => {
    const { first } = make();
    expect(() => first.channel.consumed(1)).toThrow(RangeError);
  });
});

function make(limits = {}) {
  const whole = new Pair(limits);
  return { first: whole.first, second: whole.second, whole, settle: () => whole.settle() };
}

/** The second end's application takes all that comes, until nothing more comes. */
function consumeAll(pair: Pair): void {
  let taken = 0;
  pair.settle();
  for (let heard = pair.second.of("message"); taken < heard.length; heard = pair.second.of("message")) {
    for (const { bytes } of heard.slice(taken)) pair.second.channel.consumed(bytes);
    taken = heard.length;
    pair.settle();
  }
}
