import { functionOption } from "../api/options.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import { NumberMap } from "../core/number-map.js";
import type { MessagingEvent, PeerChannel } from "../messaging/types.js";
import type { Address } from "../protocol/address.js";
import { detachIfSmall } from "../protocol/native/payload.js";
import { replyFrameBytes } from "../protocol/native/request.js";
import type { Peer } from "./events.js";
import type { MessagingContext } from "./messaging-context.js";
import { bytesOf, payloadKindOf, payloadOf } from "./payloads.js";
import { messageOf, reasonOf } from "./remote-errors.js";
import { checkTopic } from "./topics.js";

/** Who asks, and for how long. */
export interface RequestContext {
  readonly peer: Peer;
  readonly topic: string;
  /**
   * Aborted when nobody waits for the reply any more: the asker has given the request up, its time has run out, or the link
   * with the asker has ended. A request counts as in work until its handler is through with it all the same.
   */
  readonly signal: AbortSignal;
}

/** Answers requests: what it returns is the reply, and what it throws is the error that the asker gets. */
export type RequestHandler<Payload = unknown> = (payload: Payload, inquiry: RequestContext) => unknown;

type RequestArrival = Extract<MessagingEvent, { type: "request" }>;

/** A request in work. Most of them never look at their signal, so it is made when somebody does. */
class OpenRequest implements RequestContext {
  readonly peer: Peer;
  readonly topic: string;
  #controller: AbortController | undefined;
  #isAbandoned = false;

  constructor(peer: Peer, topic: string) {
    this.peer = peer;
    this.topic = topic;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isAbandoned) this.#abort();
    }
    return this.#controller.signal;
  }

  /** Nobody waits for the reply any more. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#abort();
  }

  #abort(): void {
    this.#controller?.abort(new FullmeshError("ABORTED", `${this.peer.address} does not wait for the reply any more`));
  }
}

/** What a node answers to its peers. */
export class RequestHandlers {
  readonly #exchange: MessagingContext;
  readonly #answerers = new Map<string, RequestHandler>();
  /** Requests whose answer is being made, by conversation and number. */
  readonly #open = new Map<PeerChannel, NumberMap<OpenRequest>>();

  constructor(exchange: MessagingContext) {
    this.#exchange = exchange;
  }

  /** See `MeshNode.handle`. */
  handle(topic: string, answerer: RequestHandler): () => void {
    checkTopic(topic);
    functionOption("answerer", answerer);
    if (this.#answerers.has(topic)) {
      throw new FullmeshError("WRONG_STEP", `requests of the topic ${JSON.stringify(topic)} are handled already`);
    }
    this.#answerers.set(topic, answerer);
    return () => {
      if (this.#answerers.get(topic) === answerer) this.#answerers.delete(topic);
    };
  }

  /** A request has come. */
  asked(arrival: RequestArrival): void {
    const { from, request, topic } = arrival;
    const peer = this.#exchange.peers.at(from.peer as Address);
    const answerer = this.#answerers.get(topic);
    if (answerer === undefined || peer === undefined) {
      this.#fail(from, request, "NO_HANDLER", `${JSON.stringify(topic)} is not handled here`);
      return;
    }
    const inquiry = new OpenRequest(peer, topic);
    let reply: unknown;
    let isLater: boolean;
    try {
      reply = answerer(
        payloadOf(arrival.form, detachIfSmall(arrival.payload), this.#exchange.limits.valueBytes),
        inquiry,
      );
      isLater = isThenable(reply);
    } catch (error) {
      this.#failed(from, request, topic, error);
      return;
    }
    if (isLater) this.#answerLater(from, request, inquiry, reply);
    else this.#reply(from, request, topic, reply);
  }

  /** Nobody waits for the reply to a request any more. */
  cancelled(from: PeerChannel, request: number): void {
    this.#take(from, request)?.abandon();
  }

  /** Nobody waits for anything any more. */
  closed(): void {
    const inquiries = [...this.#open.values()].flatMap((ofOne) => ofOne.entries());
    this.#open.clear();
    for (const [, inquiry] of inquiries) inquiry.abandon();
  }

  #answerLater(from: PeerChannel, request: number, inquiry: OpenRequest, reply: unknown): void {
    const inquiries = this.#open.get(from) ?? new NumberMap<OpenRequest>();
    inquiries.set(request, inquiry);
    this.#open.set(from, inquiries);
    // Whoever has been abandoned is not in the table any more, and its reply is nobody's; but only now is it out of work.
    const abandoned = (): void => this.#fail(from, request, "ABORTED", "nobody waits for it");
    void Promise.resolve(reply).then(
      (value) => {
        if (this.#take(from, request) === undefined) abandoned();
        else this.#reply(from, request, inquiry.topic, value);
      },
      (error: unknown) => {
        if (this.#take(from, request) === undefined) abandoned();
        else this.#failed(from, request, inquiry.topic, error);
      },
    );
  }

  #reply(from: PeerChannel, request: number, topic: string, reply: unknown): void {
    const exchange = this.#exchange;
    try {
      const form = payloadKindOf(reply);
      const bytes = bytesOf(reply, form, exchange.limits.valueBytes);
      const most = exchange.limits.messageBytes - replyFrameBytes;
      if (bytes.length > most) throw exchange.tooLarge(bytes.length, most);
      from.reply(request, form, bytes);
    } catch (error) {
      this.#failed(from, request, topic, error);
      return;
    }
    exchange.wake();
  }

  /** An error has come of it: the asker is told, and so is our own log, where somebody can do something about it. */
  #failed(from: PeerChannel, request: number, topic: string, error: unknown): void {
    const { code, message } = reasonOf(error, "HANDLER_FAILED");
    this.#fail(from, request, code, message);
    const detail = `a request of ${from.peer} to ${JSON.stringify(topic)} failed: ${messageOf(error)}`;
    this.#exchange.note({ code, message: detail, remote: from.peer });
  }

  #fail(from: PeerChannel, request: number, code: ErrorCode, message: string): void {
    from.fail(request, code, message);
    this.#exchange.wake();
  }

  #take(from: PeerChannel, request: number): OpenRequest | undefined {
    const inquiries = this.#open.get(from);
    const inquiry = inquiries?.take(request);
    if (inquiries?.size === 0) this.#open.delete(from);
    return inquiry;
  }
}

/** Throws what a getter of `then` throws. */
function isThenable(value: unknown): boolean {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
