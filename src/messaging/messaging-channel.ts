import type { Limits } from "../core/limits.js";
import type { LinkHandler, LinkHandlerFactory, LinkWriter, retryLater } from "../core/link-handler.js";
import type { BatchingSink } from "../core/machine.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import { Batch, decodeBatch } from "../protocol/native/batch.js";
import { decodeMessage, messageCreditBytes } from "../protocol/native/message.js";
import { numberedKinds } from "../protocol/native/numbered-frames.js";
import { type PayloadForm, viewOf } from "../protocol/native/payload.js";
import { encodeReason } from "../protocol/native/reason.js";
import { decodeCancel, decodeFailure, decodeReply, decodeRequest } from "../protocol/native/request.js";
import {
  decodeAbort,
  decodeCredit,
  decodeEnd,
  decodeOpen,
  decodeStreamData,
  messageFlow,
} from "../protocol/native/stream.js";
import { MemoryBudget, PeerBudget } from "./memory-budget.js";
import { MessageArrival } from "./message-arrival.js";
import { ChannelMessages, type SendResult } from "./messages.js";
import { type PendingRequest, PendingRequests } from "./pending-requests.js";
import { ServedRequests } from "./served-requests.js";
import type { Stream, StreamEvent } from "./stream.js";
import { ChannelStreams } from "./streams.js";

/** What happens on a channel, in order. Bytes are contiguous, and the listener may keep them. */
export type MessagingEvent =
  /** Messages that came one behind the other: one read of a socket may hold thousands, which go up together. */
  | MessageArrival<MessagingChannel>
  /** To be answered with `reply` or `fail`, once. */
  | {
      readonly type: "request";
      readonly from: MessagingChannel;
      readonly request: number;
      readonly topic: string;
      readonly form: PayloadForm;
      readonly payload: Uint8Array;
    }
  /** Nobody waits for the reply to this request any more. Until it is answered all the same, it counts as in work. */
  | { readonly type: "cancelled"; readonly from: MessagingChannel; readonly request: number }
  | {
      readonly type: "reply";
      readonly from: MessagingChannel;
      readonly request: number;
      /** What was given with the request. */
      readonly caller: unknown;
      readonly form: PayloadForm;
      readonly payload: Uint8Array;
    }
  /** There is no reply: the peer has failed it, or `TIMED_OUT`, or `PEER_DOWN` because the link has ended. */
  | {
      readonly type: "failed";
      readonly from: MessagingChannel;
      readonly request: number;
      readonly caller: unknown;
      /** False if the code comes from the peer, which may use the same codes. */
      readonly isOwn: boolean;
      readonly code: string;
      readonly message: string;
    }
  | StreamEvent
  /** After a message that was `slow` or `full`: the peer has caught up. */
  | { readonly type: "drained"; readonly from: MessagingChannel };

/**
 * The channels of a member: one for each native peer that the directory lists, up to the end of the link with it.
 *
 * It is no machine of its own: links give it frames and memory for frames, the application calls it directly, and its
 * events go to the member's outputs, in order with what happens to the links.
 */
export class MessagingChannels implements LinkHandlerFactory {
  readonly outputs: BatchingSink<MessagingEvent>;
  readonly limits: Limits;
  readonly budget: MemoryBudget;
  /** When the requests of each channel may run out of time. */
  readonly requestTimers: KeyedTimers<MessagingChannel>;
  readonly #channels = new Map<string, MessagingChannel>();

  constructor(outputs: BatchingSink<MessagingEvent>, limits: Limits, timers: Timers) {
    this.outputs = outputs;
    this.limits = limits;
    this.budget = new MemoryBudget(limits);
    this.requestTimers = timers.keyed((channel, now) => channel.expire(now));
  }

  /** The channel with a peer, by its address; undefined if it is not listed, and when its link has ended. */
  at(peer: string): MessagingChannel | undefined {
    return this.#channels.get(peer);
  }

  get channels(): Iterable<MessagingChannel> {
    return this.#channels.values();
  }

