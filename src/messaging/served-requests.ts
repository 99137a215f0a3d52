import type { Limits } from "../core/limits.js";
import type { LinkWriter } from "../core/link-handler.js";
import { NumberMap } from "../core/number-map.js";
import { type PayloadForm, payloadForms } from "../protocol/native/payload.js";
import { encodeFailure, encodeReply, type RequestFrame } from "../protocol/native/request.js";
import { weighValue } from "../protocol/native/value.js";
import type { PeerBudget } from "./memory-budget.js";

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
  readonly #link: LinkWriter;
  readonly #limits: Limits;
  readonly #budget: PeerBudget;
  readonly #open = new NumberMap<ServedRequest>();
  #bytes = 0;
  #last = 0;

  constructor(link: LinkWriter, limits: Limits, budget: PeerBudget) {
    this.#link = link;
    this.#limits = limits;
    this.#budget = budget;
  }

  /** How many are in work, those included that have been cancelled. */
  get size(): number {
    return this.#open.size;
  }

  /** A request has come, in so many bytes. False if it is to be refused; or what is wrong with it. */
  take({ request, form, payload }: RequestFrame, bytes: number): boolean | string {
    if (request <= this.#last) return `request ${request} came after ${this.#last}`;
    this.#last = request;
    const weight = bytes + this.#weigh(form, payload);
    if (this.#isFull(weight) || this.#budget.isBehind) return false;
    this.#open.set(request, { bytes: weight, isWanted: true });
    this.#bytes += weight;
    this.#budget.change(weight + openRequestBytes);
    return true;
  }

  /** Nobody waits for it any more. False if it is not in work: a cancel may cross our reply. */
  cancel(request: number): boolean {
    const answer = this.#open.get(request);
    if (answer?.isWanted !== true) return false;
    answer.isWanted = false;
    return true;
  }

  /**
   * Answers a request, unless nobody waits for that any more. A peer that asks for more than it reads gets no more of what
   * we would have to keep for it.
   */
  reply(request: number, form: PayloadForm, payload: Uint8Array): void {
    const link = this.#link;
    const budget = this.#budget;
    if (!this.#settle(request)) return;
    if (!budget.isBehind && payload.length <= budget.room) encodeReply(link, request, form, payload);
    else encodeFailure(link, { number: request, code: "OVERLOADED", message: "too many replies wait to be read" });
  }

  fail(request: number, code: string, message: string): void {
    if (this.#settle(request)) encodeFailure(this.#link, { number: request, code, message });
  }

  /** The link has ended. Returns what is in work; it counts until the application is through with it. */
  end(): number[] {
    return this.#open.entries().flatMap(([request]) => (this.cancel(request) ? [request] : []));
  }

  /** One more that weighs so much would be too much for this peer, where one alone never is, or for all of them. */
  #isFull(weight: number): boolean {
    const { requestsServed, requestsServedBytes } = this.#limits;
    const { size } = this.#open;
    const isTooMuch = size > 0 && this.#bytes + weight > requestsServedBytes;
    return size >= requestsServed || isTooMuch || weight + openRequestBytes > this.#budget.room;
  }

  /** What the application is given takes beside the bytes that came; nothing if it is too heavy to be made. */
  #weigh(form: PayloadForm, payload: Uint8Array): number {
    if (form !== payloadForms.value) return 0;
    const { valueBytes } = this.#limits;
    const weight = weighValue(payload, valueBytes) ?? 0;
    return weight > valueBytes ? 0 : weight;
  }

  /** The application is through with a request. True if somebody waits for what has come of it. */
  #settle(request: number): boolean {
    const answer = this.#open.take(request);
    if (answer === undefined) return false;
    this.#bytes -= answer.bytes;
    this.#budget.change(-answer.bytes - openRequestBytes);
    return answer.isWanted;
  }
}
