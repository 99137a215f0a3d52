import { describe, expect, test } from "vitest";
import type { Stream } from "../../src/messaging/stream.js";
import type { streamTransitions } from "../../src/messaging/stream-states.js";
import { numberedKinds } from "../../src/protocol/native/numbered-frames.js";
import { bytesOf, content, type End, Pair, topic } from "./pair.js";

const file = topic("file");
const kib = 1_024;

/** A pair with one stream, which the first end has opened. */
function opened(limits = {}): { pair: Pair; ours: Stream; theirs: Stream } {
  const pair = new Pair(limits);
  const ours = pair.first.channel.open(file);
  pair.settle();
  return { pair, ours, theirs: pair.second.only("stream").stream };
}

function bytesOfStream(end: End, stream?: Stream): Buffer {
  return Buffer.concat(
    end.of("data").flatMap((each) => (stream === undefined || each.stream === stream ? [each.bytes] : [])),
  );
}

/** The application at this end takes all that has come and comes, until nothing more comes. */
function readAll(pair: Pair, end: End): void {
  let taken = 0;
  pair.settle();
  for (let heard = end.of("data"); taken < heard.length; heard = end.of("data")) {
    for (const { stream, bytes } of heard.slice(taken)) stream.read(bytes.length);
    taken = heard.length;
    pair.settle();
  }
}

function short(number: number): Uint8Array {
  return Uint8Array.of(number >>> 24, number >>> 16, number >>> 8, number);
}

