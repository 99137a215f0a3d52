import type { LinkWriter } from "../../core/link-handler.js";
import { numberBytes, numberedKinds, readUint32, writeUint32 } from "./numbered-frames.js";
import { decodePayloadForm, isReferenced, type PayloadForm, viewOf, writeBytes } from "./payload.js";
import { decodeReason, encodeReason, type FailureReason } from "./reason.js";
import { decodeTopic } from "./topics.js";

/**
 * Requests and their answers. Each end numbers its requests from 1. Behind the frame's number:
 *
 * request: number (4), form (1), length of the topic (1), topic in UTF-8, payload. reply: number (4), form (1), payload.
 * failure: see `reason.ts`. cancel: number (4).
 */
export interface RequestFrame {
  readonly request: number;
  readonly topic: string;
  readonly form: PayloadForm;
  readonly payload: Uint8Array;
}

export interface ReplyFrame {
  readonly request: number;
  readonly form: PayloadForm;
  readonly payload: Uint8Array;
}

/** The highest number of a request: one a millisecond for seven weeks. */
export const highestRequest = 2 ** 32 - 1;

const requestHeadBytes = 6;
const replyHeadBytes = 5;
const cancelBytes = 4;

/** The body of a request frame without topic and payload, in bytes. */
export const requestFrameBytes = numberBytes + requestHeadBytes;

/** The body of a reply frame without the payload, in bytes. */
export const replyFrameBytes = numberBytes + replyHeadBytes;

/** Writes a request. A payload from `referencedBytes` on goes by reference. */
export function encodeRequest(
  link: LinkWriter,
  request: number,
  topic: Uint8Array,
  form: PayloadForm,
  payload: Uint8Array,
): void {
  const topicBytes = topic.length;
  const isTail = isReferenced(payload);
  const at = isTail
    ? link.begin(numberedKinds.request, requestHeadBytes + topicBytes, payload)
    : link.begin(numberedKinds.request, requestHeadBytes + topicBytes + payload.length);
  const { memory } = link;
  writeUint32(memory, at, request);
  memory[at + 4] = form;
  memory[at + 5] = topicBytes;
  writeBytes(memory, at + requestHeadBytes, topic);
  if (!isTail) writeBytes(memory, at + requestHeadBytes + topicBytes, payload);
}

/** Reads the content in `bytes` from `from` to `to`, or returns what is wrong with it. */
export function decodeRequest(bytes: Uint8Array, from: number, to: number): RequestFrame | string {
  if (to - from < requestHeadBytes) return "a request is cut short";
  const topicAt = from + requestHeadBytes;
  const payloadAt = topicAt + (bytes[from + 5] ?? 0);
  if (payloadAt > to) return "the topic of a request is cut short";
  const request = readUint32(bytes, from);
  if (request === 0) return "a request has number 0";
  const form = decodePayloadForm(bytes[from + 4], to - payloadAt);
  if (form === undefined) return "a request has no form that is known, or not the payload of its form";
  const topic = decodeTopic(bytes, topicAt, payloadAt);
  if (topic === undefined) return "the topic of a request is no UTF-8";
  return { request, topic, form, payload: viewOf(bytes, payloadAt, to) };
}

/** Writes a reply. A payload from `referencedBytes` on goes by reference. */
export function encodeReply(link: LinkWriter, request: number, form: PayloadForm, payload: Uint8Array): void {
  const isTail = isReferenced(payload);
  const at = isTail
    ? link.begin(numberedKinds.reply, replyHeadBytes, payload)
    : link.begin(numberedKinds.reply, replyHeadBytes + payload.length);
  const { memory } = link;
  writeUint32(memory, at, request);
  memory[at + 4] = form;
  if (!isTail) writeBytes(memory, at + replyHeadBytes, payload);
}

/** Reads the content in `bytes` from `from` to `to`, or returns what is wrong with it. */
export function decodeReply(bytes: Uint8Array, from: number, to: number): ReplyFrame | string {
  if (to - from < replyHeadBytes) return "a reply is cut short";
  const payloadAt = from + replyHeadBytes;
  const form = decodePayloadForm(bytes[from + 4], to - payloadAt);
  if (form === undefined) return "a reply has no form that is known, or not the payload of its form";
  return { request: readUint32(bytes, from), form, payload: viewOf(bytes, payloadAt, to) };
}

export function encodeFailure(link: LinkWriter, reason: FailureReason): void {
  encodeReason(link, numberedKinds.failure, reason);
}

export const decodeFailure = decodeReason;

export function encodeCancel(link: LinkWriter, request: number): void {
  const at = link.begin(numberedKinds.cancel, cancelBytes);
  writeUint32(link.memory, at, request);
}

/** Reads the number of the request, or says what is wrong. */
export function decodeCancel(bytes: Uint8Array, from: number, to: number): number | string {
  return to - from === cancelBytes ? readUint32(bytes, from) : "a cancel holds no number";
}