  attach(peer: string, isOwner: boolean, link: LinkWriter): MessagingChannel {
    const channel = new MessagingChannel(peer, isOwner, link, this);
    this.#channels.set(peer, channel);
    return channel;
  }

  /** The next incarnation at an address may be attached already. */
  remove(channel: MessagingChannel): void {
    if (this.#channels.get(channel.peer) === channel) this.#channels.delete(channel.peer);
  }
}

/**
 * Everything that travels on the link with one peer: messages, requests and streams.
 *
 * `send` to `open` are for the application, `take` to `ended` for the link. What the peer does is decoded here, judged by the
 * part that it concerns, and goes out as a `MessagingEvent`. When the link has ended, nothing of this does anything any more.
 */
export class MessagingChannel implements LinkHandler {
  /** The peer's address. */
  readonly peer: string;
  readonly #link: LinkWriter;
  readonly #limits: Limits;
  readonly #outputs: BatchingSink<MessagingEvent>;
  readonly #budget: PeerBudget;
  readonly #channels: MessagingChannels;
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
  constructor(peer: string, isOwner: boolean, link: LinkWriter, channels: MessagingChannels) {
    this.peer = peer;
    this.#link = link;
    this.#limits = channels.limits;
    this.#outputs = channels.outputs;
    this.#budget = new PeerBudget(channels.budget, link, channels.limits);
    this.#channels = channels;
    this.#isOwner = isOwner;
  }

  /** False once nothing new can be sent: one of the two ends leaves, or the link has ended. */
  get isOpen(): boolean {
    return !this.#hasEnded && this.#link.isOpen;
  }

  /** True when what waits for the connection should go out at once. */
  get isPushDue(): boolean {
    return this.#link.isPushDue;
  }

  /** Bytes of messages that wait for the peer's credit here, and are not on the link yet. */
  get waitingBytes(): number {
    return this.#budget.waitingBytes;
  }

  /** How many messages these are. They are lost when the link ends. */
  get waiting(): number {
    return this.#messages?.waiting ?? 0;
  }

  get isDone(): boolean {
    return this.waiting === 0 && this.#streams?.isWaiting !== true;
  }

