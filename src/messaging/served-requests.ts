import { NumberMap } from "../core/number-map.js";
import { numberedKinds } from "../protocol/native/numbered-frames.js";
import { payloadForms } from "../protocol/native/payload.js";
import { decodeCancel, decodeRequest, encodeFailure, encodeReply } from "../protocol/native/request.js";
import { weighValue } from "../protocol/native/value.js";
import type { ChannelContext, PayloadForm } from "./types.js";

/** What a request in work takes beside its payload: its objects, the promise of the handler, and the signal. */
const openRequestBytes = 1_024;

/** A request of the peer that the application has in work. */
interface ServedRequest {
  /** What it weighs. */
  readonly bytes: number;
  /** False once it has been cancelled. It counts on, because the application may go on with it, and have what came. */
  isWanted: boolean;
}

/** The requests of one peer, from their arrival to the application's answer, or the end of the link. */
export class ServedRequests {
  readonly #channel: ChannelContext;
  readonly #open = new NumberMap<ServedRequest>();
  #bytes = 0;
  #last = 0;

  constructor(channel: ChannelContext) {
    this.#channel = channel;
  }

  /** How many are in work, those included that have been cancelled. */
  get size(): number {
    return this.#open.size;
  }

  takeRequest(bytes: Uint8Array, from: number, to: number): string | undefined {
    const asked = decodeRequest(bytes, from, to);
    if (typeof asked === "string") return asked;
    const { request, topic, form, payload } = asked;
    if (request <= this.#last) return `request ${request} came after ${this.#last}`;
    this.#last = request;
    const channel = this.#channel;
    const weight = to - from + this.#weigh(form, payload);
    if (this.#isFull(weight) || channel.isBehind) return channel.refuse(numberedKinds.failure, request);
    this.#open.set(request, { bytes: weight, isWanted: true });
    this.#bytes += weight;
    channel.budget.change(weight + openRequestBytes);
    channel.outputs.push({ type: "request", from: channel, request, topic, form, payload });
    return undefined;
  }

  /** A cancel may cross our reply, so one for nothing is ignored. */
  takeCancel(bytes: Uint8Array, from: number, to: number): string | undefined {
    const request = decodeCancel(bytes, from, to);
    if (typeof request === "string") return request;
    const answer = this.#open.get(request);
    if (answer?.isWanted !== true) return undefined;
    answer.isWanted = false;
    this.#reportCancelled(request);
    return undefined;
  }

  /**
   * Answers a request, unless nobody waits for that any more. A peer that asks for more than it reads gets no more of what
   * we would have to keep for it.
   */
  reply(request: number, form: PayloadForm, payload: Uint8Array): void {
    const { link, budget, isBehind } = this.#channel;
    if (!this.#settle(request)) return;
    if (!isBehind && payload.length <= budget.room) encodeReply(link, request, form, payload);
    else encodeFailure(link, { number: request, code: "OVERLOADED", message: "too many replies wait to be read" });
  }

  fail(request: number, code: string, message: string): void {
    if (this.#settle(request)) encodeFailure(this.#channel.link, { number: request, code, message });
  }

  /** The link has ended. What is in work counts until the application is through with it. */
  end(): void {
    for (const [request, answer] of this.#open.entries()) {
      if (answer.isWanted) this.#reportCancelled(request);
      answer.isWanted = false;
    }
  }

  /** One more that weighs so much would be too much for this peer, where one alone never is, or for all of them. */
  #isFull(weight: number): boolean {
    const { limits, budget } = this.#channel;
    const { size } = this.#open;
    const isTooMuch = size > 0 && this.#bytes + weight > limits.requestsServedBytes;
    return size >= limits.requestsServed || isTooMuch || weight + openRequestBytes > budget.room;
  }

  /** What the application is given takes beside the bytes that came; nothing if it is too heavy to be made. */
  #weigh(form: PayloadForm, payload: Uint8Array): number {
    if (form !== payloadForms.value) return 0;
    const { valueBytes } = this.#channel.limits;
    const weight = weighValue(payload, valueBytes) ?? 0;
    return weight > valueBytes ? 0 : weight;
  }

  /** The application is through with a request. True if somebody waits for what has come of it. */
  #settle(request: number): boolean {
    const answer = this.#open.take(request);
    if (answer === undefined) return false;
    this.#bytes -= answer.bytes;
    this.#channel.budget.change(-answer.bytes - openRequestBytes);
    return answer.isWanted;
  }

  #reportCancelled(request: number): void {
    this.#channel.outputs.push({ type: "cancelled", from: this.#channel, request });
  }
}
