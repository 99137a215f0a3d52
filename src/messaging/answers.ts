import { NumberMap } from "../core/number-map.js";
import { numberedKinds } from "../protocol/native/numbered.js";
import { decodeCancel, decodeRequest, encodeFailure, encodeReply } from "../protocol/native/request.js";
import type { Ports } from "./ports.js";
import type { Refusals } from "./refusals.js";
import type { Form } from "./vocabulary.js";

/** A request of the peer that the application has in work. */
interface Answer {
  /** Of its content. */
  readonly bytes: number;
  /** False once it has been cancelled. It counts on, because the application may go on with it, and have what came. */
  isWanted: boolean;
}

/** The requests of one peer, from their coming to what the application says to them, or the link's end. */
export class Answers {
  readonly #ports: Ports;
  readonly #refusals: Refusals;
  readonly #open = new NumberMap<Answer>();
  #bytes = 0;
  #last = 0;

  constructor(ports: Ports, refusals: Refusals) {
    this.#ports = ports;
    this.#refusals = refusals;
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
    const { conversation, outputs } = this.#ports;
    const length = to - from;
    if (this.#isFull(length) || this.#refusals.isDue) return this.#refusals.refuse(numberedKinds.failure, request);
    this.#open.set(request, { bytes: length, isWanted: true });
    this.#bytes += length;
    outputs.push({ type: "request", from: conversation, request, topic, form, payload });
    return undefined;
  }

  /** A cancel may cross our reply, so one for nothing is ignored. */
  takeCancel(bytes: Uint8Array, from: number, to: number): string | undefined {
    const request = decodeCancel(bytes, from, to);
    if (typeof request === "string") return request;
    const answer = this.#open.get(request);
    if (answer?.isWanted !== true) return undefined;
    answer.isWanted = false;
    this.#tellCancelled(request);
    return undefined;
  }

  /**
   * Answers a request, unless nobody waits for that any more. A peer that asks for more than it reads gets no more of what
   * we would have to keep for it.
   */
  reply(request: number, form: Form, payload: Uint8Array): void {
    const { carriage } = this.#ports;
    if (!this.#settle(request)) return;
    if (!this.#refusals.isDue) encodeReply(carriage, request, form, payload);
    else encodeFailure(carriage, { number: request, code: "OVERLOADED", message: "too many replies wait to be read" });
  }

  fail(request: number, code: string, message: string): void {
    const { carriage } = this.#ports;
    if (this.#settle(request)) encodeFailure(carriage, { number: request, code, message });
  }

  end(): void {
    const open = this.#open.entries();
    this.#open.clear();
    this.#bytes = 0;
    for (const [request, { isWanted }] of open) if (isWanted) this.#tellCancelled(request);
  }

  /** One more of so many bytes would be too much. One alone never is, or it could never be served. */
  #isFull(bytes: number): boolean {
    const { requestsServed, requestsServedBytes } = this.#ports.limits;
    const { size } = this.#open;
    return size >= requestsServed || (size > 0 && this.#bytes + bytes > requestsServedBytes);
  }

  /** The application is through with a request. True if somebody waits for what has come of it. */
  #settle(request: number): boolean {
    const answer = this.#open.take(request);
    if (answer === undefined) return false;
    this.#bytes -= answer.bytes;
    return answer.isWanted;
  }

  #tellCancelled(request: number): void {
    this.#ports.outputs.push({ type: "cancelled", from: this.#ports.conversation, request });
  }
}
