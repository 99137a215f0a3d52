import { decodeFailure, decodeReply, encodeCancel, encodeRequest, highestRequest } from "../protocol/native/request.js";
import type { Ports } from "./ports.js";
import type { Form } from "./vocabulary.js";

/** A request of ours that has no reply yet. */
export interface Call {
  readonly calls: Calls;
  readonly request: number;
  /** In milliseconds; Infinity for a wait without a bound. */
  readonly timeoutMs: number;
}

/** Our requests to one peer, from the asking to the reply, the failure, the wait's end or the link's. */
export class Calls {
  readonly #ports: Ports;
  readonly #calls = new Map<number, Call>();
  #last = 0;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Asks, and returns the number of the request; `full` if too many are under way, or the numbers are used up. */
  ask(topic: Uint8Array, form: Form, payload: Uint8Array, timeoutMs: number, now: number): number | "full" {
    const { carriage, deadlines, limits } = this.#ports;
    if (this.#calls.size >= limits.requestsInFlight || this.#last >= highestRequest) return "full";
    this.#last += 1;
    const request = this.#last;
    const call: Call = { calls: this, request, timeoutMs };
    this.#calls.set(request, call);
    if (timeoutMs !== Number.POSITIVE_INFINITY) deadlines.set(call, now + timeoutMs);
    encodeRequest(carriage, request, topic, form, payload);
    return request;
  }

  /** Nobody waits any more. */
  cancel(request: number): void {
    if (this.#settle(request)) this.#tellCancel(request);
  }

  /** The time of a call is up. */
  expire({ request, timeoutMs }: Call): void {
    if (!this.#settle(request)) return;
    this.#tellCancel(request);
    this.#fail(request, "TIMED_OUT", `there was no reply within ${timeoutMs} ms`);
  }

  /** A reply to nothing comes after every wait that has ended before its reply; it is ignored. */
  takeReply(bytes: Uint8Array, from: number, to: number): string | undefined {
    const reply = decodeReply(bytes, from, to);
    if (typeof reply === "string") return reply;
    const { request, form, payload } = reply;
    if (!this.#settle(request)) return undefined;
    this.#ports.outputs.push({ type: "reply", from: this.#ports.conversation, request, form, payload });
    return undefined;
  }

  takeFailure(bytes: Uint8Array, from: number, to: number): string | undefined {
    const failure = decodeFailure(bytes, from, to);
    if (typeof failure === "string") return failure;
    if (this.#settle(failure.number)) this.#fail(failure.number, failure.code, failure.message);
    return undefined;
  }

  /** The link has ended. */
  end(reason: string): void {
    for (const request of [...this.#calls.keys()]) {
      this.#settle(request);
      this.#fail(request, "PEER_DOWN", reason);
    }
  }

  /** False if there is no such call. */
  #settle(request: number): boolean {
    const call = this.#calls.get(request);
    if (call === undefined) return false;
    this.#calls.delete(request);
    this.#ports.deadlines.clear(call);
    return true;
  }

  #tellCancel(request: number): void {
    encodeCancel(this.#ports.carriage, request);
  }

  #fail(request: number, code: string, message: string): void {
    this.#ports.outputs.push({ type: "failed", from: this.#ports.conversation, request, code, message });
  }
}