describe("a stream", () => {
  test("is numbered oddly by the link's owner and evenly by the other", () => {
    const pair = new Pair();
    expect([1, 2].map(() => pair.first.channel.open(file).id)).toEqual([1, 3]);
    expect([1, 2].map(() => pair.second.channel.open(file).id)).toEqual([2, 4]);
    pair.settle();
    expect(pair.first.of("stream").map(({ stream, topic: name }) => [stream.id, name])).toEqual([
      [2, "file"],
      [4, "file"],
    ]);
    expect(pair.second.of("stream").map(({ stream }) => [stream.id, stream.peer])).toEqual([
      [1, pair.second.channel.peer],
      [3, pair.second.channel.peer],
    ]);
    expect([pair.first.link.measures, pair.second.link.measures]).toEqual([4, 4]);
    expect(pair.faults).toEqual([]);
  });

  test("carries bytes in both directions, in whatever pieces they were written", () => {
    const { pair, ours, theirs } = opened();
    const pieces = [1, 10, 4_095, 3, 4_096, 70_000, 2, 2, 5_000, 16_000, 1];
    for (const [index, length] of pieces.entries()) {
      ours.write(content(length, index));
      theirs.write(content(length, index + 100));
    }
    ours.end();
    theirs.end();
    readAll(pair, pair.second);
    readAll(pair, pair.first);
    expect(
      bytesOfStream(pair.second).equals(Buffer.concat(pieces.map((length, index) => content(length, index)))),
    ).toBe(true);
    const back = Buffer.concat(pieces.map((length, index) => content(length, index + 100)));
    expect(bytesOfStream(pair.first).equals(back)).toBe(true);
    expect([pair.first.of("finished").length, pair.second.of("finished").length]).toEqual([1, 1]);
    expect([ours.state, theirs.state]).toEqual(["closed", "closed"]);
    expect(pair.first.channel.underWay.streams + pair.second.channel.underWay.streams).toBe(0);
    expect(pair.faults).toEqual([]);
  });

  test("copies short writes that wait, and gathers them into few frames", () => {
    const { pair, ours } = opened({ streamWindowBytes: 100 });
    ours.write(content(100));
    const buffer = new Uint8Array(10);
    for (let count = 0; count < 400; count += 1) ours.write(buffer.fill(count));
    buffer.fill(255);
    readAll(pair, pair.second);
    const heard = bytesOfStream(pair.second).subarray(100);
    expect(heard).toHaveLength(4_000);
    expect(heard.every((byte, at) => byte === (Math.floor(at / 10) & 255))).toBe(true);
    expect(pair.second.of("data").length).toBeLessThan(100);
  });

  test("ends one direction at a time: the other goes on", () => {
    const { pair, ours, theirs } = opened();
    ours.write(bytesOf("question"));
    ours.end();
    expect(ours.write(bytesOf("more"))).toBe(false);
    ours.end();
    pair.settle();
    expect(pair.second.arrivals.slice(1).map(({ type }) => type)).toEqual(["data", "finished"]);
    expect([ours.state, theirs.state]).toEqual(["halfClosedLocal", "halfClosedRemote"]);
    theirs.write(bytesOf("answer"));
    pair.settle();
    expect(bytesOfStream(pair.first).toString()).toBe("answer");
    theirs.end();
    expect(theirs.state).toBe("closed");
    pair.settle();
    expect([ours.state, pair.first.of("finished").length]).toEqual(["closed", 1]);
    expect(pair.faults).toEqual([]);
  });

  test("says its end behind all that was written, also when both ends have said it", () => {
    const { pair, ours, theirs } = opened({ streamWindowBytes: 1_000 });
    ours.write(content(5_000));
    ours.end();
    expect(ours.state).toBe("ending");
    theirs.end();
    pair.settle();
    expect([ours.state, theirs.state]).toEqual(["closing", "halfClosedLocal"]);
    readAll(pair, pair.second);
    expect([ours.state, theirs.state, bytesOfStream(pair.second).length]).toEqual(["closed", "closed", 5_000]);
    expect(pair.second.arrivals.at(-1)?.type).toBe("finished");
  });

  test("that is aborted drops what waits, and ignores what still comes", () => {
    const { pair, ours, theirs } = opened({ streamWindowBytes: 1_000 });
    ours.write(content(5_000));
    theirs.write(content(500));
    theirs.end();
    ours.abort("STREAM_ABORTED", "enough");
    ours.abort("STREAM_ABORTED", "twice");
    expect([ours.state, ours.waitingBytes, ours.write(content(1))]).toEqual(["closed", 0, false]);
    pair.settle();
    expect(pair.first.arrivals).toEqual([]);
    expect(pair.second.only("aborted")).toMatchObject({ stream: theirs, code: "STREAM_ABORTED", message: "enough" });
    theirs.read(1_000);
    expect([theirs.write(content(1)), pair.second.link.kinds]).toEqual([false, []]);
    expect(pair.faults).toEqual([]);
  });

  /** The ways into each state, seen from the end that opened the stream. */
  const ways: Record<keyof typeof streamTransitions, (pair: Pair, ours: Stream, theirs: Stream) => void> = {
    open: () => {},
    ending: (_pair, ours) => {
      ours.write(content(2_000));
      ours.end();
    },
    halfClosedLocal: (_pair, ours) => ours.end(),
    halfClosedRemote: (_pair, _ours, theirs) => theirs.end(),
    closing: (_pair, ours, theirs) => {
      ours.write(content(2_000));
      ours.end();
      theirs.end();
    },
    closed: (_pair, ours) => ours.abort("X", ""),
  };
  const states = Object.keys(ways) as (keyof typeof ways)[];

  test.each(states)("may be aborted by this end when %s", (state) => {
    const { pair, ours, theirs } = opened({ streamWindowBytes: 1_000 });
    ways[state](pair, ours, theirs);
    pair.settle();
    expect(ours.state).toBe(state);
    ours.abort("X", "why");
    pair.settle();
    expect([ours.state, theirs.state, pair.faults]).toEqual(["closed", "closed", []]);
    expect(pair.first.of("aborted")).toEqual([]);
    expect(pair.second.of("aborted")).toHaveLength(1);
    expect(pair.second.channel.underWay.streams).toBe(0);
  });

  test.each(states)("may be aborted by the peer when %s", (state) => {
    const { pair, ours, theirs } = opened({ streamWindowBytes: 1_000 });
    ways[state](pair, ours, theirs);
    pair.settle();
    theirs.abort("Y", "why");
    pair.settle();
    expect([ours.state, theirs.state, pair.faults]).toEqual(["closed", "closed", []]);
    expect(pair.first.of("aborted")).toHaveLength(state === "closed" ? 0 : 1);
  });

  test.each(states)("may be aborted by both at once when %s", (state) => {
    const { pair, ours, theirs } = opened({ streamWindowBytes: 1_000 });
    ways[state](pair, ours, theirs);
    pair.settle();
    ours.abort("X", "");
    theirs.abort("Y", "");
    pair.settle();
    expect([pair.first.of("aborted").length, pair.faults]).toEqual([0, []]);
  });

  test.each(states)("is lost with its link when %s", (state) => {
    const { pair, ours, theirs } = opened({ streamWindowBytes: 1_000 });
    ways[state](pair, ours, theirs);
    pair.settle();
    pair.end("cut");
    expect(pair.first.of("aborted").map(({ code, message }) => [code, message])).toEqual(
      state === "closed" ? [] : [["PEER_DOWN", "cut"]],
    );
    expect([ours.state, ours.waitingBytes, ours.write(content(1))]).toEqual(["closed", 0, false]);
    ours.end();
    ours.abort("X", "");
    ours.read(0);
    expect(pair.first.link.kinds).toEqual([]);
  });

  test("of which the link has ended, or ends, is aborted at once", () => {
    const pair = new Pair();
    pair.first.link.isOpen = false;
    expect(pair.first.channel.open(file).state).toBe("closed");
    expect(pair.first.only("aborted").code).toBe("PEER_DOWN");
    expect(pair.first.link.kinds).toEqual([]);
  });

  test("keeps the goodbye waiting once it has ended, until the end has been sent behind all that was written", () => {
    const { pair, ours } = opened({ streamWindowBytes: 1_000 });
    const { channel, link: line } = pair.first;
    ours.write(content(1_500));
    pair.settle();
    // Who leaves in the middle of a stream has not said all of it, and nobody waits for that.
    expect(channel.isDone).toBe(true);
    ours.end();
    line.isOpen = false;
    pair.settle();
    expect([channel.isDone, channel.waiting]).toEqual([false, 0]);
    readAll(pair, pair.second);
    expect(channel.isDone).toBe(true);
    expect(bytesOfStream(pair.second).equals(content(1_500))).toBe(true);
    expect(pair.second.of("finished")).toHaveLength(1);
  });

  test("that its peer gives up keeps no goodbye waiting", () => {
    const { pair, ours, theirs } = opened({ streamWindowBytes: 1_000 });
    ours.write(content(1_500));
    ours.end();
    pair.settle();
    theirs.abort("NO_INTEREST", "enough");
    pair.settle();
    expect(pair.first.channel.isDone).toBe(true);
  });

  test("goes in frames that are no longer than any frame may be", () => {
    const { pair, ours } = opened({ messageBytes: 1_000 });
    ours.write(content(50_000));
    pair.settle();
    expect(pair.second.of("data").map(({ bytes }) => bytes.length)).toEqual([...Array(50).fill(990), 500]);
  });

  test("whose lent bytes are transferred away before they go is aborted at both ends, and nothing else is", () => {
    const { pair, ours, theirs } = opened({ streamWindowBytes: 1_000 });
    const other = pair.first.channel.open(file);
    const buffer = new ArrayBuffer(5_000);
    ours.write(new Uint8Array(buffer));
    pair.settle();
    structuredClone(buffer, { transfer: [buffer] });
    theirs.read(1_000);
    pair.settle();
    for (const end of [pair.first, pair.second]) {
      expect(end.of("aborted")).toMatchObject([{ stream: { id: ours.id }, code: "PAYLOAD_CHANGED" }]);
    }
    other.write(content(10));
    pair.settle();
    expect(bytesOfStream(pair.second).length).toBe(1_010);
    expect(pair.faults).toEqual([]);
  });

  test("on a link that is being left sends what was written before and nothing more, so that the goodbye is not held up", () => {
    const { pair, ours, theirs } = opened({ streamFrameBytes: 1_000, streamBacklogBytes: 1_100 });
    expect(ours.write(content(5_000))).toBe(false);
    pair.first.link.isOpen = false;
    expect(ours.write(content(7))).toBe(false);
    let read = 0;
    for (let moves = 0; moves < 50 && !pair.first.link.isIdle; moves += 1) {
      pair.move(pair.first);
      // An application that writes on whenever there is room, and a peer that takes everything.
      for (const { stream } of pair.first.of("writable")) stream.write(content(2_000));
      theirs.read(bytesOfStream(pair.second).length - read);
      read = bytesOfStream(pair.second).length;
    }
    expect([bytesOfStream(pair.second).length, pair.first.link.isIdle]).toEqual([5_000, true]);
    // What is not all of it must not look as if it were.
    ours.end();
    expect([ours.state, pair.first.link.kinds]).toEqual(["open", []]);
    pair.end("left");
    expect(pair.first.only("aborted").code).toBe("PEER_DOWN");
  });

  test("on a link that is being left still says its end, if all of it was written before", () => {
    const { pair, ours } = opened({ streamWindowBytes: 1_000 });
    ours.write(content(3_000));
    pair.first.link.isOpen = false;
    ours.write(content(0));
    ours.end();
    readAll(pair, pair.second);
    expect([bytesOfStream(pair.second).length, pair.second.of("finished").length]).toEqual([3_000, 1]);
  });
});

