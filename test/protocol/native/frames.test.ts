import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  encodeFrame,
  type FrameLimits,
  FrameReader,
  frameHeaderBytes,
  frameKinds,
  ping,
  pong,
  writeFrameHeader,
} from "../../../src/protocol/native/frames.js";
import { isNumbered, numberedKinds, streamDataHeaderBytes } from "../../../src/protocol/native/numbered-frames.js";
import { encodePreface, version } from "../../../src/protocol/native/preface.js";
import { cut, cuts, everyDelivery } from "../readers.js";
import { hexOf } from "./hex.js";
import { concat, limits, readStream, type StreamEvent } from "./reading.js";

const kinds = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0x0f, max: 0x20 }));
const frames = fc.array(fc.tuple(kinds, fc.uint8Array({ maxLength: 30 })), { maxLength: 6 });
const preface: StreamEvent = { type: "preface", lowest: version, highest: version };

function header(kind: number, bodyBytes: number): Uint8Array {
  const bytes = new Uint8Array(frameHeaderBytes);
  writeFrameHeader(bytes, kind, bodyBytes);
  return bytes;
}

function streamOf(parts: readonly (readonly [kind: number, body: Uint8Array])[]): Uint8Array {
  return concat(encodePreface(), ...parts.map(([kind, body]) => encodeFrame(kind, body)));
}

/** Every place at which to cut so many bytes, and every two of them that are not far apart. */
function everyPairOfPlaces(length: number): number[][] {
  const places = Array.from({ length: length - 1 }, (_, index) => index + 1);
  return places.flatMap((first) => [
    [first],
    ...places.filter((second) => second > first && second < first + 30).map((second) => [first, second]),
  ]);
}

