import type { Limits } from "../core/limits.js";
import { type LinkWriter, retryLater } from "../core/link-handler.js";
import { Queue } from "../core/queue.js";
import { encodeBatched, isBatchable } from "../protocol/native/batch.js";
import { encodeMessage, messageOverheadBytes } from "../protocol/native/message.js";
import type { PayloadForm } from "../protocol/native/payload.js";
import { encodeCredit, messageFlow } from "../protocol/native/stream.js";
import { ReceiveWindow, SendWindow } from "./flow-control.js";
import type { PeerBudget } from "./memory-budget.js";

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

/**
 * What came of a message: it is on its way (`taken`), it is taken but the peer is behind (`slow`), or too much waits
 * already and nothing was taken (`full`). After the last two a `drained` follows when it is time to go on.
 */
export type SendResult = "taken" | "slow" | "full";

/**
 * The messages between this node and one peer, both ways. What the peer's application has not taken is bounded by its
 * credit; what goes beyond that waits here, in order, and is bounded by us.
 */
export class ChannelMessages {
  readonly #link: LinkWriter;
  readonly #limits: Limits;
  readonly #budget: PeerBudget;
  /** What a message takes of the credit at most. */
  readonly #mostWeight: number;
  /** What is granted at least: three quarters of it are the heaviest message. */
  readonly #leastWindow: number;
  readonly #sending: SendWindow;
  readonly #receiving: ReceiveWindow;
  readonly #waiting = new Queue<QueuedMessage>();
  /** The body of a batch may have so many bytes. */
  readonly #mostBatchBytes: number;
  /** The topic of the message that was written last into a batch. */
  #batchTopic: Uint8Array | undefined;
  /** Messages that the application has not consumed. */
  #unread = 0;
  #hasEnded = false;
  /** What the messages that it has not consumed weigh, as far as the budget knows. */
  #heldBytes = 0;
  /** The application has been told to wait. */
  #owesDrained = false;
  /** Something waits, and no credit has come since that took most of it. */
  #isBehind = false;

  constructor(link: LinkWriter, limits: Limits, budget: PeerBudget) {
    const { messageBytes, batchBytes, queueSoftBytes } = limits;
    this.#link = link;
    this.#limits = limits;
    this.#budget = budget;
    this.#mostWeight = Math.floor((queueSoftBytes * 3) / 4);
    this.#leastWindow = Math.ceil((Math.min(this.#mostWeight, messageOverheadBytes + messageBytes) * 4) / 3);
    this.#mostBatchBytes = Math.min(messageBytes, batchBytes);
    this.#sending = new SendWindow(queueSoftBytes);
    this.#receiving = new ReceiveWindow(queueSoftBytes);
  }

  /** How many messages wait for credit. */
  get waiting(): number {
    return this.#waiting.size;
  }