describe("the window of a stream", () => {
  test("is used up to its last byte and never exceeded by a peer that takes nothing", () => {
    const { pair, ours } = opened();
    expect(ours.write(content(300 * kib))).toBe(false);
    pair.settle();
    expect(bytesOfStream(pair.second)).toHaveLength(256 * kib);
    expect([ours.waitingBytes, pair.first.of("writable").length]).toEqual([44 * kib, 1]);
    for (const { stream, bytes } of pair.second.of("data").slice(0, 1)) stream.read(bytes.length);
    pair.settle();
    expect([bytesOfStream(pair.second).length, ours.waitingBytes]).toEqual([300 * kib, 0]);
  });

  test("is granted a quarter at a time", () => {
    const { pair, ours, theirs } = opened({ streamWindowBytes: 1_000 });
    ours.write(content(3_000));
    pair.settle();
    theirs.read(249);
    pair.settle();
    expect(bytesOfStream(pair.second)).toHaveLength(1_000);
    theirs.read(1);
    pair.settle();
    expect(bytesOfStream(pair.second)).toHaveLength(1_250);
    expect(() => theirs.read(1_001)).toThrow(RangeError);
  });

  test.each([
    [undefined, 256 * kib],
    [0.1, 256 * kib],
    [2, 768 * kib],
    [10, 3_840 * kib],
    // All streams together may grow by 16 MiB, and the first takes half of that.
    [1_000, 8_448 * kib],
  ])("grows with a round trip of %s ms to %d bytes", (roundTripMs, expected) => {
    const { pair, ours, theirs } = opened({ queueHardBytes: 64 * 1024 * kib });
    pair.second.link.roundTripMs = roundTripMs;
    ours.write(content(17 * 1024 * kib));
    pair.settle();
    const before = bytesOfStream(pair.second).length;
    theirs.read(before);
    pair.settle();
    expect(bytesOfStream(pair.second).length - before).toBe(expected);
  });

  test("is measured again after each MiB, because the first round trip may have met cold code", () => {
    const { pair, ours, theirs } = opened();
    const { link: line } = pair.second;
    const before = line.measures;
    for (let read = 0; read < 4 * 1024 * kib; read += 64 * kib) {
      ours.write(content(64 * kib));
      pair.settle();
      theirs.read(64 * kib);
      // A limit is granted ahead of what is read, by no more than the window.
      const least = Math.floor(read / (1024 * kib));
      const most = Math.ceil((read + 256 * kib) / (1024 * kib));
      expect(line.measures - before).toBeGreaterThanOrEqual(least);
      expect(line.measures - before).toBeLessThanOrEqual(most);
    }
  });

  test("grows at the cost of others: together they stay bounded, however long the peer says that a round trip takes", () => {
    const limits = { streamWindowBytes: 1_000, streamWindowMaxBytes: 100_000, streamGrowthBytes: 10_000 };
    const pair = new Pair(limits);
    pair.second.link.roundTripMs = 1e9;
    const ours = Array.from({ length: 20 }, () => pair.first.channel.open(file));
    pair.settle();
    const theirs = pair.second.of("stream").map(({ stream }) => stream);
    for (const stream of ours) stream.write(content(50_000));
    const unread = new Map(theirs.map((stream) => [stream, 0]));
    const sum = (): number => [...unread.values()].reduce((all, bytes) => all + bytes, 0);
    const hear = (): void => {
      pair.settle();
      for (const { stream, bytes } of pair.second.of("data")) {
        unread.set(stream, (unread.get(stream) ?? 0) + bytes.length);
      }
      pair.second.drain();
      expect(sum()).toBeLessThanOrEqual(20 * 1_000 + 10_000);
    };
    const read = (stream: Stream, most: number): void => {
      const bytes = Math.min(most, unread.get(stream) ?? 0);
      unread.set(stream, (unread.get(stream) ?? 0) - bytes);
      stream.read(bytes);
    };
    hear();
    for (let round = 0; round < 30; round += 1) {
      for (const stream of theirs) read(stream, 400);
      hear();
    }
    expect(sum()).toBeGreaterThan(25_000);
    expect(Math.max(...unread.values())).toBeLessThan(7_000);
    // What others had is there again for one that goes on.
    const [last, ...others] = theirs.reverse();
    if (last === undefined) throw new Error("no stream");
    for (const stream of others) stream.abort("X", "");
    for (const stream of others) unread.delete(stream);
    for (let round = 0; round < 5; round += 1) {
      read(last, 1_000);
      hear();
    }
    expect(unread.get(last)).toBeGreaterThan(6_000);
    expect(pair.faults).toEqual([]);
  });

  test("grants nothing more when the peer has said its end", () => {
    const { pair, ours, theirs } = opened();
    ours.write(content(100 * kib));
    ours.end();
    pair.settle();
    theirs.read(100 * kib);
    expect(pair.second.link.kinds).toEqual([]);
  });
});

