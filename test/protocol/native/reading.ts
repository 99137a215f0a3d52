import fc from "fast-check";
import { type Content, readContent } from "../../../src/protocol/native/content.js";
import { type FrameLimits, FrameReader } from "../../../src/protocol/native/frames.js";

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
  const reader = new FrameReader(within, {
    preface: (preface) => void events.push({ type: "preface", ...preface }),
    frame: (kind, body) => {
      const content = readContent(kind, body);
      if (content !== undefined) events.push(toVector(content));
      if (content?.type === "bad") reader.close();
    },
    bad: (code) => void events.push({ type: "bad", code }),
  });
  for (const piece of pieces) reader.push(piece);
  return events;
}

/** Payload in hexadecimal digits, and no sentences that are meant for people only. */
export function toVector(content: Content): object {
  if (content.type === "bad") return { type: "bad", code: content.code };
  if (content.type !== "message") return content;
  return { type: "message", message: { ...content.message, payload: hexOf(content.message.payload) } };
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export function bytesOfHex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

/** Text of whole characters, of which UTF-8 loses nothing. */
export const texts: fc.Arbitrary<string> = fc.string({ unit: "binary", maxLength: 20 });

export const payloads: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 40 });
