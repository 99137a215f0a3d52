import {
  type LinkHandler,
  type LinkHandlerFactory,
  type LinkWriter,
  retryLater,
} from "../../../src/core/link-handler.js";
import type { Address } from "../../../src/protocol/address.js";
import { encodeFrame } from "../../../src/protocol/native/frames.js";
import { numberBytes, numberedKinds, writeUint48 } from "../../../src/protocol/native/numbered-frames.js";

const topic = "t";
/** Form, length of the topic, topic. */
const headBytes = 3;

/** A message without its number, as it lies in a frame. */
export interface Text {
  readonly topic: string;
  readonly text: string;
}

/** A message that a handler has taken. */
export interface Taken extends Text {
  readonly peer: string;
}

/** The whole frame of a message, for tests that play a peer. */
export function messageFrame(number: number, text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const body = new Uint8Array(numberBytes + headBytes + payload.length);
  writeUint48(body, 0, number);
  body.set([0, 1, topic.charCodeAt(0)], numberBytes);
  body.set(payload, numberBytes + headBytes);
  return encodeFrame(numberedKinds.message, body);
}

/** Begins a message whose payload goes as the rest of the frame. */
export function beginPayload(on: Pick<LinkWriter, "memory" | "begin">, payload: Uint8Array): void {
  const at = on.begin(numberedKinds.message, headBytes, payload);
  on.memory.set([0, 1, topic.charCodeAt(0)], at);
}

/** Begins a message. `isLong`: its payload goes as the rest of the frame. */
export function beginText(on: Pick<LinkWriter, "memory" | "begin">, text: string, isLong = false): void {
  const payload = new TextEncoder().encode(text);
  const at = isLong
    ? on.begin(numberedKinds.message, headBytes, payload)
    : on.begin(numberedKinds.message, headBytes + payload.length);
  on.memory.set([0, 1, topic.charCodeAt(0)], at);
  if (!isLong) on.memory.set(payload, at + headBytes);
}

/** Reads what is behind the number; undefined if it is no message. */
export function textOf(content: Uint8Array): Text | undefined {
  const payloadAt = 2 + (content[1] ?? 0);
  if (content.length < 2 || content.length < payloadAt) return undefined;
  const decoder = new TextDecoder();
  return { topic: decoder.decode(content.subarray(2, payloadAt)), text: decoder.decode(content.subarray(payloadAt)) };
}

/** Rides on one link: begins a frame for each message, and keeps what comes. */
export class RecordingHandler implements LinkHandler {
  readonly peer: string;
  readonly isOwner: boolean;
  readonly link: LinkWriter;
  /** What the test says that it has not begun yet. */
  waiting = 0;
  waitingBytes = 0;
  /** What the test says of what waits besides. */
  isHeldUp = false;
  /** It has no room for messages. */
  isFull = false;
  /** How often it was told that the link is up for the first time: once at most. */
  ups = 0;
  /** How often it was told that something has moved. */
  moves = 0;
  /** What the test does then, and when something has come. */
  onMoved: () => void = () => {};
  onTaken: (text: string) => void = () => {};
  /** Every reason for which it has ended: one at most. */
  readonly endings: string[] = [];
  /** What has come of frames that come in parts, and how much of them was still to come. */
  readonly parts: (readonly [text: string, rest: number])[] = [];
  /** What it was told after its end: nothing at all. */
  late = 0;
  readonly #taken: Taken[];

  constructor(peer: string, isOwner: boolean, link: LinkWriter, taken: Taken[]) {
    this.peer = peer;
    this.isOwner = isOwner;
    this.link = link;
    this.#taken = taken;
  }

  get isDone(): boolean {
    return this.waiting === 0 && !this.isHeldUp;
  }

  /** Begins a message, unless the link takes none any more. `isLong`: its payload goes as the rest of the frame. */
  send(text: string, isLong = false): void {
    if (this.link.isOpen) this.begin(text, isLong);
  }

  /** Begins what it had taken before, also while the link takes nothing any more. */
  begin(text: string, isLong = false): void {
    beginText(this.link, text, isLong);
  }

  take(
    kind: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
  ): string | typeof retryLater | undefined {
    if (kind === numberedKinds.data) return this.takeMore(bytes, from, to, rest);
    this.late += this.endings.length;
    const text = textOf(bytes.subarray(from, to));
    if (kind !== numberedKinds.message || text === undefined) return `frame of kind ${kind} is no message`;
    if (this.isFull) return retryLater;
    this.#taken.push({ peer: this.peer, ...text });
    this.onTaken(text.text);
    return undefined;
  }

  takeMore(bytes: Uint8Array, from: number, to: number, rest: number): undefined {
    this.late += this.endings.length;
    this.parts.push([new TextDecoder().decode(bytes.subarray(from, to)), rest]);
  }

  up(): void {
    this.ups += 1;
  }

  moved(): void {
    this.late += this.endings.length;
    this.moves += 1;
    this.onMoved();
  }

  ended(reason: string): void {
    this.endings.push(reason);
  }
}

/** Rides on all links of one member. */
export class RecordingHandlers implements LinkHandlerFactory {
  /** All that has been taken, in order. */
  readonly taken: Taken[] = [];
  /** Everybody who has ever boarded, in order. */
  readonly handlers: RecordingHandler[] = [];

  attach(peer: string, isOwner: boolean, link: LinkWriter): LinkHandler {
    const handler = new RecordingHandler(peer, isOwner, link, this.taken);
    this.handlers.push(handler);
    return handler;
  }

  /** Who handles the newest link with this peer; undefined if there was never one. */
  at(peer: Address): RecordingHandler | undefined {
    return this.handlers.findLast((handler) => handler.peer === peer);
  }
}
