import type { Limits } from "../core/limits.js";
import type { LinkHandler, LinkWriter, notNow } from "../core/link-handler.js";
import type { BatchingSink } from "../core/machine.js";
import { numberedKinds } from "../protocol/native/numbered.js";
import { decodeCredit, messageFlow } from "../protocol/native/stream.js";
import type { ChannelContext } from "./channel-context.js";
import type { PeerBudget } from "./memory-budget.js";
import { ChannelMessages } from "./messages.js";
import { OverloadGuard } from "./overload-guard.js";
import { PendingRequests } from "./pending-requests.js";
import type { RequestTimeouts } from "./request-timeouts.js";
import { ServedRequests } from "./served-requests.js";
import type { Stream } from "./stream.js";
import { ChannelStreams } from "./streams.js";
import type { MessagingEvent, PayloadKind, PeerChannel, SendResult } from "./types.js";

/** What a conversation is made of. */
export interface PeerChannelOptions {
  readonly peer: string;
  /** This end of the link is the earlier of the two. */
  readonly isOwner: boolean;
  readonly carriage: LinkWriter;
  readonly outputs: BatchingSink<MessagingEvent>;
  readonly limits: Limits;
  readonly patience: RequestTimeouts;
  readonly share: PeerBudget;
  /** Is called once, when the link has ended. */
  readonly leave: (conversation: LinkChannel) => void;
}

/**
 * Everything that goes to and fro on the link with one peer: messages, requests and streams.
 *
 * What you want of it are `send` to `open`; what it tells comes as arrivals. `take`, `moved` and `ended` are the link's.
 * When the link has ended, nothing that is wanted of it does anything any more.
 */
export class LinkChannel implements PeerChannel, LinkHandler {
  readonly peer: string;
  readonly #ports: ChannelContext;
  readonly #leave: (conversation: LinkChannel) => void;
  readonly #isOwner: boolean;
  // Each part is made when it is first needed: most links of a large mesh are idle, and need none.
  #messages: ChannelMessages | undefined;
  #calls: PendingRequests | undefined;
  #answers: ServedRequests | undefined;
  #streams: ChannelStreams | undefined;
  #refusals: OverloadGuard | undefined;
  #hasEnded = false;

  constructor({ peer, isOwner, carriage, outputs, limits, patience, share, leave }: PeerChannelOptions) {
    this.peer = peer;
    this.#leave = leave;
    this.#isOwner = isOwner;
    this.#ports = { conversation: this, carriage, outputs, limits, patience, share };
  }

  get #mail(): ChannelMessages {
    this.#messages ??= new ChannelMessages(this.#ports);
    return this.#messages;
  }

  get #asked(): PendingRequests {
    this.#calls ??= new PendingRequests(this.#ports);
    return this.#calls;
  }

  get #served(): ServedRequests {
    this.#answers ??= new ServedRequests(this.#ports, this.#refused);
    return this.#answers;
  }

  get #opened(): ChannelStreams {
    this.#streams ??= new ChannelStreams(this.#ports, this.#refused, this.#isOwner);
    return this.#streams;
  }

  get #refused(): OverloadGuard {
    this.#refusals ??= new OverloadGuard(this.#ports);
    return this.#refusals;
  }

  get isOpen(): boolean {
    return !this.#hasEnded && this.#ports.carriage.isOpen;
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

  get underWay(): { readonly calls: number; readonly answers: number; readonly streams: number } {
    const [calls = 0, answers = 0, streams = 0] = [this.#calls?.size, this.#answers?.size, this.#streams?.size];
    return { calls, answers, streams };
  }

  send(topic: Uint8Array, form: PayloadKind, payload: Uint8Array): SendResult {
    const result = this.#mail.send(topic, form, payload);
    if (!this.#ports.carriage.hasBeenUp) this.#countBeforeUp();
    return result;
  }

  consumed(bytes: number, messages = 1): void {
    this.#mail.consumed(bytes, messages);
  }

  request(
    topic: Uint8Array,
    form: PayloadKind,
    payload: Uint8Array,
    timeoutMs: number,
    now: number,
    caller?: unknown,
  ): number | "full" {
    if (!this.isOpen || !this.#mail.hasSpaceFor(topic.length + payload.length)) return "full";
    const request = this.#asked.ask(topic, form, payload, timeoutMs, now, caller);
    if (!this.#ports.carriage.hasBeenUp) this.#countBeforeUp();
    return request;
  }

  cancel(request: number): void {
    this.#calls?.cancel(request);
  }

  /** Gives up the requests whose time is over. */
  expire(now: number): void {
    this.#calls?.expire(now);
  }

  reply(request: number, form: PayloadKind, payload: Uint8Array): void {
    this.#answers?.reply(request, form, payload);
  }

  fail(request: number, code: string, message: string): void {
    this.#answers?.fail(request, code, message);
  }

  open(topic: Uint8Array): Stream {
    return this.#opened.open(topic);
  }

  take(kind: number, bytes: Uint8Array, from: number, to: number, rest: number): string | typeof notNow | undefined {
    if (this.#hasEnded) return undefined;
    if (kind === numberedKinds.data) return this.#opened.takePortion(bytes, from, to, rest);
    if (this.#streams?.isWithinPortion === true) return "a frame came again as another one";
    // Most of what comes are messages.
    return kind === numberedKinds.message ? this.#mail.take(bytes, from, to) : this.#takeOther(kind, bytes, from, to);
  }

  takeMore(bytes: Uint8Array, from: number, to: number, rest: number): string | undefined {
    return this.#hasEnded ? undefined : this.#opened.takeMore(bytes, from, to, rest);
  }

  up(): void {
    if (this.#hasEnded) return;
    this.#ports.share.waitForUp(0);
    this.#calls?.up();
    this.#streams?.pump();
  }

  moved(): void {
    if (this.#hasEnded) return;
    this.#ports.share.sent(this.#ports.carriage.unacknowledgedBytes);
    this.#messages?.tellDrained();
    this.#streams?.pump();
  }

  ended(reason: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#messages?.end();
    this.#calls?.end(reason);
    this.#answers?.end();
    this.#streams?.end(reason);
    this.#ports.share.end();
    this.#leave(this);
  }

  /** What waits for a link that was never up counts against a bound for all such links. */
  #countBeforeUp(): void {
    const { carriage, share } = this.#ports;
    share.waitForUp(carriage.unacknowledgedBytes + this.waitingBytes + (this.#calls?.unsentBytes ?? 0));
  }

  #takeOther(kind: number, bytes: Uint8Array, from: number, to: number): string | undefined {
    switch (kind) {
      case numberedKinds.request:
        return this.#served.takeRequest(bytes, from, to);
      case numberedKinds.reply:
        return this.#asked.takeReply(bytes, from, to);
      case numberedKinds.failure:
        return this.#asked.takeFailure(bytes, from, to);
      case numberedKinds.cancel:
        return this.#served.takeCancel(bytes, from, to);
      case numberedKinds.open:
        return this.#opened.takeOpen(bytes, from, to);
      case numberedKinds.end:
        return this.#opened.takeEnd(bytes, from, to);
      case numberedKinds.abort:
        return this.#opened.takeAbort(bytes, from, to);
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
    return flow === messageFlow ? this.#mail.takeCredit(limit) : this.#opened.takeCredit(flow, limit);
  }
}