  send(topic: Uint8Array, form: PayloadForm, payload: Uint8Array): SendResult {
    const link = this.#link;
    const budget = this.#budget;
    const bytes = messageOverheadBytes + topic.length + payload.length;
    if (!link.isOpen) return "full";
    if (!budget.hasSpaceFor(bytes)) {
      this.#owesDrained = true;
      return "full";
    }
    const isBackedUp = this.#isBackedUp(this.#limits.handedBytes / 2);
    const weight = this.#weigh(bytes);
    const isSent = budget.waitingBytes === 0 && weight <= this.#sending.room;
    if (isSent) {
      this.#sending.spend(weight);
      this.#encode(topic, form, payload);
    } else {
      // It may wait for long, and is counted by its length: so it is copied, also if it is long.
      this.#waiting.push({ topic, form, payload: new Uint8Array(payload), bytes });
      budget.waitingBytes += bytes;
      budget.change(bytes + heldMessageBytes);
      this.#isBehind = true;
    }
    if (!link.hasBeenUp) budget.countBeforeUp();
    if (isSent && !this.#isTight && !isBackedUp) return "taken";
    this.#owesDrained = true;
    return "slow";
  }

  /** What one message counts at most. */
  get mostWeight(): number {
    return this.#mostWeight;
  }

  /**
   * Messages have come that count so much against the credit; `isFirst`: of their read. Returns why they are not taken, if
   * they are not.
   */
  take(weight: number, messages: number, isFirst: boolean): string | typeof retryLater | undefined {
    // A message of an earlier read that was not consumed at once waits for a loop.
    if (isFirst) {
      this.#account();
      if (weight > this.#budget.room) return retryLater;
    }
    if (!this.#receiving.take(weight)) return "a message is beyond the credit";
    this.#unread += messages;
    return undefined;
  }

  consumed(bytes: number, messages: number): void {
    this.#unread -= messages;
    const limit = this.#receiving.consume(bytes, this.#window);
    this.#account();
    if (limit !== undefined && !this.#hasEnded) encodeCredit(this.#link, messageFlow, limit);
  }

  /** The peer grants more. */
  takeCredit(limit: number): string | undefined {
    if (!this.#sending.raise(limit)) return `the credit for messages goes back to ${limit}`;
    this.#sendWaiting();
    if (this.#budget.waitingBytes <= this.#limits.queueSoftBytes / 2) this.#isBehind = false;
    return undefined;
  }

  /** True, once, when it is time to go on, if the application waits for that. */
  drains(): boolean {
    if (!this.#owesDrained || this.#isBehind || this.#isTight) return false;
    if (this.#isBackedUp(this.#limits.handedBytes / 4)) return false;
    const { queueHardBytes, queueSoftBytes } = this.#limits;
    this.#owesDrained = this.#link.unacknowledgedBytes > queueHardBytes - queueSoftBytes;
    return !this.#owesDrained;
  }

  /** The link has ended: what waits is lost. */
  end(): void {
    this.#budget.change(-this.#budget.waitingBytes - this.waiting * heldMessageBytes);
    this.#budget.waitingBytes = 0;
    this.#waiting.clear();
    this.#owesDrained = false;
    this.#hasEnded = true;
  }

  /** Tells the budget what the application has not consumed. */
  #account(): void {
    const bytes = this.#receiving.unreadBytes + this.#unread * heldMessageBytes;
    if (bytes === this.#heldBytes) return;
    this.#budget.change(bytes - this.#heldBytes);
    this.#heldBytes = bytes;
  }

  /** What the peer may send before the application consumes any of it: less, the more all peers together need. */
  get #window(): number {
    const most = this.#limits.queueSoftBytes;
    // Most often there is room for all of it, and then what is held need not be added up.
    const { room } = this.#budget;
    return room >= most ? most : Math.max(Math.min(this.#leastWindow, most), Math.min(most, room + this.#heldBytes));
  }

  /** All peers together need so much that this one, which is behind, may soon have no more. */
  get #isTight(): boolean {
    const { heldPerPeerBytes, queueSoftBytes } = this.#limits;
    return this.#link.unacknowledgedBytes > heldPerPeerBytes / 2 && this.#budget.room < 2 * queueSoftBytes;
  }

  /** The connection takes less than is sent: more than so many bytes wait for it. Before the link is up there is none. */
  #isBackedUp(bytes: number): boolean {
    return this.#link.waitingBytes > bytes && this.#link.hasBeenUp;
  }

  /** Sends what the credit allows of what waits. */
  #sendWaiting(): void {
    for (let first = this.#waiting.first; first !== undefined; first = this.#waiting.first) {
      const { topic, form, payload, bytes } = first;
      const weight = this.#weigh(bytes);
      if (weight > this.#sending.room) return;
      this.#waiting.poll();
      this.#sending.spend(weight);
      this.#budget.waitingBytes -= bytes;
      this.#budget.change(-bytes - heldMessageBytes);
      this.#encode(topic, form, payload);
    }
  }

  #encode(topic: Uint8Array, form: PayloadForm, payload: Uint8Array): void {
    const link = this.#link;
    if (!link.takesBatches || !isBatchable(topic, payload, this.#mostBatchBytes)) {
      encodeMessage(link, topic, form, payload);
      return;
    }
    encodeBatched(link, topic, form, payload, this.#batchTopic, this.#mostBatchBytes);
    this.#batchTopic = topic;
  }

  /**
   * What a message takes of the credit: its bytes, but never more than three quarters of the window, which is what is
   * always granted in the end. With the usual limits no message has so many.
   */
  #weigh(bytes: number): number {
    return bytes < this.#mostWeight ? bytes : this.#mostWeight;
  }
}
