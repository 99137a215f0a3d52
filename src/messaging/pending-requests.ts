import { NumberMap } from "../core/number-map.js";
import { decodeFailure, decodeReply, encodeCancel, encodeRequest, highestRequest } from "../protocol/native/request.js";
import type { ChannelContext } from "./channel-context.js";
import type { PayloadKind } from "./types.js";

/** A request of ours that has no reply yet. */
interface PendingRequest {
  /** In milliseconds; Infinity for a wait without a bound. */
  readonly timeoutMs: number;
  /** When that is over. */
  readonly by: number;
  /** Whatever the asker knows its request by. */
  readonly caller: unknown;
}

/** A request that waits for the link to be up. */
interface UnsentRequest {
  readonly topic: Uint8Array;
  readonly form: PayloadKind;
  readonly payload: Uint8Array;
}

/** Our requests to one peer, from the asking to the reply, the failure, the wait's end or the link's. */
export class PendingRequests {
  readonly #ports: ChannelContext;
  readonly #calls = new NumberMap<PendingRequest>();
  /** Those that wait for the link to be up for the first time, in order. One that ends before is never sent. */
  readonly #unsent = new Map<number, UnsentRequest>();
  #unsentBytes = 0;
  #last = 0;

  constructor(ports: ChannelContext) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Bytes of requests that wait for the link to be up. */
  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  /** Asks, and returns the number of the request; `full` if too many are under way, or the numbers are used up. */
  ask(
    topic: Uint8Array,
    form: PayloadKind,
    payload: Uint8Array,
    timeoutMs: number,
    now: number,
    caller: unknown,
  ): number | "full" {
    const { carriage, patience, limits } = this.#ports;
    if (this.#calls.size >= limits.requestsInFlight || this.#last >= highestRequest) return "full";
    this.#last += 1;
    const request = this.#last;
    const by = now + timeoutMs;
    this.#calls.set(request, { timeoutMs, by, caller });
    patience.begin(by);
    if (carriage.hasBeenUp) encodeRequest(carriage, request, topic, form, payload);
    else {
      // It may wait for long, so it is copied.
      this.#unsent.set(request, { topic, form, payload: new Uint8Array(payload) });
      this.#unsentBytes += topic.length + payload.length;
    }
    return request;
  }

  /** The link is up for the first time: what has waited for that goes out. */
  up(): void {
    for (const [request, { topic, form, payload }] of this.#unsent) {
      encodeRequest(this.#ports.carriage, request, topic, form, payload);
    }
    this.#unsent.clear();
    this.#unsentBytes = 0;
  }

  /** Nobody waits any more. */
  cancel(request: number): void {
    const wasSent = !this.#unsent.has(request);
    if (this.#settle(request) !== undefined && wasSent) this.#tellCancel(request);
  }

  /** Gives up those whose time is over. */
  expire(now: number): void {
    for (const [request, { by, timeoutMs, caller }] of this.#calls.entries()) {
      if (by > now) {
        this.#ports.patience.lookAt(by);
        continue;
      }
      const wasSent = !this.#unsent.has(request);
      this.#settle(request);
      if (wasSent) this.#tellCancel(request);
      this.#fail(request, caller, true, "TIMED_OUT", `there was no reply within ${timeoutMs} ms`);
    }
  }

  /** A reply to nothing comes after every wait that has ended before its reply; it is ignored. */
  takeReply(bytes: Uint8Array, from: number, to: number): string | undefined {
    const reply = decodeReply(bytes, from, to);
    if (typeof reply === "string") return reply;
    const { request, form, payload } = reply;
    const call = this.#settle(request);
    if (call === undefined) return undefined;
    const { caller } = call;
    this.#ports.outputs.push({ type: "reply", from: this.#ports.conversation, request, caller, form, payload });
    return undefined;
  }

  takeFailure(bytes: Uint8Array, from: number, to: number): string | undefined {
    const failure = decodeFailure(bytes, from, to);
    if (typeof failure === "string") return failure;
    const call = this.#settle(failure.number);
    if (call !== undefined) this.#fail(failure.number, call.caller, false, failure.code, failure.message);
    return undefined;
  }

  /** The link has ended. */
  end(reason: string): void {
    for (const [request, { caller }] of this.#calls.entries()) {
      this.#settle(request);
      this.#fail(request, caller, true, "PEER_DOWN", reason);
    }
  }

  /** Takes the call out; undefined if there is none of this number. */
  #settle(request: number): PendingRequest | undefined {
    const call = this.#calls.take(request);
    if (call !== undefined) this.#ports.patience.end();
    const unsent = this.#unsent.get(request);
    if (unsent !== undefined) this.#unsentBytes -= unsent.topic.length + unsent.payload.length;
    this.#unsent.delete(request);
    return call;
  }

  #tellCancel(request: number): void {
    encodeCancel(this.#ports.carriage, request);
  }

  #fail(request: number, caller: unknown, isOwn: boolean, code: string, message: string): void {
    this.#ports.outputs.push({ type: "failed", from: this.#ports.conversation, request, caller, isOwn, code, message });
  }
}
