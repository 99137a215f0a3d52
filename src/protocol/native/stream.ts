import type { Limits } from "../../core/limits.js";
import type { LinkWriter } from "../../core/link-handler.js";
import {
  numberBytes,
  numberedKinds,
  readNumber,
  readShortNumber,
  shortNumberBytes,
  streamDataHeaderBytes,
  writeNumber,
  writeShortNumber,
} from "./numbered.js";
import { isReferenced, viewOf, writeBytes } from "./payload.js";
import { decodeReason, encodeReason, type FailureReason } from "./reason.js";
import { decodeTopic, longestTopic } from "./topics.js";

/**
 * Streams, and the credit by which they and messages flow. The link's owner gives its streams odd numbers, the other end
 * even ones, each time a higher one. Behind the frame's number:
 *
 * open: stream (4), topic in UTF-8. data: stream (4), at least one byte. end: stream (4). abort: see `reason.ts`.
 * credit: flow (4), limit (6).
 */
export interface Opening {
  readonly stream: number;
  readonly topic: string;
}

export interface StreamData {
  readonly stream: number;
  /** Contiguous, and the listener's to keep. */
  readonly bytes: Uint8Array;
}

type StreamDataLimits = Pick<Limits, "streamFrameBytes" | "messageBytes">;

export interface Credit {
  /** 0 for messages, otherwise the number of a stream. */
  readonly flow: number;
  /** So many bytes in all may be sent. */
  readonly limit: number;
}

/** The flow of messages. */
export const messageFlow = 0;

/** The last number that a stream may have. */
export const highestStream = 2 ** 32 - 1;

export function encodeOpen(carriage: LinkWriter, stream: number, topic: Uint8Array): void {
  const at = carriage.begin(numberedKinds.open, shortNumberBytes + topic.length);
  writeShortNumber(carriage.memory, at, stream);
  writeBytes(carriage.memory, at + shortNumberBytes, topic);
}

/** Reads what lies in `bytes` from `from` to `to`, or says what is wrong with it. */
export function decodeOpen(bytes: Uint8Array, from: number, to: number): Opening | string {
  if (to - from < shortNumberBytes) return "an open is cut short";
  const topicAt = from + shortNumberBytes;
  if (to - topicAt > longestTopic) return "the topic of a stream is too long";
  const stream = readShortNumber(bytes, from);
  if (stream === 0) return "a stream has number 0";
  const topic = decodeTopic(bytes, topicAt, to);
  return topic === undefined ? "the topic of a stream is no UTF-8" : { stream, topic };
}

/** How many bytes of a stream one frame may have: it is a frame like all others. At least one, however tight the limits. */
export function maxStreamDataBytes({ streamFrameBytes, messageBytes }: StreamDataLimits): number {
  return Math.max(1, Math.min(streamFrameBytes, messageBytes - streamDataHeaderBytes));
}

/** Writes some bytes of a stream, at least one. From `referencedBytes` on they go by reference. */
export function encodeStreamData(carriage: LinkWriter, stream: number, bytes: Uint8Array): void {
  const isTail = isReferenced(bytes);
  const at = isTail
    ? carriage.begin(numberedKinds.data, shortNumberBytes, bytes)
    : carriage.begin(numberedKinds.data, shortNumberBytes + bytes.length);
  writeShortNumber(carriage.memory, at, stream);
  if (!isTail) writeBytes(carriage.memory, at + shortNumberBytes, bytes);
}

/** Reads what lies in `bytes` from `from` to `to`, or says what is wrong with it. */
export function decodeStreamData(bytes: Uint8Array, from: number, to: number): StreamData | string {
  // Nothing may come for nothing: empty portions would cost their sender no credit.
  if (to - from <= shortNumberBytes) return "a portion of a stream has no bytes";
  return { stream: readShortNumber(bytes, from), bytes: viewOf(bytes, from + shortNumberBytes, to) };
}

export function encodeEnd(carriage: LinkWriter, stream: number): void {
  const at = carriage.begin(numberedKinds.end, shortNumberBytes);
  writeShortNumber(carriage.memory, at, stream);
}

/** Reads the number of the stream, or says what is wrong. */
export function decodeEnd(bytes: Uint8Array, from: number, to: number): number | string {
  return to - from === shortNumberBytes ? readShortNumber(bytes, from) : "an end holds no number";
}

export function encodeAbort(carriage: LinkWriter, reason: FailureReason): void {
  encodeReason(carriage, numberedKinds.abort, reason);
}

export const decodeAbort = decodeReason;

export function encodeCredit(carriage: LinkWriter, flow: number, limit: number): void {
  const at = carriage.begin(numberedKinds.credit, shortNumberBytes + numberBytes);
  writeShortNumber(carriage.memory, at, flow);
  writeNumber(carriage.memory, at + shortNumberBytes, limit);
}

/** Reads what lies in `bytes` from `from` to `to`, or says what is wrong with it. */
export function decodeCredit(bytes: Uint8Array, from: number, to: number): Credit | string {
  if (to - from !== shortNumberBytes + numberBytes) return "a credit does not hold a flow and a limit";
  return { flow: readShortNumber(bytes, from), limit: readNumber(bytes, from + shortNumberBytes) };
}
