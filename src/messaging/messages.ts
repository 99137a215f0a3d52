import { retryLater } from "../core/link-handler.js";
import { Queue } from "../core/queue.js";
import { decodeMessage, encodeMessage, messageCreditBytes, messageOverheadBytes } from "../protocol/native/message.js";
import { encodeCredit, messageFlow } from "../protocol/native/stream.js";
import { ReceiveWindow, SendWindow } from "./flow-control.js";
import type { ChannelContext, PayloadForm, PeerChannel, ReceivedMessage, SendResult } from "./types.js";

/** What a message that the program has not taken, or that has no credit, takes beside what it counts against the credit. */
const heldMessageBytes = 96;

/** A message that the peer has granted no credit for yet. */
interface QueuedMessage {
  readonly topic: Uint8Array;
  readonly form: PayloadForm;
  readonly payload: Uint8Array;
  /** Its length, as it counts against the bounds. */
  readonly bytes: number;
}

/** Messages that go up together, because they have come together. */
class MessageBatch {
  readonly type = "messages";
  readonly from: PeerChannel;
  readonly messages: ReceivedMessage[];

  constructor(from: PeerChannel, first: ReceivedMessage) {
    this.from = from;
    this.messages = [first];
  }
}

/**
 * The messages between this node and one peer, both ways. What the peer's application has not taken is bounded by its
 * credit; what goes beyond that waits here, in order, and is bounded by us.
 */
export class ChannelMessages {
  readonly #channel: ChannelContext;
  /** What a message takes of the credit at most. */
  readonly #mostWeight: number;
  /** What is granted at least: three quarters of it are the heaviest message. */
  readonly #leastWindow: number;
  readonly #sending: SendWindow;
  readonly #receiving: ReceiveWindow;
  readonly #waiting = new Queue<QueuedMessage>();
  #waitingBytes = 0;
  /** Messages that the application has not consumed. */
  #unread = 0;
  #hasEnded = false;
  /** What the messages that it has not consumed weigh, as far as the budget knows. */
  #heldBytes = 0;
  /** The application has been told to wait. */
  #owesDrained = false;
  /** Something waits, and no credit has come since that took most of it. */
  #isBehind = false;

  constructor(channel: ChannelContext) {
    const { messageBytes, queueSoftBytes } = channel.limits;
    this.#channel = channel;
    this.#mostWeight = Math.floor((queueSoftBytes * 3) / 4);
    this.#leastWindow = Math.ceil((Math.min(this.#mostWeight, messageOverheadBytes + messageBytes) * 4) / 3);
    this.#sending = new SendWindow(queueSoftBytes);
    this.#receiving = new ReceiveWindow(queueSoftBytes);
  }

  /** Bytes of messages for which there is no credit yet, and what keeping them costs. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** How many messages wait for credit. */
  get waiting(): number {
    return this.#waiting.size;
  }

