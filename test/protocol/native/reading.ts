import fc from "fast-check";
import { decodeFrame, type FrameContent } from "../../../src/protocol/native/content.js";
import { type FrameLimits, FrameReader } from "../../../src/protocol/native/frames.js";
import { hexOf } from "./hex.js";
import { readNumbered } from "./numbered-frames.js";

/** What a member that is known may send. */
export const limits: FrameLimits = { controlBytes: 65_536, messageBytes: 1_048_576 };

/** What a reader says of a stream: its preface, its frames, and that it is bad. */
export type StreamEvent =
  | { readonly type: "preface"; readonly lowest: number; readonly highest: number }
  | { readonly type: "frame"; readonly kind: number; readonly body: string }
  | { readonly type: "bad"; readonly code: string };

/** Gives a reader these pieces; all that it has said, bodies in hexadecimal digits. */
export function readStream(pieces: readonly Uint8Array[], within = limits): StreamEvent[] {
  const events: StreamEvent[] = [];
  const reader = new FrameReader(within, {
    preface: ({ lowest, highest }) => void events.push({ type: "preface", lowest, highest }),
    frame: (kind, body) => void events.push({ type: "frame", kind, body: hexOf(body) }),
    bad: (code) => void events.push({ type: "bad", code }),
  });
  for (const piece of pieces) reader.push(piece);
  return events;
}

/** The same with what is in the frames, as the vectors write it; a bad content ends the reading. */
export function understand(pieces: readonly Uint8Array[], within = limits): object[] {
  const events: object[] = [];
  const hear = (content: object): void => {
    events.push(content);
    if ("type" in content && content.type === "bad") reader.close();
  };
  const reader: FrameReader = new FrameReader(within, {
    preface: (preface) => void events.push({ type: "preface", ...preface }),
    frame: (kind, body) => {
      const content = decodeFrame(kind, body);
      if (content !== undefined) hear(toVector(content));
    },
    numbered: (kind, bytes, from, to) => hear(readNumbered(kind, bytes, from, to)),
    bad: (code) => void events.push({ type: "bad", code }),
  });
  for (const piece of pieces) reader.push(piece);
  return events;
}

/** No sentences that are meant for people only. */
function toVector(content: FrameContent): object {
  return content.type === "bad" ? { type: "bad", code: content.code } : content;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

/** Text of whole characters, of which UTF-8 loses nothing. */
export const texts: fc.Arbitrary<string> = fc.string({ unit: "binary", maxLength: 20 });
