import { utf8 } from "../text.js";
import { frameHeaderBytes, frameKinds, writeFrameHeader } from "./frames.js";

/**
 * Application messages and their acknowledgements. Numbers count the messages of one link in one direction, from 1, for as
 * long as both incarnations live; they take 6 bytes, big endian.
 *
 * message: number (6), length of the topic (1), topic in UTF-8, payload. acknowledgement: number (6).
 */
const numberBytes = 6;

/** The longest topic, in bytes of UTF-8. */
export const longestTopic = 255;

/** True for what may be a topic: also the empty text, but no half of a surrogate pair, which has no UTF-8. */
export function isTopic(text: string): boolean {
  return !/\p{Cs}/u.test(text) && new TextEncoder().encode(text).length <= longestTopic;
}

export interface Message {
  readonly number: number;
  readonly topic: string;
  /** Contiguous, and the listener's to keep. */
  readonly payload: Uint8Array;
}

/** The whole frame. `topic` is one; see `isTopic`. */
export function encodeMessage({ number, topic, payload }: Message): Uint8Array {
  const topicBytes = new TextEncoder().encode(topic);
  const bodyBytes = numberBytes + 1 + topicBytes.length + payload.length;
  const frame = new Uint8Array(frameHeaderBytes + bodyBytes);
  writeFrameHeader(frame, frameKinds.message, bodyBytes);
  writeNumber(frame, frameHeaderBytes, number);
  let at = frameHeaderBytes + numberBytes;
  frame[at] = topicBytes.length;
  at += 1;
  frame.set(topicBytes, at);
  frame.set(payload, at + topicBytes.length);
  return frame;
}

/** Reads the body of a message frame; undefined if it is none. */
export function decodeMessage(body: Uint8Array): Message | undefined {
  const topicAt = numberBytes + 1;
  const payloadAt = topicAt + (body[numberBytes] ?? 0);
  if (body.length < topicAt || body.length < payloadAt) return undefined;
  const number = readNumber(body);
  const topic = utf8(body.subarray(topicAt, payloadAt));
  // Whoever has received 0 messages would take a message 0 for a repeated one, and drop it without a word.
  return topic === undefined || number === 0 ? undefined : { number, topic, payload: body.subarray(payloadAt) };
}

/** The whole frame: everything up to `number` has been delivered. */
export function encodeAcknowledgement(number: number): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes + numberBytes);
  writeFrameHeader(frame, frameKinds.acknowledgement, numberBytes);
  writeNumber(frame, frameHeaderBytes, number);
  return frame;
}

/** Reads the body of an acknowledgement; undefined if it is none. */
export function decodeAcknowledgement(body: Uint8Array): number | undefined {
  return body.length === numberBytes ? readNumber(body) : undefined;
}

function writeNumber(frame: Uint8Array, at: number, number: number): void {
  const high = Math.floor(number / 2 ** 32);
  frame[at] = high >>> 8;
  frame[at + 1] = high;
  frame[at + 2] = number >>> 24;
  frame[at + 3] = number >>> 16;
  frame[at + 4] = number >>> 8;
  frame[at + 5] = number;
}

function readNumber(body: Uint8Array): number {
  let number = 0;
  for (let index = 0; index < numberBytes; index += 1) number = number * 256 + (body[index] ?? 0);
  return number;
}