describe("streams with something to send", () => {
  test("take turns: one frame each, also when one begins late", () => {
    const pair = new Pair({ streamFrameBytes: 1_000, streamBacklogBytes: 1_100 });
    const streams = [1, 2, 3].map(() => pair.first.channel.open(file));
    pair.settle();
    const [one, two, three] = streams;
    one?.write(content(10_000));
    two?.write(content(5_000));
    for (let count = 0; count < 4; count += 1) pair.move(pair.first);
    three?.write(content(3_000));
    readAll(pair, pair.second);
    expect(
      pair.second
        .of("data")
        .map(({ stream }) => stream.id)
        .join(""),
    ).toBe("113131351351351111");
  });

  test("keep messages waiting behind no more than the backlog", () => {
    const { pair, ours } = opened({ streamWindowBytes: 300_000 });
    pair.first.link.mostWaitingBytes = 0;
    const other = pair.first.channel.open(file);
    ours.write(content(250_000));
    other.write(content(250_000));
    pair.first.channel.send(topic("urgent"), 0, content(10));
    for (let count = 0; count < 60; count += 1) pair.move(pair.first, 1);
    pair.settle();
    expect(bytesOfStream(pair.second)).toHaveLength(500_000);
    expect(pair.first.link.mostWaitingBytes).toBeLessThanOrEqual(64 * kib + 100);
    const before = pair.second.arrivals.slice(
      0,
      pair.second.arrivals.findIndex(({ type }) => type === "message"),
    );
    const bytes = before.reduce((sum, each) => sum + (each.type === "data" ? each.bytes.length : 0), 0);
    expect(bytes).toBeLessThanOrEqual(64 * kib);
  });

  test("are not held back by messages that keep on waiting before the connection", () => {
    const { pair, ours } = opened();
    ours.write(content(200_000));
    for (let count = 0; count < 80; count += 1) {
      // More than the backlog waits all the time, and none of it is a stream's.
      while (pair.first.link.waitingBytes < 3 * 64 * kib) pair.first.channel.send(topic("m"), 0, content(8 * kib));
      pair.move(pair.first, 4);
      for (const { bytes } of pair.second.of("message")) pair.second.channel.consumed(bytes);
      for (const { stream, bytes } of pair.second.of("data")) stream.read(bytes.length);
      pair.second.drain();
      pair.move(pair.second);
    }
    expect(ours.waitingBytes).toBe(0);
  });

  test("shorten a frame rather than go beyond the backlog, and wait rather than send a tiny one", () => {
    const pair = new Pair();
    const [one, two] = [pair.first.channel.open(file), pair.first.channel.open(file)];
    pair.settle();
    one.write(content(20_000));
    two.write(content(100_000));
    expect(pair.first.link.waitingBytes).toBeGreaterThan(64 * kib - 100);
    expect(pair.first.link.waitingBytes).toBeLessThanOrEqual(64 * kib + 100);
    const kinds = pair.first.link.kinds.length;
    pair.first.link.waitingBytes -= 16_000;
    pair.first.channel.moved();
    expect(pair.first.link.kinds).toHaveLength(kinds);
    pair.first.link.waitingBytes += 16_000;
    readAll(pair, pair.second);
    expect(bytesOfStream(pair.second)).toHaveLength(120_000);
  });

  test("leave half of what may be kept for a peer to messages", () => {
    const { pair, ours } = opened({ streamWindowBytes: 1_000_000, queueHardBytes: 400_000, queueSoftBytes: 100_000 });
    ours.write(content(1_000_000));
    for (let count = 0; count < 60; count += 1) pair.deliver(pair.first);
    expect(bytesOfStream(pair.second).length).toBeGreaterThanOrEqual(200_000);
    expect(pair.first.link.mostUnacknowledgedBytes).toBeLessThan(200_000 + 64 * kib + 100);
    expect(pair.first.channel.send(topic("m"), 0, content(90_000))).toBe("taken");
    pair.settle();
    expect(bytesOfStream(pair.second)).toHaveLength(1_000_000);
  });

  test("say `writable` once, when less waits than one frame holds", () => {
    const { pair, ours } = opened({ streamWindowBytes: 100_000 });
    expect([ours.write(content(60_000)), ours.write(content(80_000)), ours.write(content(1))]).toEqual([
      true,
      false,
      false,
    ]);
    pair.settle();
    expect(pair.first.of("writable")).toEqual([{ type: "writable", stream: ours }]);
    readAll(pair, pair.second);
    expect(ours.write(content(1))).toBe(true);
    pair.settle();
    expect(pair.first.of("writable")).toHaveLength(1);
  });

  test("go on with any backlog, however small", () => {
    const { pair, ours } = opened({ streamBacklogBytes: 50 });
    ours.write(content(5_000));
    readAll(pair, pair.second);
    expect(bytesOfStream(pair.second)).toHaveLength(5_000);
  });
});