  send(topic: Uint8Array, form: PayloadForm, payload: Uint8Array): SendResult {
    const channel = this.#channel;
    const { link } = channel;
    const bytes = messageOverheadBytes + topic.length + payload.length;
    if (!link.isOpen) return "full";
    if (!channel.hasSpaceFor(bytes)) {
      this.#owesDrained = true;
      return "full";
    }
    const weight = this.#weigh(bytes);
    const isSent = this.#waitingBytes === 0 && weight <= this.#sending.room;
    if (isSent) {
      this.#sending.spend(weight);
      encodeMessage(link, topic, form, payload);
    } else {
      // It may wait for long, and is counted by its length: so it is copied, also if it is long.
      this.#waiting.push({ topic, form, payload: new Uint8Array(payload), bytes });
      this.#waitingBytes += bytes;
      channel.budget.change(bytes + heldMessageBytes);
      this.#isBehind = true;
    }
    if (!link.hasBeenUp) channel.countBeforeUp();
    if (isSent && !this.#isTight) return "taken";
    this.#owesDrained = true;
    return "slow";
  }

  take(bytes: Uint8Array, from: number, to: number): string | typeof retryLater | undefined {
    const message = decodeMessage(bytes, from, to);
    if (typeof message === "string") return message;
    const weight = this.#weigh(messageCreditBytes(to - from));
    const channel = this.#channel;
    const { newest } = channel.outputs;
    const batch = newest instanceof MessageBatch && newest.from === channel ? newest : undefined;
    // A message of an earlier read that was not consumed at once waits for a loop. One read makes one batch.
    if (batch === undefined) {
      this.#account();
      if (weight > channel.budget.room) return retryLater;
    }
    if (!this.#receiving.take(weight)) return "a message is beyond the credit";
    const { topic, form, payload } = message;
    const incoming: ReceivedMessage = { topic, form, payload, bytes: weight };
    this.#unread += 1;
    if (batch !== undefined) batch.messages.push(incoming);
    else channel.outputs.push(new MessageBatch(channel, incoming));
    return undefined;
  }

  consumed(bytes: number, messages: number): void {
    this.#unread -= messages;
    const limit = this.#receiving.consume(bytes, this.#window);
    this.#account();
    if (limit !== undefined && !this.#hasEnded) encodeCredit(this.#channel.link, messageFlow, limit);
  }

  /** The peer grants more. */
  takeCredit(limit: number): string | undefined {
    if (!this.#sending.raise(limit)) return `the credit for messages goes back to ${limit}`;
    this.#sendWaiting();
    if (this.#waitingBytes <= this.#channel.limits.queueSoftBytes / 2) this.#isBehind = false;
    this.reportDrained();
    return undefined;
  }

  /** Says that it is time to go on, if the application waits for that and it is. */
  reportDrained(): void {
    if (!this.#owesDrained || this.#isBehind || this.#isTight) return;
    const { link, limits, outputs } = this.#channel;
    if (link.unacknowledgedBytes > limits.queueHardBytes - limits.queueSoftBytes) return;
    this.#owesDrained = false;
    outputs.push({ type: "drained", from: this.#channel });
  }

  /** The link has ended: what waits is lost. */
  end(): void {
    this.#channel.budget.change(-this.#waitingBytes - this.waiting * heldMessageBytes);
    this.#waiting.clear();
    this.#waitingBytes = 0;
    this.#owesDrained = false;
    this.#hasEnded = true;
  }

  /** Tells the budget what the application has not consumed. */
  #account(): void {
    const bytes = this.#receiving.unreadBytes + this.#unread * heldMessageBytes;
    if (bytes === this.#heldBytes) return;
    this.#channel.budget.change(bytes - this.#heldBytes);
    this.#heldBytes = bytes;
  }

  /** What the peer may send before the application consumes any of it: less, the more all peers together need. */
  get #window(): number {
    const { limits, budget } = this.#channel;
    const most = limits.queueSoftBytes;
    // Most often there is room for all of it, and then what is held need not be added up.
    const { room } = budget;
    return room >= most ? most : Math.max(Math.min(this.#leastWindow, most), Math.min(most, room + this.#heldBytes));
  }

  /** All peers together need so much that this one, which is behind, may soon have no more. */
  get #isTight(): boolean {
    const { link, limits, budget } = this.#channel;
    return link.unacknowledgedBytes > limits.heldPerPeerBytes / 2 && budget.room < 2 * limits.queueSoftBytes;
  }

  /** Sends what the credit allows of what waits. */
  #sendWaiting(): void {
    const { link, budget } = this.#channel;
    for (let first = this.#waiting.first; first !== undefined; first = this.#waiting.first) {
      const { topic, form, payload, bytes } = first;
      const weight = this.#weigh(bytes);
      if (weight > this.#sending.room) return;
      this.#waiting.poll();
      this.#sending.spend(weight);
      this.#waitingBytes -= bytes;
      budget.change(-bytes - heldMessageBytes);
      encodeMessage(link, topic, form, payload);
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
