import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import { Timers } from "../../src/core/timers.js";
import { MessagingChannels } from "../../src/messaging/messaging-channel.js";
import { numberedKinds } from "../../src/protocol/native/numbered-frames.js";
import { bytesOf, content, type End, Pair, TestLink, text, topic } from "./pair.js";

const ask = topic("ask");

function request(end: End, payload: Uint8Array, timeoutMs = 1_000): number {
  const number = end.channel.request(ask, 0, payload, timeoutMs, end.now);
  if (number === "full") throw new Error("full");
  return number;
}

function short(number: number): Uint8Array {
  return Uint8Array.of(number >>> 24, number >>> 16, number >>> 8, number);
}

describe("a request", () => {
  test.each([0, 5, 4_095, 4_096, 200_000])("of %d bytes is answered with as many", (length) => {
    const pair = new Pair();
    const number = request(pair.first, content(length, 3));
    pair.settle();
    const asked = pair.second.only("request");
    expect(asked).toMatchObject({ from: pair.second.channel, topic: "ask", form: 0 });
    expect(Buffer.compare(asked.payload, content(length, 3))).toBe(0);
    pair.second.channel.reply(asked.request, 1, content(length, 4));
    pair.settle();
    const reply = pair.first.only("reply");
    expect(reply).toMatchObject({ from: pair.first.channel, request: number, form: 1 });
    expect(Buffer.compare(reply.payload, content(length, 4))).toBe(0);
    expect([pair.first.channel.underWay, pair.second.channel.underWay]).toEqual([
      { pending: 0, served: 0, streams: 0 },
      { pending: 0, served: 0, streams: 0 },
    ]);
    // The one timer of all requests finds nothing due, once.
    pair.first.timers.fire(1e9);
    expect([pair.first.of("failed"), pair.first.timers.next()]).toEqual([[], undefined]);
  });

  test("and its number belong to one direction: both ends ask with number 1", () => {
    const pair = new Pair();
    expect([request(pair.first, bytesOf("a")), request(pair.second, bytesOf("b"))]).toEqual([1, 1]);
    pair.settle();
    pair.first.channel.reply(1, 0, bytesOf("to b"));
    pair.second.channel.reply(1, 0, bytesOf("to a"));
    pair.settle();
    expect([text(pair.first.only("reply").payload), text(pair.second.only("reply").payload)]).toEqual(["to a", "to b"]);
  });

  test("may be answered late, out of order, and once", () => {
    const pair = new Pair();
    for (const word of ["a", "b"]) request(pair.first, bytesOf(word));
    pair.settle();
    pair.second.channel.reply(2, 0, bytesOf("B"));
    pair.second.channel.reply(1, 2, content(0));
    pair.second.channel.reply(1, 0, bytesOf("again"));
    pair.second.channel.fail(2, "LATE", "again");
    pair.settle();
    expect(pair.first.arrivals.map((each) => each.type === "reply" && [each.request, each.form])).toEqual([
      [2, 0],
      [1, 2],
    ]);
  });

  test("may fail, with a code and a sentence that is cut where it is too long", () => {
    const pair = new Pair();
    request(pair.first, content(0));
    request(pair.first, content(0));
    pair.settle();
    pair.second.channel.fail(1, "NO_HANDLER", "nobody here answers »ask«");
    pair.second.channel.fail(2, "HANDLER_FAILED", "ü".repeat(5_000));
    pair.settle();
    expect(pair.first.arrivals).toEqual([
      {
        type: "failed",
        from: pair.first.channel,
        request: 1,
        isOwn: false,
        code: "NO_HANDLER",
        message: "nobody here answers »ask«",
      },
      {
        type: "failed",
        from: pair.first.channel,
        request: 2,
        isOwn: false,
        code: "HANDLER_FAILED",
        message: "ü".repeat(512),
      },
    ]);
    expect(() => pair.second.channel.fail(2, "no code", "")).not.toThrow();
  });

  test("that is cancelled brings nothing, and is cancelled at the peer", () => {
    const pair = new Pair();
    const number = request(pair.first, content(0));
    pair.settle();
    pair.first.channel.cancel(number);
    pair.first.channel.cancel(number);
    expect(pair.first.link.kinds).toEqual([numberedKinds.cancel]);
    // The reply crosses the cancel.
    pair.second.channel.reply(number, 0, bytesOf("late"));
    pair.settle();
    expect(pair.first.arrivals).toEqual([]);
    expect(pair.second.of("cancelled")).toEqual([]);
    request(pair.first, content(0));
    pair.settle();
    pair.first.channel.cancel(2);
    pair.settle();
    expect(pair.second.only("cancelled")).toMatchObject({ request: 2 });
    pair.second.channel.reply(2, 0, content(9));
    expect(pair.second.link.kinds).toEqual([]);
    pair.first.timers.fire(1e9);
    expect([pair.first.arrivals, pair.first.timers.next()]).toEqual([[], undefined]);
  });

  test("fails when its time is up, and not before; one without a bound waits for ever", () => {
    const pair = new Pair();
    const { first, second } = pair;
    first.now = 50;
    request(first, content(0), 300);
    request(first, content(0), 100);
    request(first, content(0), Number.POSITIVE_INFINITY);
    pair.settle();
    expect(first.timers.next()).toBe(150);
    first.timers.fire(149);
    expect(first.arrivals).toEqual([]);
    first.timers.fire(150);
    expect(first.only("failed")).toMatchObject({
      request: 2,
      code: "TIMED_OUT",
      message: "there was no reply within 100 ms",
    });
    pair.settle();
    expect(second.only("cancelled")).toMatchObject({ request: 2 });
    first.timers.fire(1e9);
    expect(first.of("failed").map((each) => each.request)).toEqual([2, 1]);
    expect(first.timers.next()).toBeUndefined();
    expect(first.channel.underWay.pending).toBe(1);
  });

  test("is answered before its time is up, and then has none", () => {
    const pair = new Pair();
    request(pair.first, content(0));
    pair.settle();
    pair.second.channel.reply(1, 2, content(0));
    pair.settle();
    pair.first.timers.fire(1e9);
    expect(pair.first.arrivals.map(({ type }) => type)).toEqual(["reply"]);
  });

  test("fails with PEER_DOWN at one end and is cancelled at the other when the link ends", () => {
    const pair = new Pair();
    request(pair.first, content(0));
    request(pair.second, content(0), Number.POSITIVE_INFINITY);
    pair.settle();
    pair.first.drain();
    pair.second.drain();
    pair.end("gone for good");
    expect(pair.first.arrivals).toEqual([
      {
        type: "failed",
        from: pair.first.channel,
        request: 1,
        isOwn: true,
        code: "PEER_DOWN",
        message: "gone for good",
      },
      { type: "cancelled", from: pair.first.channel, request: 1 },
    ]);
    expect(pair.second.arrivals).toHaveLength(2);
    pair.first.channel.reply(1, 0, content(1));
    pair.first.channel.cancel(1);
    expect(pair.first.link.kinds).toEqual([]);
    expect(pair.first.channel.request(ask, 0, content(0), 10, 0)).toBe("full");
    expect(pair.first.timers.next()).toBeUndefined();
    pair.first.channel.ended("twice");
    expect(pair.first.arrivals).toHaveLength(2);
  });
});

