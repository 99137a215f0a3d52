import { describe, expect, test } from "vitest";
import { encodeAcknowledgement } from "../../../src/protocol/native/acknowledgement.js";
import { type Control, encodeControl } from "../../../src/protocol/native/control.js";
import { ping, pong } from "../../../src/protocol/native/frames.js";
import { nameOfKind, numberedKinds } from "../../../src/protocol/native/numbered-frames.js";
import { decodePreface, encodePreface } from "../../../src/protocol/native/preface.js";
import vectors from "../../vectors/native.json" with { type: "json" };
import { everyDelivery } from "../readers.js";
import { bytesOfHex, hexOf } from "./hex.js";
import { encodeNumbered, type NumberedFrame } from "./numbered-frames.js";
import { concat, limits, understand } from "./reading.js";

/** The content of a frame as the vectors write it. */
type VectorContent =
  | Control
  | NumberedFrame
  | { readonly type: "acknowledgement"; readonly number: number }
  | { readonly type: "ping" | "pong" };

interface Frame {
  readonly name: string;
  readonly hex: string;
  readonly content: VectorContent;
}

interface Stream {
  readonly name: string;
  readonly hex: string;
  readonly limits?: typeof limits;
  readonly events: readonly object[];
}

const frames = [...vectors.frames, ...vectors.batches] as unknown as readonly Frame[];
const streams = vectors.streams as readonly Stream[];

function isNumberedFrame(content: VectorContent): content is NumberedFrame {
  return content.type in numberedKinds;
}

function encode(content: VectorContent): Uint8Array {
  if (isNumberedFrame(content)) return encodeNumbered(content);
  switch (content.type) {
    case "acknowledgement":
      return encodeAcknowledgement(content.number);
    case "ping":
      return ping;
    case "pong":
      return pong;
    default:
      return encodeControl(content);
  }
}

test("the vectors' bounds are ours", () => {
  expect(vectors.limits).toEqual(limits);
});

test("every vector has a name of its own", () => {
  for (const group of [frames, streams]) {
    const names = group.map(({ name }) => name);
    expect(names).toEqual([...new Set(names)]);
  }
});

test("every numbered kind has a vector that is good, and one that is not", () => {
  for (const kind of Object.values(numberedKinds)) {
    expect(frames.some(({ content }) => content.type === nameOfKind(kind))).toBe(true);
    const digits = kind.toString(16).padStart(2, "0");
    expect(streams.some(({ hex, events }) => hex.slice(24, 26) === digits && isLost(events))).toBe(true);
  }
});

function isLost(events: readonly object[]): boolean {
  const last = events.at(-1) ?? {};
  return "code" in last && last.code === "SESSION_LOST";
}

describe("a preface", () => {
  test.each(vectors.prefaces)("is written as $hex, and read", ({ hex, preface }) => {
    expect(hexOf(encodePreface(preface))).toBe(hex);
    expect(decodePreface(bytesOfHex(hex))).toEqual(preface);
  });
});

describe("a frame", () => {
  test.each(frames)("is written byte for byte: $name", ({ hex, content }) => {
    expect(hexOf(encode(content))).toBe(hex);
  });

  test.each(frames)("is read, at every split: $name", ({ hex, content }) => {
    const expected = [{ type: "preface", lowest: 2, highest: 2 }, content];
    for (const pieces of everyDelivery(bytesOfHex(hex)))
      expect(understand([encodePreface(), ...pieces])).toEqual(expected);
  });

  test("is read glued to all others", () => {
    const stream = concat(encodePreface(), ...frames.map(({ hex }) => bytesOfHex(hex)));
    expect(understand([stream]).slice(1)).toEqual(frames.map(({ content }) => content));
  });
});

describe("a stream", () => {
  test.each(streams)("is understood, at every split: $name", ({ hex, events, limits: within }) => {
    for (const pieces of everyDelivery(bytesOfHex(hex))) expect(understand(pieces, within ?? limits)).toEqual(events);
  });
});