describe("too many streams", () => {
  test("are OVERLOADED at once at the end that opens them, and each end has its own", () => {
    const pair = new Pair({ streamsOpen: 2 });
    const [one] = [1, 2].map(() => pair.first.channel.open(file));
    const third = pair.first.channel.open(file);
    expect([third.state, pair.first.only("aborted").stream, pair.first.only("aborted").code]).toEqual([
      "closed",
      third,
      "OVERLOADED",
    ]);
    expect(pair.second.channel.open(file).state).toBe("open");
    pair.settle();
    one?.abort("X", "");
    expect(pair.first.channel.open(file).state).toBe("open");
    pair.settle();
    expect([pair.second.of("stream").length, pair.faults]).toEqual([3, []]);
  });

  test("are refused with OVERLOADED at the other end, and what comes for them is ignored", () => {
    const { first } = new Pair({ streamsOpen: 1 });
    expect([2, 4, 6].map((id) => first.receive(numberedKinds.open, ...short(id), 65))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(first.of("stream")).toHaveLength(1);
    expect(first.link.kinds).toEqual([numberedKinds.abort, numberedKinds.abort]);
    expect(first.receive(numberedKinds.data, ...short(6), 1)).toBeUndefined();
    expect(first.receive(numberedKinds.end, ...short(4))).toBeUndefined();
    expect(first.of("data")).toEqual([]);
  });

  test("are those too that are over and of which the application has not read everything", () => {
    const { first } = new Pair({ streamsOpen: 2 });
    for (const id of [2, 4]) {
      first.receive(numberedKinds.open, ...short(id), 65);
      first.receive(numberedKinds.data, ...short(id), 1, 2, 3);
      first.receive(numberedKinds.end, ...short(id));
    }
    const [two, four] = first.of("stream").map(({ stream }) => stream);
    two?.end();
    four?.end();
    expect([two?.state, four?.state, first.channel.underWay.streams]).toEqual(["closed", "closed", 0]);
    const refusedAt = (id: number): boolean => {
      const before = first.link.kinds.length;
      first.receive(numberedKinds.open, ...short(id), 65);
      return first.link.kinds.length > before;
    };
    two?.read(2);
    expect(refusedAt(6)).toBe(true);
    two?.read(1);
    two?.read(0);
    expect([refusedAt(8), refusedAt(10)]).toEqual([false, true]);
    // One whose rest nobody wants is as good as read.
    four?.skip();
    expect([refusedAt(12), refusedAt(14)]).toEqual([false, true]);
  });

  test("are any streams, to a peer that is behind with all that may be kept for it", () => {
    const { first } = new Pair({ queueSoftBytes: 100, queueHardBytes: 1_000 });
    first.channel.request(file, 0, content(990), 1_000, 0);
    first.receive(numberedKinds.open, ...short(2));
    expect([first.of("stream"), first.link.kinds]).toEqual([[], [numberedKinds.request, numberedKinds.abort]]);
  });

  test("from a peer that reads no refusal end the link", () => {
    const { first } = new Pair({ streamsOpen: 10, requestsInFlight: 20, queueSoftBytes: 100, queueHardBytes: 1_000 });
    let fault: string | undefined;
    let id = 0;
    for (; fault === undefined && id < 10_000; id += 2) fault = first.receive(numberedKinds.open, ...short(id + 2));
    expect(fault).toBe("it asks on without reading that it is refused");
    expect(first.link.mostUnacknowledgedBytes).toBeLessThan(5_000);
  });
});

describe("a hostile peer", () => {
  const { open, data, end, abort, credit } = numberedKinds;
  test.each<[string, readonly (readonly [kind: number, ...content: number[]])[], RegExp]>([
    ["data on a stream that there is not", [[data, 0, 0, 0, 2, 1]], /there is no stream 2/],
    ["data on a stream that we have not opened", [[data, 0, 0, 0, 1, 1]], /there is no stream 1/],
    ["an end of stream 0", [[end, 0, 0, 0, 0]], /there is no stream 0/],
    ["credit for a stream that there is not", [[credit, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1]], /there is no stream 9/],
    ["an abort of a stream that there is not", [[abort, 0, 0, 0, 4, 1, 65]], /there is no stream 4/],
    ["a number of ours", [[open, 0, 0, 0, 1]], /stream 1 is not the peer's to open/],
    ["number 0", [[open, 0, 0, 0, 0]], /number 0/],
    [
      "the same number twice",
      [
        [open, 0, 0, 0, 2],
        [open, 0, 0, 0, 2],
      ],
      /stream 2 was opened before/,
    ],
    [
      "a lower number",
      [
        [open, 0, 0, 0, 4],
        [open, 0, 0, 0, 2],
      ],
      /stream 2 was opened before/,
    ],
    [
      "empty data",
      [
        [open, 0, 0, 0, 2],
        [data, 0, 0, 0, 2],
      ],
      /no bytes/,
    ],
    [
      "data after its end",
      [
        [open, 0, 0, 0, 2],
        [end, 0, 0, 0, 2],
        [data, 0, 0, 0, 2, 1],
      ],
      /goes on after its end/,
    ],
    [
      "two ends",
      [
        [open, 0, 0, 0, 2],
        [end, 0, 0, 0, 2],
        [end, 0, 0, 0, 2],
      ],
      /ends twice/,
    ],
    [
      "too little credit",
      [
        [open, 0, 0, 0, 2],
        [credit, 0, 0, 0, 2, 0, 0, 0, 0, 0, 9],
      ],
      /goes back to 9/,
    ],
  ])("may not send %s", (_name, frames, expected) => {
    const { first } = new Pair();
    const faults = frames.map(([kind, ...bytes]) => first.receive(kind, ...bytes));
    expect(faults.slice(0, -1).every((fault) => fault === undefined)).toBe(true);
    expect(faults.at(-1)).toMatch(expected);
  });

  test("may not send one byte more than it was granted", () => {
    const { first } = new Pair({ streamWindowBytes: 100 });
    first.receive(open, ...short(2));
    expect(first.receive(data, ...short(2), content(100))).toBeUndefined();
    expect(first.receive(data, ...short(2), 1)).toBe("stream 2 is beyond its credit");
  });

  test("may use the highest number and the highest limit", () => {
    const { first } = new Pair();
    expect(first.receive(open, ...short(2 ** 32 - 2))).toBeUndefined();
    const { stream } = first.only("stream");
    expect(first.receive(credit, ...short(stream.id), 255, 255, 255, 255, 255, 255)).toBeUndefined();
    stream.write(content(1_000_000));
    expect(first.link.mostWaitingBytes).toBeLessThanOrEqual(64 * kib + 100);
  });

  test("that grants everything and acknowledges nothing is kept no more than half of what may be", () => {
    const { pair, ours } = opened({ queueHardBytes: 200_000, queueSoftBytes: 50_000 });
    pair.first.receive(credit, ...short(1), 255, 255, 255, 255, 255, 255);
    ours.write(content(1_000_000));
    for (let count = 0; count < 50; count += 1) {
      pair.first.link.hand();
      pair.first.channel.moved();
    }
    expect(pair.first.link.mostUnacknowledgedBytes).toBeLessThan(100_000 + 64 * kib + 100);
  });
});