describe("too many requests", () => {
  test("are full at the asking end, until one is settled", () => {
    const pair = new Pair({ requestsInFlight: 3 });
    for (let count = 0; count < 3; count += 1) request(pair.first, content(0));
    expect(pair.first.channel.request(ask, 0, content(0), 10, 0)).toBe("full");
    expect(pair.first.link.kinds).toHaveLength(3);
    pair.first.channel.cancel(2);
    expect(request(pair.first, content(0))).toBe(4);
  });

  test("are full when as many bytes as may be kept are unacknowledged", () => {
    const pair = new Pair({ queueSoftBytes: 1_000, queueHardBytes: 10_000 });
    expect(request(pair.first, content(9_900))).toBe(1);
    expect(pair.first.channel.request(ask, 0, content(100), 10, 0)).toBe("full");
    pair.settle();
    expect(request(pair.first, content(100))).toBe(2);
  });

  test("are OVERLOADED at the answering end, whose application hears nothing of them", () => {
    const pair = new Pair({ requestsServed: 2 });
    for (let count = 0; count < 3; count += 1) request(pair.first, content(0));
    for (let count = 0; count < 3; count += 1) request(pair.second, content(0));
    pair.settle();
    for (const end of [pair.first, pair.second]) {
      expect(end.of("request").map((each) => each.request)).toEqual([1, 2]);
      expect(end.only("failed")).toMatchObject({ request: 3, code: "OVERLOADED" });
      end.channel.reply(1, 2, content(0));
    }
    request(pair.first, content(0));
    pair.settle();
    expect(pair.second.of("request").map((each) => each.request)).toEqual([1, 2, 4]);
  });

  test("are OVERLOADED by their bytes, too; one alone never is", () => {
    const pair = new Pair({ requestsServedBytes: 10_000 });
    const askedAndTaken = (bytes: number): boolean => {
      const number = request(pair.first, content(bytes));
      pair.settle();
      return pair.second.of("request").some((each) => each.request === number);
    };
    expect([6_000, 3_000, 3_000, 900].map(askedAndTaken)).toEqual([true, true, false, true]);
    expect(pair.first.only("failed")).toMatchObject({ request: 3, code: "OVERLOADED" });
    pair.second.channel.fail(1, "X", "");
    expect([5_000, 5_000].map(askedAndTaken)).toEqual([true, false]);
    for (const number of [2, 4, 5]) pair.second.channel.reply(number, 2, content(0));
    expect([70_000, 1].map(askedAndTaken)).toEqual([true, false]);
  });

  test("are those too that were cancelled, until the application is through with them", () => {
    const pair = new Pair({ requestsServed: 2, requestsServedBytes: 10_000 });
    const { first, second } = pair;
    const refusedOf = (bytes: number): number => {
      const number = request(first, content(bytes));
      pair.settle();
      const { length } = first.of("failed");
      first.drain();
      first.channel.cancel(number);
      pair.settle();
      return length;
    };
    expect([8_000, 8_000, 1_000, 0].map(refusedOf)).toEqual([0, 1, 0, 1]);
    expect(second.of("cancelled").map((each) => each.request)).toEqual([1, 3]);
    second.channel.reply(1, 0, content(10));
    second.channel.fail(3, "X", "");
    expect([second.link.kinds, second.channel.underWay.served]).toEqual([[], 0]);
    expect([8_000, 1_000].map(refusedOf)).toEqual([0, 0]);
    // Each is cancelled once.
    pair.end("gone");
    expect(second.of("cancelled").map((each) => each.request)).toEqual([1, 3, 5, 6]);
  });
});

