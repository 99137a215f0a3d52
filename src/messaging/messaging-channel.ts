import type { Limits } from "../core/limits.js";
import type { LinkHandler, LinkWriter, retryLater } from "../core/link-handler.js";
import type { BatchingSink } from "../core/machine.js";
import type { KeyedTimers } from "../core/timers.js";
import { numberedKinds } from "../protocol/native/numbered-frames.js";
import { encodeReason } from "../protocol/native/reason.js";
import { decodeCredit, messageFlow } from "../protocol/native/stream.js";
import { type MemoryBudget, PeerBudget } from "./memory-budget.js";
import { ChannelMessages } from "./messages.js";
import { PendingRequests } from "./pending-requests.js";
import { ServedRequests } from "./served-requests.js";
import type { Stream } from "./stream.js";
import { ChannelStreams } from "./streams.js";
import type { ChannelContext, MessagingEvent, PayloadForm, PeerChannel, SendResult } from "./types.js";

/** What all channels of a member share. */
export interface ChannelResources {
  readonly outputs: BatchingSink<MessagingEvent>;
  readonly limits: Limits;
  readonly budget: MemoryBudget;
  /** When the requests of each channel may run out of time. */
  readonly requestTimers: KeyedTimers<MessagingChannel>;
  /** The link of this one has ended. */
  remove(channel: MessagingChannel): void;
}

/**
 * Everything that travels on the link with one peer: messages, requests and streams.
 *
 * `send` to `open` are for the application, `take` to `ended` for the link, `hasSpaceFor` to `refuse` for the channel's own
 * parts. When the link has ended, none of them does anything any more.
 */
export class MessagingChannel implements PeerChannel, LinkHandler, ChannelContext {
  readonly peer: string;
  readonly link: LinkWriter;
  readonly outputs: BatchingSink<MessagingEvent>;
  readonly limits: Limits;
  readonly budget: PeerBudget;
  readonly #channels: ChannelResources;
  readonly #isOwner: boolean;
  // Each part is made when it is first needed: most links of a large mesh are idle, and need none.
  #messages: ChannelMessages | undefined;
  #pending: PendingRequests | undefined;
  #served: ServedRequests | undefined;
  #streams: ChannelStreams | undefined;
  /** How many requests and streams in a row were refused while the peer was behind. */
  #refused = 0;
  #hasEnded = false;

  /** `isOwner`: this end of the link is the earlier of the two. */
  constructor(peer: string, isOwner: boolean, link: LinkWriter, channels: ChannelResources) {
    this.peer = peer;
    this.link = link;
    this.outputs = channels.outputs;
    this.limits = channels.limits;
    this.budget = new PeerBudget(channels.budget);
    this.#channels = channels;
    this.#isOwner = isOwner;
  }

  get isOpen(): boolean {
    return !this.#hasEnded && this.link.isOpen;
  }

  get waitingBytes(): number {
    return this.#messages?.waitingBytes ?? 0;
  }

  get waiting(): number {
    return this.#messages?.waiting ?? 0;
  }

  get isDone(): boolean {
    return this.waiting === 0 && this.#streams?.isWaiting !== true;
  }

