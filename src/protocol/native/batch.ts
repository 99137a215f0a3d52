import type { LinkWriter } from "../../core/link-handler.js";
import { type MessageFrame, messageOverheadBytes } from "./message.js";
import { numberBytes, numberedKinds } from "./numbered-frames.js";
import {
  decodePayloadForm,
  isReferenced,
  noBytes,
  type PayloadForm,
  payloadForms,
  viewOf,
  writeBytes,
} from "./payload.js";
import { decodeTopic } from "./topics.js";

/**
 * Several short messages in one numbered frame, for peers that take it. Behind the frame's number, for each: a head (1), the
 * length of the topic (1) and the topic in UTF-8 unless it is that of the message before, the length of the payload (2),
 * payload. The lowest two bits of the head are the form; `sameTopic` is the next one.
 *
 * So a message of a turn costs three bytes beside its payload, and one walk over its frame. A frame depends on nothing
 * before it: it may go to many peers from one buffer.
 */
const sameTopic = 4;
const formBits = 3;
const headBytes = 1;
const topicLengthBytes = 1;
const payloadLengthBytes = 2;
/** In front of a payload whose topic is that of the message before. */
const shortHeadBytes = headBytes + payloadLengthBytes;
/** In front of any other payload, without the topic. */
const longHeadBytes = shortHeadBytes + topicLengthBytes;

/** True for a message that may go in a batch whose body has at most `most` bytes. Long payloads go by reference, alone. */
export function isBatchable(topic: Uint8Array, payload: Uint8Array, most: number): boolean {
  return !isReferenced(payload) && numberBytes + longHeadBytes + topic.length + payload.length <= most;
}

/** What a message takes in a batch. */
export function batchedBytes(topic: Uint8Array, payload: Uint8Array, isSameTopic: boolean): number {
  return payload.length + (isSameTopic ? shortHeadBytes : longHeadBytes + topic.length);
}

/** Writes a message of a batch. */
export function writeBatched(
  memory: Uint8Array,
  at: number,
  topic: Uint8Array,
  isSameTopic: boolean,
  form: PayloadForm,
  payload: Uint8Array,
): void {
  let to = at + headBytes;
  if (isSameTopic) memory[at] = form | sameTopic;
  else {
    memory[at] = form;
    memory[to] = topic.length;
    writeBytes(memory, to + topicLengthBytes, topic);
    to += topicLengthBytes + topic.length;
  }
  memory[to] = payload.length >>> 8;
  memory[to + 1] = payload.length;
  writeBytes(memory, to + payloadLengthBytes, payload);
}

/**
 * Writes a message into the batch that was begun last, if nothing else was begun since, or into a new one. `last`: the topic
 * of the message that this link's batches got last, compared by identity.
 */
export function encodeBatched(
  link: LinkWriter,
  topic: Uint8Array,
  form: PayloadForm,
  payload: Uint8Array,
  last: Uint8Array | undefined,
  most: number,
): void {
  const isSame = topic === last;
  let at = link.extend(numberedKinds.batch, batchedBytes(topic, payload, isSame), most);
  const isNew = at === undefined;
  at ??= link.begin(numberedKinds.batch, batchedBytes(topic, payload, false));
  writeBatched(link.memory, at, topic, isSame && !isNew, form, payload);
}

/**
 * The messages of a batch that has come and is whole. They are read one after the other, and each is there until the next one
 * is read: so there is no object for a message but the view of its payload, which no other message outlives.
 */
export class Batch implements MessageFrame {
  /** The message that was read last. */
  topic = "";
  form: PayloadForm = payloadForms.nothing;
  payload: Uint8Array = noBytes;
  /** What it counts against the credit. */
  creditBytes = 0;
  /** What all of them count. */
  readonly totalCreditBytes: number;
  /** How many there are. */
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #to: number;
  readonly #heaviest: number;
  #at: number;
  #topicBytes = 0;

  /** Made by `decodeBatch`. */
  constructor(bytes: Uint8Array, from: number, to: number, heaviest: number, size: number, totalCreditBytes: number) {
    this.#bytes = bytes;
    this.#at = from;
    this.#to = to;
    this.#heaviest = heaviest;
    this.size = size;
    this.totalCreditBytes = totalCreditBytes;
  }

  /** Reads the next message. False if there is none. */
  next(): boolean {
    const bytes = this.#bytes;
    let at = this.#at;
    if (at === this.#to) return false;
    const head = bytes[at] ?? 0;
    at += headBytes;
    if ((head & sameTopic) === 0) {
      this.#topicBytes = bytes[at] ?? 0;
      at += topicLengthBytes + this.#topicBytes;
      this.topic = decodeTopic(bytes, at - this.#topicBytes, at) ?? "";
    }
    const payloadAt = at + payloadLengthBytes;
    at = payloadAt + readUint16(bytes, at);
    this.form = (head & formBits) as PayloadForm;
    this.payload = viewOf(bytes, payloadAt, at);
    this.creditBytes = creditBytesOf(this.#topicBytes + at - payloadAt, this.#heaviest);
    this.#at = at;
    return true;
  }
}

/**
 * Looks through the content in `bytes` from `from` to `to`, and returns the messages, or what is wrong with it. `heaviest`: no
 * message counts more against the credit.
 */
export function decodeBatch(bytes: Uint8Array, from: number, to: number, heaviest: number): Batch | string {
  let topicBytes = -1;
  let size = 0;
  let sum = 0;
  let at = from;
  do {
    const head = bytes[at] ?? 0;
    at += headBytes;
    if ((head & sameTopic) === 0) {
      topicBytes = bytes[at] ?? 0;
      at += topicLengthBytes + topicBytes;
      if (at <= to && decodeTopic(bytes, at - topicBytes, at) === undefined)
        return "the topic of a message is no UTF-8";
    }
    const payloadBytes = readUint16(bytes, at);
    at += payloadLengthBytes + payloadBytes;
    if (at > to || topicBytes < 0) return "a batch is cut short, or its first message has no topic";
    if (!isForm(head, payloadBytes)) return "a message has no form that is known, or not the payload of its form";
    sum += creditBytesOf(topicBytes + payloadBytes, heaviest);
    size += 1;
  } while (at < to);
  return new Batch(bytes, from, to, heaviest, size, sum);
}

/** How many messages there are in the content of a batch that this program has written. */
export function countBatched(memory: Uint8Array, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; count += 1) {
    const isSame = ((memory[at] ?? 0) & sameTopic) !== 0;
    at += headBytes + (isSame ? 0 : topicLengthBytes + (memory[at + headBytes] ?? 0));
    at += payloadLengthBytes + readUint16(memory, at);
  }
  return count;
}

function isForm(head: number, payloadBytes: number): boolean {
  return head <= (sameTopic | formBits) && decodePayloadForm(head & formBits, payloadBytes) !== undefined;
}

function creditBytesOf(contentBytes: number, heaviest: number): number {
  const bytes = contentBytes + messageOverheadBytes;
  return bytes < heaviest ? bytes : heaviest;
}

function readUint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
