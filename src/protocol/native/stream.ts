import type { Limits } from "../../core/limits.js";
import type { LinkWriter } from "../../core/link-handler.js";
import {
  numberBytes,
  numberedKinds,
  readUint32,
  readUint48,
  streamDataHeaderBytes,
  uint32Bytes,
  writeUint32,
  writeUint48,
} from "./numbered-frames.js";
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
export interface OpenFrame {
  readonly stream: number;
  readonly topic: string;
}

export interface DataFrame {
  readonly stream: number;
  /** Contiguous, and may be kept. */
  readonly bytes: Uint8Array;
}

type StreamDataLimits = Pick<Limits, "streamFrameBytes" | "messageBytes">;

export interface Credit {
  /** 0 for messages, otherwise the number of a stream. */
  readonly flow: number;
  /** So many bytes may be sent in all. */
  readonly limit: number;
}

/** The flow of messages. */
export const messageFlow = 0;

/** The highest number of a stream. */
export const highestStream = 2 ** 32 - 1;

export function encodeOpen(link: LinkWriter, stream: number, topic: Uint8Array): void {
  const at = link.begin(numberedKinds.open, uint32Bytes + topic.length);
  writeUint32(link.memory, at, stream);
  writeBytes(link.memory, at + uint32Bytes, topic);
}

/** Reads the content in `bytes` from `from` to `to`, or returns what is wrong with it. */
export function decodeOpen(bytes: Uint8Array, from: number, to: number): OpenFrame | string {
  if (to - from < uint32Bytes) return "an open is cut short";
  const topicAt = from + uint32Bytes;
  if (to - topicAt > longestTopic) return "the topic of a stream is too long";
  const stream = readUint32(bytes, from);
  if (stream === 0) return "a stream has number 0";
  const topic = decodeTopic(bytes, topicAt, to);
  return topic === undefined ? "the topic of a stream is no UTF-8" : { stream, topic };
}

/** How many bytes of a stream one frame may have: at least one, however tight the limits. */
export function maxStreamDataBytes({ streamFrameBytes, messageBytes }: StreamDataLimits): number {
  return Math.max(1, Math.min(streamFrameBytes, messageBytes - streamDataHeaderBytes));
}

/** Writes bytes of a stream, at least one. From `referencedBytes` on they go by reference. */
export function encodeStreamData(link: LinkWriter, stream: number, bytes: Uint8Array): void {
  const isTail = isReferenced(bytes);
  const at = isTail
    ? link.begin(numberedKinds.data, uint32Bytes, bytes)
    : link.begin(numberedKinds.data, uint32Bytes + bytes.length);
  writeUint32(link.memory, at, stream);
  if (!isTail) writeBytes(link.memory, at + uint32Bytes, bytes);
}

/** Reads the content in `bytes` from `from` to `to`, or returns what is wrong with it. */
export function decodeStreamData(bytes: Uint8Array, from: number, to: number): DataFrame | string {
  // An empty frame would cost its sender no credit.
  if (to - from <= uint32Bytes) return "a data frame has no bytes";
  return { stream: readUint32(bytes, from), bytes: viewOf(bytes, from + uint32Bytes, to) };
}

export function encodeEnd(link: LinkWriter, stream: number): void {
  const at = link.begin(numberedKinds.end, uint32Bytes);
  writeUint32(link.memory, at, stream);
}

/** Reads the number of the stream, or returns what is wrong. */
export function decodeEnd(bytes: Uint8Array, from: number, to: number): number | string {
  return to - from === uint32Bytes ? readUint32(bytes, from) : "an end holds no number";
}

export function encodeAbort(link: LinkWriter, reason: FailureReason): void {
  encodeReason(link, numberedKinds.abort, reason);
}

export const decodeAbort = decodeReason;

export function encodeCredit(link: LinkWriter, flow: number, limit: number): void {
  const at = link.begin(numberedKinds.credit, uint32Bytes + numberBytes);
  writeUint32(link.memory, at, flow);
  writeUint48(link.memory, at + uint32Bytes, limit);
}

/** Reads the content in `bytes` from `from` to `to`, or returns what is wrong with it. */
export function decodeCredit(bytes: Uint8Array, from: number, to: number): Credit | string {
  if (to - from !== uint32Bytes + numberBytes) return "a credit does not hold a flow and a limit";
  return { flow: readUint32(bytes, from), limit: readUint48(bytes, from + uint32Bytes) };
}
