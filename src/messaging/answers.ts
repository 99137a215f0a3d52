import { numberedKinds } from "../protocol/native/numbered.js";
import { decodeCancel, decodeRequest, encodeFailure, encodeReply } from "../protocol/native/request.js";
import type { Ports } from "./ports.js";
import type { Refusals } from "./refusals.js";
import type { Form } from "./vocabulary.js";

/** The requests of one peer, from their coming to our reply, the peer's cancel or the link's end. */
export class Answers {
  readonly #ports: Ports;
  readonly #refusals: Refusals;
  readonly #open = new Set<number>();
  #last = 0;

  constructor(ports: Ports, refusals: Refusals) {
    this.#ports = ports;
    this.#refusals = refusals;
  }

  get size(): number {
    return this.#open.size;
  }

  takeRequest(bytes: Uint8Array, from: number, to: number): string | undefined {
    const asked = decodeRequest(bytes, from, to);
    if (typeof asked === "string") return asked;
    const { request, topic, form, payload } = asked;
    if (request <= this.#last) return `request ${request} came after ${this.#last}`;
    this.#last = request;
    const { conversation, limits, outputs } = this.#ports;
    if (this.#open.size >= limits.requestsServed || this.#refusals.isDue) {
      return this.#refusals.refuse(numberedKinds.failure, request);
    }
    this.#open.add(request);
    outputs.push({ type: "request", from: conversation, request, topic, form, payload });
    return undefined;
  }

  /** A cancel may cross our reply, so one for nothing is ignored. */
  takeCancel(bytes: Uint8Array, from: number, to: number): string | undefined {
    const request = decodeCancel(bytes, from, to);
    if (typeof request === "string") return request;
    if (this.#open.delete(request)) this.#tellCancelled(request);
    return undefined;
  }

  /** Answers a request, unless nobody waits for that any more. */
  reply(request: number, form: Form, payload: Uint8Array): void {
    const { carriage } = this.#ports;
    if (this.#open.delete(request)) encodeReply(carriage, request, form, payload);
  }

  fail(request: number, code: string, message: string): void {
    const { carriage } = this.#ports;
    if (this.#open.delete(request)) encodeFailure(carriage, { number: request, code, message });
  }

  end(): void {
    const open = [...this.#open];
    this.#open.clear();
    for (const request of open) this.#tellCancelled(request);
  }

  #tellCancelled(request: number): void {
    this.#ports.outputs.push({ type: "cancelled", from: this.#ports.conversation, request });
  }
}
