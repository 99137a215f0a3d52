import { Batch } from "../protocol/native/batch.js";
import type { MessageFrame } from "../protocol/native/message.js";
import { noBytes, type PayloadForm, payloadForms } from "../protocol/native/payload.js";

/** A message of the peer. */
export interface ReceivedMessage extends MessageFrame {
  /** To be given to `MessagingChannel.consumed` once the application has consumed the message. */
  readonly bytes: number;
}

/**
 * Messages that came one behind the other: one read of a socket may hold thousands, which go up together. They are read once,
 * one after the other, and each is there until the next one is read: memory for all of them at once would have to be cleaned
 * up for all of them at once.
 */
export class MessageArrival<Channel> implements ReceivedMessage {
  readonly type = "messages";
  readonly from: Channel;
  // The message that was read last.
  topic = "";
  form: PayloadForm = payloadForms.nothing;
  payload: Uint8Array = noBytes;
  bytes = 0;
  readonly #frames: (MessageFrame | Batch)[];
  /** What each of them counts. */
  readonly #creditBytes: number[];
  #at = 0;

  constructor(from: Channel, first: MessageFrame | Batch, creditBytes: number) {
    this.from = from;
    this.#frames = [first];
    this.#creditBytes = [creditBytes];
  }

  add(frame: MessageFrame | Batch, creditBytes: number): void {
    this.#frames.push(frame);
    this.#creditBytes.push(creditBytes);
  }

  /** Reads the next message. False if there is none. */
  next(): boolean {
    for (let frame = this.#frames[this.#at]; frame !== undefined; frame = this.#frames[this.#at]) {
      if (frame instanceof Batch) {
        if (!frame.next()) {
          this.#at += 1;
          continue;
        }
        this.bytes = frame.creditBytes;
      } else {
        this.bytes = this.#creditBytes[this.#at] ?? 0;
        this.#at += 1;
      }
      this.topic = frame.topic;
      this.form = frame.form;
      this.payload = frame.payload;
      return true;
    }
    return false;
  }

  /** Reads the rest of them, each to be kept. */
  *[Symbol.iterator](): Generator<ReceivedMessage> {
    while (this.next()) {
      const { topic, form, payload, bytes } = this;
      yield { topic, form, payload, bytes };
    }
  }
}