  get underWay(): { readonly pending: number; readonly served: number; readonly streams: number } {
    const [pending = 0, served = 0, streams = 0] = [this.#pending?.size, this.#served?.size, this.#streams?.size];
    return { pending, served, streams };
  }

  send(topic: Uint8Array, form: PayloadForm, payload: Uint8Array): SendResult {
    return this.#messagesPart.send(topic, form, payload);
  }

  consumed(bytes: number, messages = 1): void {
    this.#messagesPart.consumed(bytes, messages);
  }

  request(
    topic: Uint8Array,
    form: PayloadForm,
    payload: Uint8Array,
    timeoutMs: number,
    now: number,
    caller?: unknown,
  ): number | "full" {
    if (!this.isOpen || !this.hasSpaceFor(topic.length + payload.length)) return "full";
    return this.#pendingPart.ask(topic, form, payload, timeoutMs, now, caller);
  }

  cancel(request: number): void {
    this.#pending?.cancel(request);
  }

  reply(request: number, form: PayloadForm, payload: Uint8Array): void {
    this.#served?.reply(request, form, payload);
  }

  fail(request: number, code: string, message: string): void {
    this.#served?.fail(request, code, message);
  }

  open(topic: Uint8Array): Stream {
    return this.#streamsPart.open(topic);
  }

  take(
    kind: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
  ): string | typeof retryLater | undefined {
    if (this.#hasEnded) return undefined;
    if (kind === numberedKinds.data) return this.#streamsPart.takeData(bytes, from, to, rest);
    if (this.#streams?.isWithinData === true) return "a frame came again as another one";
    // Most of what comes are messages.
    return kind === numberedKinds.message
      ? this.#messagesPart.take(bytes, from, to)
      : this.#takeOther(kind, bytes, from, to);
  }

  takeMore(bytes: Uint8Array, from: number, to: number, rest: number): string | undefined {
    return this.#hasEnded ? undefined : this.#streamsPart.takeMore(bytes, from, to, rest);
  }

  up(): void {
    if (this.#hasEnded) return;
    this.budget.waitForUp(0);
    this.#pending?.up();
    this.#streams?.pump();
  }

  moved(): void {
    if (this.#hasEnded) return;
    this.budget.sent(this.link.unacknowledgedBytes);
    this.#messages?.reportDrained();
    this.#streams?.pump();
  }

  ended(reason: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#messages?.end();
    this.#pending?.end(reason);
    this.#served?.end();
    this.#streams?.end(reason);
    this.budget.end();
    this.#channels.requestTimers.clear(this);
    this.#channels.remove(this);
  }

  /** Fails the requests whose time is over. */
  expire(now: number): void {
    this.#pending?.expire(now);
  }

  hasSpaceFor(bytes: number): boolean {
    const { budget, limits, link } = this;
    const { unacknowledgedBytes } = link;
    budget.sent(unacknowledgedBytes);
    if (!link.hasBeenUp && budget.beforeUpBytes + bytes > limits.queueHardBytes) return false;
    return unacknowledgedBytes + this.waitingBytes + bytes <= limits.queueHardBytes && bytes <= budget.room;
  }

  countBeforeUp(): void {
    this.budget.waitForUp(this.link.unacknowledgedBytes + this.waitingBytes + (this.#pending?.unsentBytes ?? 0));
  }

  expireAt(at: number): void {
    this.#channels.requestTimers.set(this, at);
  }

  get isBehind(): boolean {
    const { unacknowledgedBytes } = this.link;
    this.budget.sent(unacknowledgedBytes);
    return unacknowledgedBytes > this.limits.queueHardBytes;
  }

  refuse(kind: number, number: number): string | undefined {
    this.#refused = this.isBehind ? this.#refused + 1 : 0;
    // A peer that keeps to its own limits has no more than these under way, and each is refused once.
    if (this.#refused > this.limits.requestsInFlight + this.limits.streamsOpen)
      return "it asks on without reading that it is refused";
    encodeReason(this.link, kind, { number, code: "OVERLOADED", message: "too many are under way" });
    return undefined;
  }

  get #messagesPart(): ChannelMessages {
    this.#messages ??= new ChannelMessages(this);
    return this.#messages;
  }

  get #pendingPart(): PendingRequests {
    this.#pending ??= new PendingRequests(this);
    return this.#pending;
  }

  get #servedPart(): ServedRequests {
    this.#served ??= new ServedRequests(this);
    return this.#served;
  }

  get #streamsPart(): ChannelStreams {
    this.#streams ??= new ChannelStreams(this, this.#isOwner);
    return this.#streams;
  }

  #takeOther(kind: number, bytes: Uint8Array, from: number, to: number): string | undefined {
    switch (kind) {
      case numberedKinds.request:
        return this.#servedPart.takeRequest(bytes, from, to);
      case numberedKinds.reply:
        return this.#pendingPart.takeReply(bytes, from, to);
      case numberedKinds.failure:
        return this.#pendingPart.takeFailure(bytes, from, to);
      case numberedKinds.cancel:
        return this.#servedPart.takeCancel(bytes, from, to);
      case numberedKinds.open:
        return this.#streamsPart.takeOpen(bytes, from, to);
      case numberedKinds.end:
        return this.#streamsPart.takeEnd(bytes, from, to);
      case numberedKinds.abort:
        return this.#streamsPart.takeAbort(bytes, from, to);
      case numberedKinds.credit:
        return this.#takeCredit(bytes, from, to);
      default:
        return `there is no numbered frame of kind ${kind}`;
    }
  }

  #takeCredit(bytes: Uint8Array, from: number, to: number): string | undefined {
    const credit = decodeCredit(bytes, from, to);
    if (typeof credit === "string") return credit;
    const { flow, limit } = credit;
    return flow === messageFlow ? this.#messagesPart.takeCredit(limit) : this.#streamsPart.takeCredit(flow, limit);
  }
}
