import { NumberMap } from "../core/number-map.js";
import { decodeFailure, decodeReply, encodeCancel, encodeRequest, highestRequest } from "../protocol/native/request.js";
import type { ChannelContext, PayloadForm } from "./types.js";

/** A request of ours that has no reply yet. */
interface PendingRequest {
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
  readonly #channel: ChannelContext;
  readonly #pending = new NumberMap<PendingRequest>();
  /** Those that wait for the link to be up for the first time, in order. One that ends before is never sent. */
  readonly #unsent = new Map<number, UnsentRequest>();
  #unsentBytes = 0;
  #last = 0;
  /** When the timer is due. */
  #expireAt = Number.POSITIVE_INFINITY;

  constructor(channel: ChannelContext) {
    this.#channel = channel;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Bytes of requests that wait for the link to be up. */
  get unsentBytes(): number {
    return this.#unsentBytes;
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
    const { link, limits } = this.#channel;
    if (this.#pending.size >= limits.requestsInFlight || this.#last >= highestRequest) return "full";
    this.#last += 1;
    const request = this.#last;
    const by = now + timeoutMs;
    this.#pending.set(request, { timeoutMs, by, caller });
    this.#expire(by);
    if (link.hasBeenUp) encodeRequest(link, request, topic, form, payload);
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
      encodeRequest(this.#channel.link, request, topic, form, payload);
    }
    this.#unsent.clear();
    this.#unsentBytes = 0;
  }

  /** Nobody waits any more. */
  cancel(request: number): void {
    const wasSent = !this.#unsent.has(request);
    if (this.#settle(request) !== undefined && wasSent) encodeCancel(this.#channel.link, request);
  }

  /** Fails those whose time is over. */
  expire(now: number): void {
    this.#expireAt = Number.POSITIVE_INFINITY;
    for (const [request, { by, timeoutMs, caller }] of this.#pending.entries()) {
      if (by > now) {
        this.#expire(by);
        continue;
      }
      this.cancel(request);
      this.#fail(request, caller, true, "TIMED_OUT", `there was no reply within ${timeoutMs} ms`);
    }
  }

  /** A reply to nothing comes after every wait that has ended before its reply; it is ignored. */
  takeReply(bytes: Uint8Array, from: number, to: number): string | undefined {
    const reply = decodeReply(bytes, from, to);
    if (typeof reply === "string") return reply;
    const { request, form, payload } = reply;
    const pending = this.#settle(request);
    if (pending === undefined) return undefined;
    const { caller } = pending;
    this.#channel.outputs.push({ type: "reply", from: this.#channel, request, caller, form, payload });
    return undefined;
  }

  takeFailure(bytes: Uint8Array, from: number, to: number): string | undefined {
    const failure = decodeFailure(bytes, from, to);
    if (typeof failure === "string") return failure;
    const pending = this.#settle(failure.number);
    if (pending !== undefined) this.#fail(failure.number, pending.caller, false, failure.code, failure.message);
    return undefined;
  }

  /** The link has ended. */
  end(reason: string): void {
    for (const [request, { caller }] of this.#pending.entries()) {
      this.#settle(request);
      this.#fail(request, caller, true, "PEER_DOWN", reason);
    }
  }

  /** Sees to it that the timer is due at this moment or before. */
  #expire(at: number): void {
    if (at >= this.#expireAt) return;
    this.#expireAt = at;
    this.#channel.expireAt(at);
  }

  /** Takes a request out; undefined if there is none of this number. */
  #settle(request: number): PendingRequest | undefined {
    const unsent = this.#unsent.size === 0 ? undefined : this.#unsent.get(request);
    if (unsent !== undefined) {
      this.#unsent.delete(request);
      this.#countUnsent(-unsent.topic.length - unsent.payload.length);
    }
    return this.#pending.take(request);
  }

  #countUnsent(bytes: number): void {
    this.#unsentBytes += bytes;
    this.#channel.countBeforeUp();
  }

  #fail(request: number, caller: unknown, isOwn: boolean, code: string, message: string): void {
    this.#channel.outputs.push({ type: "failed", from: this.#channel, request, caller, isOwn, code, message });
  }
}
