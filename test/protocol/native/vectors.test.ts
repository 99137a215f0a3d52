import { describe, expect, test } from "vitest";
import { type Control, encodeControl } from "../../../src/protocol/native/control.js";
import { ping, pong } from "../../../src/protocol/native/frames.js";
import { encodeAcknowledgement, encodeMessage } from "../../../src/protocol/native/message.js";
import { decodePreface, encodePreface } from "../../../src/protocol/native/preface.js";
import vectors from "../../vectors/native.json" with { type: "json" };
import { everyDelivery } from "../readers.js";
import { bytesOfHex, concat, hexOf, limits, understand } from "./reading.js";

/** The content of a frame as the vectors write it. */
type VectorContent =
  | Control
  | { readonly type: "message"; readonly message: { number: number; topic: string; payload: string } }
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

const frames = vectors.frames as unknown as readonly Frame[];
const streams = vectors.streams as readonly Stream[];

function encode(content: VectorContent): Uint8Array {
  switch (content.type) {
    case "message":
      return encodeMessage({ ...content.message, payload: bytesOfHex(content.message.payload) });
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
    const expected = [{ type: "preface", lowest: 1, highest: 1 }, content];
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