  /** Requests of ours without a reply, requests of the peer without one, and open streams. */
  get underWay(): { readonly pending: number; readonly served: number; readonly streams: number } {
    const [pending = 0, served = 0, streams = 0] = [this.#pending?.size, this.#served?.size, this.#streams?.size];
    return { pending, served, streams };
  }

  /**
   * Sends a message. A payload from 4 KiB on goes by reference, and must not change until it is acknowledged. `topic`: the
   * UTF-8 of an `isTopic`. With form 2 the payload is empty. After `slow` and `full` a `drained` arrives; `full` takes nothing.
   */
  send(topic: Uint8Array, form: PayloadForm, payload: Uint8Array): SendResult {
    return this.#messagesPart.send(topic, form, payload);
  }

  /** The application has taken so many messages of so many bytes together, as their events said; also after the end. */
  consumed(bytes: number, messages = 1): void {
    this.#messagesPart.consumed(bytes, messages);
  }

  /**
   * Sends a request, and returns its number. `reply` or `failed` arrives for it, unless it is cancelled. `timeoutMs` may be
   * Infinity. `full`: too much is under way, and nothing was sent. Payload as in `send`. `caller` comes back with the event.
   */
  request(
    topic: Uint8Array,
    form: PayloadForm,
    payload: Uint8Array,
    timeoutMs: number,
    now: number,
    caller?: unknown,
  ): number | "full" {
    if (!this.isOpen || !this.#budget.hasSpaceFor(topic.length + payload.length)) return "full";
    const pending = this.#pendingPart;
    const request = pending.ask(topic, form, payload, timeoutMs, now, caller);
    this.#channels.requestTimers.set(this, pending.expireAt);
    return request;
  }

  /** Nobody waits for this reply any more. No event arrives for it. */
  cancel(request: number): void {
    this.#pending?.cancel(request);
  }

  /**
   * Answers a request of the peer. If it was cancelled, nothing is sent; but only now, or with `fail`, does it stop to count
   * as in work. Payload as in `send`.
   */
  reply(request: number, form: PayloadForm, payload: Uint8Array): void {
    this.#served?.reply(request, form, payload);
  }

  /** Answers a request of the peer with a failure. `code`: see `isCode`. */
  fail(request: number, code: string, message: string): void {
    this.#served?.fail(request, code, message);
  }

  /** Opens a stream. If it cannot be opened, it is gone at once, and `aborted` arrives (`OVERLOADED`, `PEER_DOWN`). */
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
    if (kind === numberedKinds.data) {
      const data = decodeStreamData(bytes, from, to);
      return typeof data === "string" ? data : this.#streamsPart.takeData(data, rest);
    }
    if (this.#streams?.isWithinData === true) return "a frame came again as another one";
    // Most of what comes are messages.
    if (kind === numberedKinds.batch || kind === numberedKinds.message)
      return this.#takeMessages(kind, bytes, from, to);
    return this.#takeOther(kind, bytes, from, to);
  }

  takeMore(bytes: Uint8Array, from: number, to: number, rest: number): string | undefined {
    return this.#hasEnded ? undefined : this.#streamsPart.takeMore(viewOf(bytes, from, to), rest);
  }

  up(): void {
    if (this.#hasEnded) return;
    this.#budget.up();
    this.#pending?.up();
    this.#streams?.pump();
  }

  moved(): void {
    if (this.#hasEnded) return;
    this.#budget.sent(this.#link.unacknowledgedBytes);
    this.#reportDrained();
    this.#streams?.pump();
  }

  ended(reason: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#messages?.end();
    for (const pending of this.#pending?.end() ?? []) this.#failed(pending, true, "PEER_DOWN", reason);
    for (const request of this.#served?.end() ?? []) this.#outputs.push({ type: "cancelled", from: this, request });
    this.#streams?.end(reason);
    this.#budget.end();
    this.#channels.requestTimers.clear(this);
    this.#channels.remove(this);
  }

  /** Fails the requests whose time is over. */
  expire(now: number): void {
    const pending = this.#pendingPart;
    for (const overdue of pending.expire(now)) {
      this.#failed(overdue, true, "TIMED_OUT", `there was no reply within ${overdue.timeoutMs} ms`);
    }
    this.#channels.requestTimers.set(this, pending.expireAt);
  }

  get #messagesPart(): ChannelMessages {
    this.#messages ??= new ChannelMessages(this.#link, this.#limits, this.#budget);
    return this.#messages;
  }

  get #pendingPart(): PendingRequests {
    this.#pending ??= new PendingRequests(this.#link, this.#limits, this.#budget);
    return this.#pending;
  }

  get #streamsPart(): ChannelStreams {
    this.#streams ??= new ChannelStreams(
      this.peer,
      this.#isOwner,
      this.#link,
      this.#limits,
      this.#budget,
      this.#outputs,
    );
    return this.#streams;
  }

  #takeMessages(kind: number, bytes: Uint8Array, from: number, to: number): string | typeof retryLater | undefined {
    // What comes in one read goes up together.
    const { newest } = this.#outputs;
    const arrival = newest instanceof MessageArrival && newest.from === this ? newest : undefined;
    const part = this.#messagesPart;
    const { mostWeight } = part;
    const read =
      kind === numberedKinds.batch ? decodeBatch(bytes, from, to, mostWeight) : decodeMessage(bytes, from, to);
    if (typeof read === "string") return read;
    const isBatch = read instanceof Batch;
    const creditBytes = isBatch ? read.totalCreditBytes : Math.min(mostWeight, messageCreditBytes(to - from));
    const fault = part.take(creditBytes, isBatch ? read.size : 1, arrival === undefined);
    if (fault !== undefined) return fault;
    if (arrival === undefined) this.#outputs.push(new MessageArrival(this, read, creditBytes));
    else arrival.add(read, creditBytes);
    return undefined;
  }

  #takeOther(kind: number, bytes: Uint8Array, from: number, to: number): string | undefined {
    switch (kind) {
      case numberedKinds.request:
        return this.#takeRequest(bytes, from, to);
      case numberedKinds.reply:
        return this.#takeReply(bytes, from, to);
      case numberedKinds.credit:
        return this.#takeCredit(bytes, from, to);
      case numberedKinds.failure: {
        const failure = decodeFailure(bytes, from, to);
        if (typeof failure === "string") return failure;
        const pending = this.#pending?.settle(failure.number);
        if (pending !== undefined) this.#failed(pending, false, failure.code, failure.message);
        return undefined;
      }
      case numberedKinds.cancel: {
        const request = decodeCancel(bytes, from, to);
        if (typeof request === "string") return request;
        if (this.#served?.cancel(request) === true) this.#outputs.push({ type: "cancelled", from: this, request });
        return undefined;
      }
      case numberedKinds.open: {
        const opening = decodeOpen(bytes, from, to);
        if (typeof opening === "string") return opening;
        return this.#judged(this.#streamsPart.takeOpen(opening), numberedKinds.abort, opening.stream);
      }
      case numberedKinds.end: {
        const stream = decodeEnd(bytes, from, to);
        return typeof stream === "string" ? stream : this.#streamsPart.takeEnd(stream);
      }
      case numberedKinds.abort: {
        const reason = decodeAbort(bytes, from, to);
        return typeof reason === "string" ? reason : this.#streamsPart.takeAbort(reason);
      }
      default:
        return `there is no numbered frame of kind ${kind}`;
    }
  }

  #takeRequest(bytes: Uint8Array, from: number, to: number): string | undefined {
    const asked = decodeRequest(bytes, from, to);
    if (typeof asked === "string") return asked;
    this.#served ??= new ServedRequests(this.#link, this.#limits, this.#budget);
    const verdict = this.#served.take(asked, to - from);
    const { request, topic, form, payload } = asked;
    if (verdict !== true) return this.#judged(verdict, numberedKinds.failure, request);
    this.#outputs.push({ type: "request", from: this, request, topic, form, payload });
    return undefined;
  }

