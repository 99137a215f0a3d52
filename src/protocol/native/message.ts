import type { LinkWriter } from "../../core/link-handler.js";
import { numberBytes, numberedKinds } from "./numbered-frames.js";
import { decodePayloadForm, isReferenced, type PayloadForm, viewOf, writeBytes } from "./payload.js";
import { decodeTopic } from "./topics.js";

/**
 * Application messages. Behind the frame's number: form (1), length of the topic (1), topic in UTF-8, payload.
 */
export interface MessageFrame {
  readonly topic: string;
  readonly form: PayloadForm;
  /** Contiguous, and may be kept. */
  readonly payload: Uint8Array;
}

/** In front of the topic. */
const headBytes = 2;

/** The body of a message frame without topic and payload, in bytes. */
export const messageFrameBytes = numberBytes + headBytes;

/** What a message counts beyond its topic and payload: about what keeping one costs. */
export const messageOverheadBytes = 32;

/** What a message frame with so many bytes of content counts against the credit. */
export function messageCreditBytes(contentBytes: number): number {
  return contentBytes - headBytes + messageOverheadBytes;
}

/** Writes a message. A payload from `referencedBytes` on goes by reference. */
export function encodeMessage(link: LinkWriter, topic: Uint8Array, form: PayloadForm, payload: Uint8Array): void {
  const topicBytes = topic.length;
  const isTail = isReferenced(payload);
  const at = isTail
    ? link.begin(numberedKinds.message, headBytes + topicBytes, payload)
    : link.begin(numberedKinds.message, headBytes + topicBytes + payload.length);
  const { memory } = link;
  memory[at] = form;
  memory[at + 1] = topicBytes;
  writeBytes(memory, at + headBytes, topic);
  if (!isTail) writeBytes(memory, at + headBytes + topicBytes, payload);
}

/** Reads the content in `bytes` from `from` to `to`, or returns what is wrong with it. */
export function decodeMessage(bytes: Uint8Array, from: number, to: number): MessageFrame | string {
  if (to - from < headBytes) return "a message is cut short";
  const topicAt = from + headBytes;
  const payloadAt = topicAt + (bytes[from + 1] ?? 0);
  if (payloadAt > to) return "the topic of a message is cut short";
  const form = decodePayloadForm(bytes[from], to - payloadAt);
  if (form === undefined) return "a message has no form that is known, or not the payload of its form";
  const topic = decodeTopic(bytes, topicAt, payloadAt);
  if (topic === undefined) return "the topic of a message is no UTF-8";
  return { topic, form, payload: viewOf(bytes, payloadAt, to) };
}
