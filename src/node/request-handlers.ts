import { isThenable } from "../api/application-calls.js";
import { functionOption } from "../api/options.js";
import { type ErrorCode, FullmeshError, messageOf } from "../core/errors.js";
import { NumberMap } from "../core/number-map.js";
import type { MessagingChannel, MessagingEvent } from "../messaging/messaging-channel.js";
import type { Address } from "../protocol/address.js";
import { detachIfSmall, payloadForms } from "../protocol/native/payload.js";
import { replyFrameBytes } from "../protocol/native/request.js";
import { type StandardSchema, type Validation, validate } from "./contract.js";
import { handlerChannel, isTraced, traced } from "./diagnostics.js";
import type { Peer } from "./events.js";
import type { MessagingContext } from "./messaging-context.js";
import { bytesOf, encodeErrorData, payloadFormOf, payloadOf } from "./payloads.js";
import { codeToSend, dataOf, isForeseen } from "./remote-errors.js";
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
export type RequestHandler<Payload = unknown, Reply = unknown> = (
  payload: Payload,
  context: RequestContext,
) => Reply | PromiseLike<Reply>;

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

/** The payload of a request does not fit its schema. */
class PayloadRefusal extends FullmeshError {}

/** Validates the payload before the handler gets it. */
function validatingHandler(schema: StandardSchema, handler: RequestHandler): RequestHandler {
  return (payload, context) => {
    const handle = (validation: Validation): unknown => {
      if ("value" in validation) return handler(validation.value, context);
      const { message, cause } = validation.error;
      throw new PayloadRefusal("BAD_VALUE", message, { cause });
    };
    const validation = validate(schema, payload, "payload");
    return validation instanceof Promise ? validation.then(handle) : handle(validation);
  };
}

/** What a node answers to its peers. */
export class RequestHandlers {
  readonly #context: MessagingContext;
  readonly #schemas: ReadonlyMap<string, StandardSchema> | undefined;
  readonly #handlers = new Map<string, RequestHandler>();
  /** Requests whose reply is still to come, by channel and number. */
  readonly #open = new Map<MessagingChannel, NumberMap<OpenRequest>>();

  /** `schemas`: of the payloads that are validated, by topic. */
  constructor(context: MessagingContext, schemas: ReadonlyMap<string, StandardSchema> | undefined) {
    this.#context = context;
    this.#schemas = schemas;
  }

