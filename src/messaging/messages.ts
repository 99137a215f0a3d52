import { notNow } from "../core/link-handler.js";
import { decodeMessage, encodeMessage, messageOverheadBytes, messageWeightOf } from "../protocol/native/message.js";
import { encodeCredit, messageFlow } from "../protocol/native/stream.js";
import type { ChannelContext } from "./channel-context.js";
import { ReceiveWindow, SendWindow } from "./flow-control.js";
import type { PayloadKind, PeerChannel, ReceivedMessage, SendResult } from "./types.js";

/** What a message that the program has not taken, or that has no credit, takes beside what it counts against the credit. */
const heldMessageBytes = 96;

/** A message that the peer has granted no credit for yet. */
interface QueuedMessage {
  readonly topic: Uint8Array;
  readonly form: PayloadKind;
  readonly payload: Uint8Array;
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
  readonly #ports: ChannelContext;
  /** What a message takes of the credit at most. */
  readonly #mostWeight: number;
  /** What is granted at least: three quarters of it are the heaviest message. */
  readonly #leastWindow: number;
  readonly #sending: SendWindow;
  readonly #receiving: ReceiveWindow;
  /** In order; those before `#next` have gone. */
  #waiting: (QueuedMessage | undefined)[] = [];
  #next = 0;
  #waitingBytes = 0;
  /** Messages that the application has not had. */
  #unread = 0;
  #hasEnded = false;
  /** What the messages that it has not had weigh, as far as the budget knows. */
  #heldBytes = 0;
  /** Somebody has been told to wait. */
  #owesDrained = false;
  /** Something waits, and no credit has come since that took most of it. */
  #isBehind = false;

  constructor(ports: ChannelContext) {
    this.#ports = ports;
    this.#mostWeight = Math.floor((ports.limits.queueSoftBytes * 3) / 4);
    this.#leastWindow = Math.ceil(
      (Math.min(this.#mostWeight, messageOverheadBytes + ports.limits.messageBytes) * 4) / 3,
    );
    this.#sending = new SendWindow(ports.limits.queueSoftBytes);
    this.#receiving = new ReceiveWindow(ports.limits.queueSoftBytes);
  }

  /** Bytes of messages for which there is no credit yet, and what keeping them costs. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** How many messages wait for credit. */
  get waiting(): number {
    return this.#waiting.length - this.#next;
  }

  send(topic: Uint8Array, form: PayloadKind, payload: Uint8Array): SendResult {
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
      if (!this.#isTight) return "taken";
      this.#owesDrained = true;
      return "slow";
    }
    // It may wait for long, and is counted by its length: so it is copied, also if it is long.
    this.#waiting.push({ topic, form, payload: new Uint8Array(payload) });
    this.#waitingBytes += bytes;
    this.#ports.share.change(bytes + heldMessageBytes);
    this.#owesDrained = true;
    this.#isBehind = true;
    return "slow";
  }

  /** False if so many bytes more would be over the limit on what may be kept for the peer, or for all of them. */
  hasSpaceFor(bytes: number): boolean {
    const { carriage, limits, share } = this.#ports;
    const { unacknowledgedBytes } = carriage;
    share.sent(unacknowledgedBytes);
    if (!carriage.hasBeenUp && share.beforeUpBytes + bytes > limits.queueHardBytes) return false;
    return unacknowledgedBytes + this.#waitingBytes + bytes <= limits.queueHardBytes && bytes <= share.room;
  }

  take(bytes: Uint8Array, from: number, to: number): string | typeof notNow | undefined {
    const message = decodeMessage(bytes, from, to);
    if (typeof message === "string") return message;
    const weight = this.#weigh(messageWeightOf(to - from));
    const { conversation, outputs, share } = this.#ports;
    const { newest } = outputs;
    const batch = newest instanceof MessageBatch && newest.from === conversation ? newest : undefined;
    // What has come before and was not had at once waits for a loop. What comes in one read comes together.
    if (batch === undefined) {
      this.#account();
      if (weight > share.room) return notNow;
    }
    if (!this.#receiving.take(weight)) return "a message is beyond the credit";
    const { topic, form, payload } = message;
    const incoming: ReceivedMessage = { topic, form, payload, bytes: weight };
    this.#unread += 1;
    if (batch !== undefined) batch.messages.push(incoming);
    else outputs.push(new MessageBatch(conversation, incoming));
    return undefined;
  }

  consumed(bytes: number, messages: number): void {
    this.#unread -= messages;
    const limit = this.#receiving.consume(bytes, this.#window);
    this.#account();
    if (limit !== undefined && !this.#hasEnded) encodeCredit(this.#ports.carriage, messageFlow, limit);
  }

  /** Tells the budget what the application has not had. */
  #account(): void {
    const bytes = this.#receiving.unreadBytes + this.#unread * heldMessageBytes;
    if (bytes === this.#heldBytes) return;
    this.#ports.share.change(bytes - this.#heldBytes);
    this.#heldBytes = bytes;
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
    if (!this.#owesDrained || this.#isBehind || this.#isTight) return;
    const { carriage, conversation, limits, outputs } = this.#ports;
    if (carriage.unacknowledgedBytes > limits.queueHardBytes - limits.queueSoftBytes) return;
    this.#owesDrained = false;
    outputs.push({ type: "drained", from: conversation });
  }

  /** The link has ended: what waits is lost. */
  end(): void {
    this.#ports.share.change(-this.#waitingBytes - this.waiting * heldMessageBytes);
    this.#waiting = [];
    this.#next = 0;
    this.#waitingBytes = 0;
    this.#owesDrained = false;
    this.#hasEnded = true;
  }

  /** What the peer may have sent before the application has had any of it: less, as all peers together come to need more. */
  get #window(): number {
    const { limits, share } = this.#ports;
    const most = limits.queueSoftBytes;
    // Most often there is room for all of it, and then what is held need not be added up.
    const { room } = share;
    return room >= most ? most : Math.max(Math.min(this.#leastWindow, most), Math.min(most, room + this.#heldBytes));
  }

  /** All peers together need so much that this one, which is behind, may soon have no more. */
  get #isTight(): boolean {
    const { carriage, limits, share } = this.#ports;
    return carriage.unacknowledgedBytes > limits.heldPerPeerBytes / 2 && share.room < 2 * limits.queueSoftBytes;
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
      this.#ports.share.change(-bytes - heldMessageBytes);
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