describe("a hostile peer", () => {
  test("may answer what nobody asked: that is ignored", () => {
    const { first } = new Pair();
    expect(first.receive(numberedKinds.reply, ...short(7), 0, 1, 2)).toBeUndefined();
    expect(first.receive(numberedKinds.failure, ...short(7), 1, 65)).toBeUndefined();
    expect(first.receive(numberedKinds.cancel, ...short(7))).toBeUndefined();
    expect(first.arrivals).toEqual([]);
  });

  test("may not ask with a number that is not higher than those before, nor with 0", () => {
    const { first } = new Pair();
    expect(first.receive(numberedKinds.request, ...short(0), 0, 0)).toMatch(/number 0/);
    expect(first.receive(numberedKinds.request, ...short(5), 0, 0)).toBeUndefined();
    expect(first.receive(numberedKinds.request, ...short(5), 0, 0)).toBe("request 5 came after 5");
    expect(first.receive(numberedKinds.request, ...short(4), 0, 0)).toBe("request 4 came after 5");
    expect(first.receive(numberedKinds.request, ...short(2 ** 32 - 1), 0, 0)).toBeUndefined();
    expect(first.of("request").map((each) => each.request)).toEqual([5, 2 ** 32 - 1]);
  });

  test("that asks and reads no answers gets no more of them than may be kept, and then the link's end", () => {
    const limits = { queueSoftBytes: 1_000, queueHardBytes: 10_000, requestsInFlight: 50, streamsOpen: 50 };
    const { first } = new Pair(limits);
    let fault: string | undefined;
    let asked = 0;
    for (; fault === undefined && asked < 10_000; asked += 1) {
      fault = first.receive(numberedKinds.request, ...short(asked + 1), 0, 0);
      for (const each of first.of("request")) first.channel.reply(each.request, 0, content(1_000));
      first.drain();
    }
    expect(fault).toBe("it asks on without reading that it is refused");
    expect(asked).toBeLessThan(200);
    expect(first.link.mostUnacknowledgedBytes).toBeLessThan(20_000);
  });
});

describe("the time-outs of several channels", () => {
  test("are in the machine's table of timers", () => {
    const arrivals: unknown[] = [];
    const timers = new Timers();
    const messaging = new MessagingChannels(
      { push: (arrival) => void arrivals.push(arrival), newest: undefined },
      defaultLimits,
      timers,
    );
    const [one, two] = ["one", "two"].map((peer) => messaging.attach(peer, true, new TestLink()));
    one?.request(ask, 0, content(0), 200, 0);
    two?.request(ask, 0, content(0), 100, 0);
    expect(timers.next()).toBe(100);
    two?.ended("gone");
    expect(timers.next()).toBe(200);
    timers.fire(200);
    expect(timers.next()).toBeUndefined();
    expect(arrivals).toMatchObject([
      { from: two, code: "PEER_DOWN" },
      { from: one, code: "TIMED_OUT" },
    ]);
  });
});
