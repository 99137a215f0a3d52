import type { LinkWriter } from "../../core/link-handler.js";
import { numberBytes, numberedKinds } from "./numbered.js";
import { decodePayloadKind, isReferenced, type PayloadKind, viewOf, writeBytes } from "./payload.js";
import { decodeTopic } from "./topics.js";

/**
 * Application messages. Behind the frame's number: form (1), length of the topic (1), topic in UTF-8, payload.
 */
export interface MessageFrame {
  readonly topic: string;
  readonly form: PayloadKind;
  /** Contiguous, and the listener's to keep. */
  readonly payload: Uint8Array;
}

/** In front of the topic. */
const headBytes = 2;

/** What the body of a message's frame holds besides the topic and the payload, in bytes. */
export const messageFrameBytes = numberBytes + headBytes;

/** What a message counts against the credit beyond its topic and its payload: about what keeping one costs. */
export const messageOverheadBytes = 32;

/** What a message in a frame's content of so many bytes counts against the credit. */
export function messageWeightOf(contentBytes: number): number {
  return contentBytes - headBytes + messageOverheadBytes;
}

/** Writes a message. A payload from `referencedBytes` on goes by reference. */
export function encodeMessage(carriage: LinkWriter, topic: Uint8Array, form: PayloadKind, payload: Uint8Array): void {
  const topicBytes = topic.length;
  const isTail = isReferenced(payload);
  const at = isTail
    ? carriage.begin(numberedKinds.message, headBytes + topicBytes, payload)
    : carriage.begin(numberedKinds.message, headBytes + topicBytes + payload.length);
  const { memory } = carriage;
  memory[at] = form;
  memory[at + 1] = topicBytes;
  writeBytes(memory, at + headBytes, topic);
  if (!isTail) writeBytes(memory, at + headBytes + topicBytes, payload);
}

/** Reads what lies in `bytes` from `from` to `to`, or says what is wrong with it. */
export function decodeMessage(bytes: Uint8Array, from: number, to: number): MessageFrame | string {
  if (to - from < headBytes) return "a message is cut short";
  const topicAt = from + headBytes;
  const payloadAt = topicAt + (bytes[from + 1] ?? 0);
  if (payloadAt > to) return "the topic of a message is cut short";
  const form = decodePayloadKind(bytes[from], to - payloadAt);
  if (form === undefined) return "a message has no form that is known, or not the payload of its form";
  const topic = decodeTopic(bytes, topicAt, payloadAt);
  if (topic === undefined) return "the topic of a message is no UTF-8";
  return { topic, form, payload: viewOf(bytes, payloadAt, to) };
}