  /** See `MeshNode.onRequest`. */
  handle(topic: string, handler: RequestHandler): () => void {
    checkTopic(topic);
    functionOption("handler", handler);
    if (this.#handlers.has(topic)) {
      throw new FullmeshError("WRONG_STEP", `requests of the topic ${JSON.stringify(topic)} are handled already`);
    }
    const schema = this.#schemas?.get(topic);
    const own = schema === undefined ? handler : validatingHandler(schema, handler);
    this.#handlers.set(topic, own);
    return () => {
      if (this.#handlers.get(topic) === own) this.#handlers.delete(topic);
    };
  }

  /** The same for a topic of the library itself, for as long as the node lives. */
  handleReserved(topic: string, handler: RequestHandler): void {
    this.#handlers.set(topic, handler);
  }

  /** A request has come. */
  asked({ from, request, topic, form, payload: bytes }: RequestArrival): void {
    const { peers, limits } = this.#context;
    const peer = peers.at(from.peer as Address);
    const handler = this.#handlers.get(topic);
    if (handler === undefined || peer === undefined) {
      this.#fail(from, request, "NO_HANDLER", `${JSON.stringify(topic)} is not handled here`);
      return;
    }
    let payload: unknown;
    try {
      payload = payloadOf(form, detachIfSmall(bytes), limits.valueBytes);
    } catch (error) {
      this.#refuse(from, request, topic, error as FullmeshError);
      return;
    }
    const open = new OpenRequest(peer, topic);
    let reply: unknown;
    let isLater: boolean;
    try {
      reply = isTraced(handlerChannel)
        ? traced(handlerChannel, { peer: peer.address, topic }, async () => await handler(payload, open))
        : handler(payload, open);
      isLater = isThenable(reply);
    } catch (error) {
      this.#failed(from, request, topic, error);
      return;
    }
    if (isLater) this.#answerLater(from, request, open, reply);
    else this.#reply(from, request, topic, reply);
  }

  /** Nobody waits for the reply to a request any more. */
  cancelled(from: MessagingChannel, request: number): void {
    this.#take(from, request)?.abandon();
  }

  /** Nobody waits for anything any more. */
  closed(): void {
    const requests = [...this.#open.values()].flatMap((ofOne) => ofOne.entries());
    this.#open.clear();
    for (const [, open] of requests) open.abandon();
  }

  #answerLater(from: MessagingChannel, request: number, open: OpenRequest, reply: unknown): void {
    const requests = this.#open.get(from) ?? new NumberMap<OpenRequest>();
    requests.set(request, open);
    this.#open.set(from, requests);
    // An abandoned request is not in the table any more: its late reply is discarded, and its slot becomes free.
    const abandoned = (): void => this.#fail(from, request, "ABORTED", "nobody waits for it");
    void Promise.resolve(reply).then(
      (value) => {
        if (this.#take(from, request) === undefined) abandoned();
        else this.#reply(from, request, open.topic, value);
      },
      (error: unknown) => {
        if (this.#take(from, request) === undefined) abandoned();
        else this.#failed(from, request, open.topic, error);
      },
    );
  }

  #reply(from: MessagingChannel, request: number, topic: string, reply: unknown): void {
    const { limits } = this.#context;
    try {
      const form = payloadFormOf(reply);
      const bytes = bytesOf(reply, form, limits.valueBytes);
      const most = limits.messageBytes - replyFrameBytes;
      if (bytes.length > most) throw this.#context.tooLarge(bytes.length, most);
      from.reply(request, form, bytes);
    } catch (error) {
      if (error instanceof FullmeshError) {
        const message = `the reply of ${this.#context.ownName} to ${JSON.stringify(topic)} cannot be sent: ${error.message}`;
        this.#refuse(from, request, topic, new FullmeshError(error.code, message));
      } else this.#failed(from, request, topic, error);
      return;
    }
    this.#context.wake();
  }

  /** Neither the request nor its reply can be a payload. */
  #refuse(from: MessagingChannel, request: number, topic: string, { code, message }: FullmeshError): void {
    this.#fail(from, request, code, message);
    const failed = `a request of ${from.peer} to ${JSON.stringify(topic)} failed: ${message}`;
    this.#context.log.write({ code: code as ErrorCode, message: failed, remote: from.peer });
  }

  /** The handler has failed: the asker is told, and so is our own log, where somebody can do something about it. */
  #failed(from: MessagingChannel, request: number, topic: string, error: unknown): void {
    if (error instanceof PayloadRefusal) {
      this.#refuse(from, request, topic, error);
      return;
    }
    const code = codeToSend(error, "HANDLER_FAILED");
    const message = messageOf(error);
    const data = dataOf(error);
    const payload = data === undefined ? undefined : encodeErrorData(code, message, data);
    if (payload === undefined) this.#fail(from, request, code, message);
    else {
      from.reply(request, payloadForms.value, payload);
      this.#context.wake();
    }
    const logged = isForeseen(error, code) ? "HANDLER_REFUSED" : "HANDLER_FAILED";
    this.#context.log.writeThrown(`a request of ${from.peer} to ${JSON.stringify(topic)}`, error, from.peer, logged);
  }

  #fail(from: MessagingChannel, request: number, code: string, message: string): void {
    from.fail(request, code, message);
    this.#context.wake();
  }

  #take(from: MessagingChannel, request: number): OpenRequest | undefined {
    const requests = this.#open.get(from);
    const open = requests?.take(request);
    if (requests?.size === 0) this.#open.delete(from);
    return open;
  }
}
