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

/** Our requests to one peer, from the asking to the reply, the failure, the wait's end or the link's. */
export class PendingRequests {
  readonly #ports: ChannelContext;
  readonly #calls = new NumberMap<PendingRequest>();
  #last = 0;

  constructor(ports: ChannelContext) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#calls.size;
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
    encodeRequest(carriage, request, topic, form, payload);
    return request;
  }

  /** Nobody waits any more. */
  cancel(request: number): void {
    if (this.#settle(request) !== undefined) this.#tellCancel(request);
  }

  /** Gives up those whose time is over. */
  expire(now: number): void {
    for (const [request, { by, timeoutMs, caller }] of this.#calls.entries()) {
      if (by > now) {
        this.#ports.patience.lookAt(by);
        continue;
      }
      this.#settle(request);
      this.#tellCancel(request);
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
    return call;
  }

  #tellCancel(request: number): void {
    encodeCancel(this.#ports.carriage, request);
  }

  #fail(request: number, caller: unknown, isOwn: boolean, code: string, message: string): void {
    this.#ports.outputs.push({ type: "failed", from: this.#ports.conversation, request, caller, isOwn, code, message });
  }
}
