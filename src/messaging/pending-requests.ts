import type { Limits } from "../core/limits.js";
import type { LinkWriter } from "../core/link-handler.js";
import { NumberMap } from "../core/number-map.js";
import type { PayloadForm } from "../protocol/native/payload.js";
import { encodeCancel, encodeRequest, highestRequest } from "../protocol/native/request.js";
import type { PeerBudget } from "./memory-budget.js";

/** A request of ours that has no reply yet. */
export interface PendingRequest {
  readonly request: number;
  /** In milliseconds; Infinity for a wait without a bound. */
  readonly timeoutMs: number;
  /** When that is over. */
  readonly by: number;
  /** Whatever the caller knows its request by. */
  readonly caller: unknown;
}

/** A request that waits for the link to be up. */
interface UnsentRequest {
  readonly topic: Uint8Array;
  readonly form: PayloadForm;
  readonly payload: Uint8Array;
}

/**
 * Our requests to one peer, from the asking to the reply, the failure, the end of the wait or of the link.
 *
 * They come and go by the thousand, and hardly ever run out of time. So there is one timer for all of them, set for the
 * earliest moment at which one may, and a reply does not move it: it then finds nothing due.
 */
export class PendingRequests {
  readonly #link: LinkWriter;
  readonly #limits: Limits;
  readonly #budget: PeerBudget;
  readonly #pending = new NumberMap<PendingRequest>();
  /** Those that wait for the link to be up for the first time, in order. One that ends before is never sent. */
  readonly #unsent = new Map<number, UnsentRequest>();
  #last = 0;
  #expireAt = Number.POSITIVE_INFINITY;

  constructor(link: LinkWriter, limits: Limits, budget: PeerBudget) {
    this.#link = link;
    this.#limits = limits;
    this.#budget = budget;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** When the timer is due; undefined if no request can run out of time. */
  get expireAt(): number | undefined {
    return this.#expireAt === Number.POSITIVE_INFINITY ? undefined : this.#expireAt;
  }

  /** Asks, and returns the number of the request; `full` if too many are under way, or the numbers are used up. */
  ask(
    topic: Uint8Array,
    form: PayloadForm,
    payload: Uint8Array,
    timeoutMs: number,
    now: number,
    caller: unknown,
  ): number | "full" {
    if (this.#pending.size >= this.#limits.requestsInFlight || this.#last >= highestRequest) return "full";
    this.#last += 1;
    const request = this.#last;
    const by = now + timeoutMs;
    this.#pending.set(request, { request, timeoutMs, by, caller });
    this.#expireAt = Math.min(this.#expireAt, by);
    if (this.#link.hasBeenUp) encodeRequest(this.#link, request, topic, form, payload);
    else {
      // It may wait for long, so it is copied.
      this.#unsent.set(request, { topic, form, payload: new Uint8Array(payload) });
      this.#countUnsent(topic.length + payload.length);
    }
    return request;
  }

  /** The link is up for the first time: what has waited for that goes out. */
  up(): void {
    for (const [request, { topic, form, payload }] of this.#unsent) {
      encodeRequest(this.#link, request, topic, form, payload);
    }
    this.#unsent.clear();
    this.#budget.unsentBytes = 0;
  }

  /** Nobody waits any more. */
  cancel(request: number): void {
    const wasSent = !this.#unsent.has(request);
    if (this.settle(request) !== undefined && wasSent) encodeCancel(this.#link, request);
  }

  /** Cancels those whose time is over, and returns them. */
  expire(now: number): PendingRequest[] {
    this.#expireAt = Number.POSITIVE_INFINITY;
    const overdue: PendingRequest[] = [];
    for (const [request, pending] of this.#pending.entries()) {
      if (pending.by > now) this.#expireAt = Math.min(this.#expireAt, pending.by);
      else {
        this.cancel(request);
        overdue.push(pending);
      }
    }
    return overdue;
  }

  /** The link has ended. Returns those that have no reply. */
  end(): PendingRequest[] {
    return this.#pending.entries().map(([request, pending]) => {
      this.settle(request);
      return pending;
    });
  }

  /** Takes a request out; undefined if there is none of this number: every wait may have ended before its reply. */
  settle(request: number): PendingRequest | undefined {
    const unsent = this.#unsent.size === 0 ? undefined : this.#unsent.get(request);
    if (unsent !== undefined) {
      this.#unsent.delete(request);
      this.#countUnsent(-unsent.topic.length - unsent.payload.length);
    }
    return this.#pending.take(request);
  }

  #countUnsent(bytes: number): void {
    this.#budget.unsentBytes += bytes;
    this.#budget.countBeforeUp();
  }
}