  #takeReply(bytes: Uint8Array, from: number, to: number): string | undefined {
    const reply = decodeReply(bytes, from, to);
    if (typeof reply === "string") return reply;
    const { request, form, payload } = reply;
    const pending = this.#pending?.settle(request);
    if (pending === undefined) return undefined;
    this.#outputs.push({ type: "reply", from: this, request, caller: pending.caller, form, payload });
    return undefined;
  }

  #takeCredit(bytes: Uint8Array, from: number, to: number): string | undefined {
    const credit = decodeCredit(bytes, from, to);
    if (typeof credit === "string") return credit;
    const { flow, limit } = credit;
    if (flow !== messageFlow) return this.#streamsPart.takeCredit(flow, limit);
    const fault = this.#messagesPart.takeCredit(limit);
    if (fault === undefined) this.#reportDrained();
    return fault;
  }

  /**
   * Refuses the request or the stream of this number, if that is the verdict, or says what is wrong with the peer. A refusal is
   * a frame that is kept until it is acknowledged; a peer that asks on and acknowledges nothing would fill our memory with them,
   * so they are counted.
   */
  #judged(verdict: boolean | string, kind: number, number: number): string | undefined {
    if (verdict !== false) return verdict === true ? undefined : verdict;
    this.#refused = this.#budget.isBehind ? this.#refused + 1 : 0;
    // A peer that keeps to its own limits has no more than these under way, and each is refused once.
    if (this.#refused > this.#limits.requestsInFlight + this.#limits.streamsOpen)
      return "it asks on without reading that it is refused";
    encodeReason(this.#link, kind, { number, code: "OVERLOADED", message: "too many are under way" });
    return undefined;
  }

  #failed({ request, caller }: PendingRequest, isOwn: boolean, code: string, message: string): void {
    this.#outputs.push({ type: "failed", from: this, request, caller, isOwn, code, message });
  }

  #reportDrained(): void {
    if (this.#messages?.drains() === true) this.#outputs.push({ type: "drained", from: this });
  }
}