describe("a stream of frames", () => {
  test("comes to the same frames whole, byte by byte, and cut at every place", () => {
    fc.assert(
      fc.property(frames, (parts) => {
        const expected = [preface, ...parts.map(([kind, body]) => ({ type: "frame", kind, body: hexOf(body) }))];
        for (const pieces of everyDelivery(streamOf(parts))) expect(readStream(pieces)).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  test("of any bytes comes to the same however it is cut, and never throws", () => {
    const small: FrameLimits = { controlBytes: 40, messageBytes: 60 };
    const streams = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.uint8Array({ maxLength: 60 }).map((bytes) => concat(encodePreface(), bytes)),
      fc.tuple(frames, fc.uint8Array({ maxLength: 9 })).map(([parts, rest]) => concat(streamOf(parts), rest)),
    );
    fc.assert(
      fc.property(streams, cuts, (bytes, places) => {
        expect(readStream(cut(bytes, places), small)).toEqual(readStream([bytes], small));
      }),
      { numRuns: 2_000 },
    );
  });

  test("hands on a body that lies in one piece without copying it, and one that does not in memory of its own size", () => {
    const bodies: Uint8Array[] = [];
    const reader = new FrameReader(limits, { preface: () => {}, frame: (_, body) => bodies.push(body), bad: () => {} });
    const stream = streamOf([[frameKinds.control, new Uint8Array(1_000)]]);
    reader.push(stream);
    for (const piece of cut(stream.subarray(encodePreface().length), [500])) reader.push(piece);
    expect(bodies.map((body) => body.length)).toEqual([1_000, 1_000]);
    expect(bodies[0]?.buffer).toBe(stream.buffer);
    expect(bodies[1]?.buffer.byteLength).toBe(1_000);
  });

  test("hands on a numbered frame as a place in memory: of the piece if it lies in one, otherwise of its own", () => {
    const heard: { readonly kind: number; readonly bytes: Uint8Array; readonly from: number; readonly to: number }[] =
      [];
    const allocated: Uint8Array[] = [];
    const allocate = (bytes: number): Uint8Array => {
      allocated.push(new Uint8Array(bytes).fill(0xee));
      return allocated.at(-1) as Uint8Array;
    };
    const sink = {
      preface: () => {},
      frame: () => expect.unreachable(),
      numbered: (kind: number, bytes: Uint8Array, from: number, to: number) =>
        void heard.push({ kind, bytes, from, to }),
      bad: () => expect.unreachable(),
    };
    const body = Uint8Array.from({ length: 1_000 }, (_, index) => index);
    const stream = streamOf([
      [0x10, body],
      [0x1f, body],
    ]);
    const reader = new FrameReader(limits, sink, allocate);
    reader.push(stream);
    const from = encodePreface().length + frameHeaderBytes;
    expect(heard).toEqual([
      { kind: 0x10, bytes: stream, from, to: from + 1_000 },
      { kind: 0x1f, bytes: stream, from: from + 1_000 + frameHeaderBytes, to: stream.length },
    ]);
    expect(allocated).toEqual([]);
    // The body is cut: what lies in the next piece behind it is not copied.
    heard.length = 0;
    const rest = stream.subarray(encodePreface().length);
    for (const piece of [rest.subarray(0, 500), rest.subarray(500)]) reader.push(piece);
    expect(heard.map(({ kind, bytes, from: at, to }) => [kind, hexOf(bytes.subarray(at, to)) === hexOf(body)])).toEqual(
      [
        [0x10, true],
        [0x1f, true],
      ],
    );
    expect(allocated.map(({ length }) => length)).toEqual([1_000]);
    expect(heard[0]?.bytes).toBe(allocated[0]);
    expect(heard[1]?.bytes.buffer).toBe(stream.buffer);
  });

  test("comes to the same numbered frames however it is cut, and to the same other ones between them", () => {
    fc.assert(
      fc.property(frames, cuts, (parts, places) => {
        const heard: string[] = [];
        const reader = new FrameReader(limits, {
          preface: () => {},
          frame: (kind, body) => void heard.push(`${isNumbered(kind)} ${kind} ${hexOf(body)}`),
          numbered: (kind, bytes, from, to) => void heard.push(`numbered ${kind} ${hexOf(bytes.subarray(from, to))}`),
          bad: () => expect.unreachable(),
        });
        for (const piece of cut(streamOf(parts), places)) reader.push(piece);
        const expected = parts.map(
          ([kind, body]) => `${isNumbered(kind) ? "numbered" : "false"} ${kind} ${hexOf(body)}`,
        );
        expect(heard).toEqual(expected);
      }),
    );
  });

  test("hands on a portion in parts, as it comes, from when its head is there, and nothing else", () => {
    const body = Uint8Array.from({ length: 40 }, (_, index) => index);
    const stream = streamOf([
      [numberedKinds.message, body],
      [numberedKinds.data, body],
      [numberedKinds.data, body.subarray(0, 20)],
      [frameKinds.control, body],
    ]);
    for (const places of everyPairOfPlaces(stream.length)) {
      const allocated: number[] = [];
      const heard: string[] = [];
      let part: Uint8Array = new Uint8Array();
      const hear = (bytes: Uint8Array, rest: number): void => {
        part = concat(part, bytes);
        if (rest > 0) return;
        heard.push(hexOf(part));
        part = new Uint8Array();
      };
      const reader = new FrameReader(
        limits,
        {
          preface: () => {},
          frame: (_, frame) => hear(frame, 0),
          numbered: (kind, bytes, from, to, rest) => {
            expect(rest === 0 || (kind === numberedKinds.data && to - from > streamDataHeaderBytes)).toBe(true);
            hear(bytes.subarray(from, to), rest);
          },
          more: (bytes, from, to, rest) => hear(bytes.subarray(from, to), rest),
          bad: () => expect.unreachable(),
        },
        (bytes) => {
          allocated.push(bytes);
          return new Uint8Array(bytes);
        },
      );
      for (const piece of cut(stream, places)) reader.push(piece);
      expect(heard).toEqual([body, body, body.subarray(0, 20), body].map(hexOf));
      // A cut within a portion's content costs no memory.
      const first = places[0] ?? 0;
      const portionAt = encodePreface().length + 2 * frameHeaderBytes + body.length;
      const isWithin = first > portionAt + streamDataHeaderBytes && first < portionAt + body.length;
      if (isWithin && places.length === 1) expect(allocated).toEqual([]);
    }
  });

  test("says of an empty frame as soon as its header is there", () => {
    expect(readStream([encodePreface(), ping, pong])).toEqual([
      preface,
      { type: "frame", kind: frameKinds.ping, body: "" },
      { type: "frame", kind: frameKinds.pong, body: "" },
    ]);
  });
});

describe("a frame", () => {
  const most: readonly (readonly [string, number, number])[] = [
    ["a message", numberedKinds.message, limits.messageBytes],
    ["numbered, of the first kind", 0x10, limits.messageBytes],
    ["numbered, of the last kind", 0x1f, limits.messageBytes],
    ["of the kind below them", 0x0f, limits.controlBytes],
    ["of the kind above them", 0x20, limits.controlBytes],
    ["a control frame", frameKinds.control, limits.controlBytes],
    ["an acknowledgement", frameKinds.acknowledgement, limits.controlBytes],
    ["a ping", frameKinds.ping, limits.controlBytes],
    ["of a kind that may be ignored", 0x80, limits.controlBytes],
    ["of kind 255", 255, limits.controlBytes],
  ];

  test.each(most)("that is too large is refused at its header: %s", (_, kind, bytes) => {
    expect(readStream([encodePreface(), header(kind, bytes)])).toEqual([preface]);
    for (const pieces of everyDelivery(concat(encodePreface(), header(kind, bytes + 1)))) {
      expect(readStream(pieces)).toEqual([preface, { type: "bad", code: "FRAME_TOO_LARGE" }]);
    }
  });

  test("of 4 GiB costs no memory", () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let count = 0; count < 100; count += 1)
      readStream([encodePreface(), header(numberedKinds.message, 2 ** 32 - 1)]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
  });

  test("is written where it is wanted in a larger memory, and nothing beside it", () => {
    const memory = new Uint8Array(9).fill(0xee);
    writeFrameHeader(memory, 7, 0x0102, 2);
    expect([...memory]).toEqual([0xee, 0xee, 0, 0, 1, 2, 7, 0xee, 0xee]);
  });

  test("writes its length in four bytes, the largest first", () => {
    expect(header(2, 0x01020304)).toEqual(Uint8Array.of(1, 2, 3, 4, 2));
    expect(header(2, 0xfffefdfc)).toEqual(Uint8Array.of(0xff, 0xfe, 0xfd, 0xfc, 2));
  });
});

describe("a reader", () => {
  test("takes larger frames from the moment at which it may, also within one piece", () => {
    const events: string[] = [];
    const reader = new FrameReader(
      { controlBytes: 4, messageBytes: 4 },
      {
        preface: () => {},
        frame: (_, body) => {
          events.push(hexOf(body));
          reader.limits = limits;
        },
        bad: (code) => events.push(code),
      },
    );
    const body = Uint8Array.from({ length: 20 }, (_, index) => index);
    reader.push(concat(encodePreface(), encodeFrame(1, body.subarray(0, 4)), encodeFrame(1, body)));
    expect(events).toEqual([hexOf(body.subarray(0, 4)), hexOf(body)]);
  });

  test("that is closed in the middle of a piece reads nothing more of it, nor of what follows", () => {
    let count = 0;
    const reader: FrameReader = new FrameReader(limits, {
      preface: () => {},
      frame: () => {
        count += 1;
        reader.close();
      },
      bad: () => expect.unreachable(),
    });
    reader.push(concat(encodePreface(), ping, ping, Uint8Array.of(255, 255, 255, 255, 1)));
    reader.push(ping);
    expect(count).toBe(1);
  });

  test("that is closed at the preface reads no frame", () => {
    const reader: FrameReader = new FrameReader(limits, {
      preface: () => reader.close(),
      frame: () => expect.unreachable(),
      bad: () => expect.unreachable(),
    });
    reader.push(concat(encodePreface(), ping));
  });

  test.each([
    ["another magic, at its first wrong byte", [0xf7, 0x66, 0x20]],
    ["a classic registration, at its first byte", [0x31]],
    ["version 0", [0xf7, 0x66, 0x6d, 0x65, 0x73, 0x68, 0, 1]],
    ["versions from 2 to 1", [0xf7, 0x66, 0x6d, 0x65, 0x73, 0x68, 2, 1]],
  ])("refuses what is no preface: %s", (_, bytes) => {
    for (const pieces of everyDelivery(Uint8Array.from(bytes))) {
      expect(readStream(pieces)).toEqual([{ type: "bad", code: "BAD_PREFACE" }]);
    }
  });
});
