import { decodeMessage, encodeMessage, messageOverheadBytes, messageWeightOf } from "../protocol/native/message.js";
import { encodeCredit, messageFlow } from "../protocol/native/stream.js";
import type { Conversation } from "./conversation.js";
import { ReceivingFlow, SendingFlow } from "./flow.js";
import type { Ports } from "./ports.js";
import type { Form, Incoming, Sent } from "./vocabulary.js";

/** A message that the peer has granted no credit for yet. */
interface Waiting {
  readonly topic: Uint8Array;
  readonly form: Form;
  readonly payload: Uint8Array;
}

/** Messages that go up together, because they have come together. */
class Batch {
  readonly type = "messages";
  readonly from: Conversation;
  readonly messages: Incoming[];

  constructor(from: Conversation, first: Incoming) {
    this.from = from;
    this.messages = [first];
  }
}

/**
 * The messages between this node and one peer, both ways. What the peer's application has not taken is bounded by its
 * credit; what goes beyond that waits here, in order, and is bounded by us.
 */
export class Messages {
  readonly #ports: Ports;
  /** What a message takes of the credit at most. */
  readonly #mostWeight: number;
  readonly #sending: SendingFlow;
  readonly #receiving: ReceivingFlow;
  /** In order; those before `#next` have gone. */
  #waiting: (Waiting | undefined)[] = [];
  #next = 0;
  #waitingBytes = 0;
  /** Somebody has been told to wait. */
  #owesDrained = false;
  /** Something waits, and no credit has come since that took most of it. */
  #isBehind = false;

  constructor(ports: Ports) {
    this.#ports = ports;
    this.#mostWeight = Math.floor((ports.limits.queueSoftBytes * 3) / 4);
    this.#sending = new SendingFlow(ports.limits.queueSoftBytes);
    this.#receiving = new ReceivingFlow(ports.limits.queueSoftBytes);
  }

  /** Bytes of messages for which there is no credit yet, and what keeping them costs. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** How many messages wait for credit. */
  get waiting(): number {
    return this.#waiting.length - this.#next;
  }

  send(topic: Uint8Array, form: Form, payload: Uint8Array): Sent {
    const { carriage } = this.#ports;
    const bytes = messageOverheadBytes + topic.length + payload.length;
    if (!carriage.isOpen) return "full";
    if (!this.hasSpaceFor(bytes)) {
      this.#owesDrained = true;
      return "full";
    }
    const weight = this.#weigh(bytes);
    if (this.#waitingBytes === 0 && weight <= this.#sending.room) {
      this.#sending.spend(weight);
      encodeMessage(carriage, topic, form, payload);
      return "taken";
    }
    // It may wait for long, and is counted by its length: so it is copied, also if it is long.
    this.#waiting.push({ topic, form, payload: new Uint8Array(payload) });
    this.#waitingBytes += bytes;
    this.#owesDrained = true;
    this.#isBehind = true;
    return "slow";
  }

  /** False if so many bytes more would be over the limit on what may be kept for the peer. */
  hasSpaceFor(bytes: number): boolean {
    const { carriage, limits } = this.#ports;
    return carriage.unacknowledgedBytes + this.#waitingBytes + bytes <= limits.queueHardBytes;
  }

  take(bytes: Uint8Array, from: number, to: number): string | undefined {
    const message = decodeMessage(bytes, from, to);
    if (typeof message === "string") return message;
    const weight = this.#weigh(messageWeightOf(to - from));
    if (!this.#receiving.take(weight)) return "a message is beyond the credit";
    const { topic, form, payload } = message;
    const incoming: Incoming = { topic, form, payload, bytes: weight };
    const { conversation, outputs } = this.#ports;
    const { newest } = outputs;
    if (newest instanceof Batch && newest.from === conversation) newest.messages.push(incoming);
    else outputs.push(new Batch(conversation, incoming));
    return undefined;
  }

  consumed(bytes: number): void {
    const { carriage, limits } = this.#ports;
    const limit = this.#receiving.consume(bytes, limits.queueSoftBytes);
    if (limit !== undefined) encodeCredit(carriage, messageFlow, limit);
  }

  /** The peer grants more. */
  takeCredit(limit: number): string | undefined {
    if (!this.#sending.raise(limit)) return `the credit for messages goes back to ${limit}`;
    this.#flush();
    if (this.#waitingBytes <= this.#ports.limits.queueSoftBytes / 2) this.#isBehind = false;
    this.tellDrained();
    return undefined;
  }

  /** Says that it is time to go on, if somebody waits for that and it is. */
  tellDrained(): void {
    if (!this.#owesDrained || this.#isBehind) return;
    const { carriage, conversation, limits, outputs } = this.#ports;
    if (carriage.unacknowledgedBytes > limits.queueHardBytes - limits.queueSoftBytes) return;
    this.#owesDrained = false;
    outputs.push({ type: "drained", from: conversation });
  }

  /** The link has ended: what waits is lost. */
  end(): void {
    this.#waiting = [];
    this.#next = 0;
    this.#waitingBytes = 0;
    this.#owesDrained = false;
  }

  /** Sends what the credit allows of what waits. */
  #flush(): void {
    const { carriage } = this.#ports;
    for (;;) {
      const first = this.#waiting[this.#next];
      if (first === undefined) break;
      const bytes = messageOverheadBytes + first.topic.length + first.payload.length;
      const weight = this.#weigh(bytes);
      if (weight > this.#sending.room) break;
      this.#sending.spend(weight);
      this.#waitingBytes -= bytes;
      this.#waiting[this.#next] = undefined;
      this.#next += 1;
      encodeMessage(carriage, first.topic, first.form, first.payload);
    }
    // Cut seldom, so that a long queue is not moved for each message.
    if (this.#next === this.#waiting.length || (this.#next > 64 && this.#next * 2 >= this.#waiting.length)) {
      this.#waiting = this.#waiting.slice(this.#next);
      this.#next = 0;
    }
  }

  /**
   * What a message takes of the credit: its bytes, but never more than three quarters of the window, which is what is
   * always granted in the end. With the usual limits no message has so many.
   */
  #weigh(bytes: number): number {
    return bytes < this.#mostWeight ? bytes : this.#mostWeight;
  }
}
