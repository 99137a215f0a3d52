import { type Abortable, unwatchAbort, watchAbort } from "./abort-watch.js";
import { FullmeshError } from "./core/errors.js";
import { errorOf } from "./foreign-errors.js";
import type { Conversation } from "./messaging/conversation.js";
import type { Arrival, Form } from "./messaging/vocabulary.js";
import type { Peer } from "./node-events.js";
import type { Exchange } from "./node-exchange.js";
import { patienceOption, refuseUnknown, signalOption } from "./options.js";
import { numberBytes } from "./protocol/native/numbered.js";
import { bytesOf, formOf, payloadOf } from "./values.js";

/** How long a reply is waited for. */
export interface RequestOptions {
  /** Gives the request up: it fails with `ABORTED`, and the peer is told that nobody waits any more. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the request fails with `TIMED_OUT`, default 30,000. `Infinity` waits as long as the link lives. */
  readonly timeoutMs?: number | undefined;
}

/** What came of asking one of several peers: its reply, or the error. */
export type Outcome<Reply = unknown> =
  | { readonly peer: Peer; readonly reply: Reply }
  | { readonly peer: Peer; readonly error: FullmeshError };

type Ending = Extract<Arrival, { type: "reply" | "failed" }>;

/** In front of the topic: the frame's number and the request's, the form, the length of the topic. */
const headBytes = numberBytes + 6;

const defaultTimeoutMs = 30_000;

/** What a call without options is given: there is nothing to check in it. */
export const noOptions: RequestOptions = Object.freeze({});

/** A request that is under way. */
class Call implements Abortable {
  readonly #calls: Requests;
  readonly #conversation: Conversation;
  readonly #request: number;
  readonly #signal: AbortSignal | undefined;
  readonly resolve: (reply: unknown) => void;
  readonly #reject: (error: FullmeshError) => void;

  constructor(
    calls: Requests,
    conversation: Conversation,
    request: number,
    signal: AbortSignal | undefined,
    resolve: (reply: unknown) => void,
    reject: (error: FullmeshError) => void,
  ) {
    this.#calls = calls;
    this.#conversation = conversation;
    this.#request = request;
    this.#signal = signal;
    this.resolve = resolve;
    this.#reject = reject;
    if (signal !== undefined) watchAbort(signal, this);
  }

  /** The signal says that nobody waits any more. */
  aborted(): void {
    this.settled();
    this.#calls.giveUp(this.#conversation, this.#request);
    this.#reject(abortedError(this.#signal));
  }

  /** It has come to its end, and need not listen any more. */
  settled(): void {
    if (this.#signal !== undefined) unwatchAbort(this.#signal, this);
  }

  reject(error: FullmeshError): void {
    this.#reject(error);
  }
}

/** Whom to ask, and what. */
interface Question {
  readonly topicBytes: Uint8Array;
  readonly form: Form;
  readonly payload: Uint8Array;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
}

/** The requests of a node to its peers. */
export class Requests {
  readonly #exchange: Exchange;
  readonly #calls = new Map<Conversation, Map<number, Call>>();

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** See `MeshNode.request`. */
  request(peer: string | Peer, topic: string, payload: unknown, options: RequestOptions): Promise<unknown> {
    try {
      const conversation = this.#exchange.conversationWith(peer);
      return this.#ask(conversation, this.#question(topic, payload, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** See `MeshNode.requestAll`. */
  async requestAll(topic: string, payload: unknown, options: RequestOptions): Promise<Outcome[]> {
    this.#exchange.requireRunning();
    const question = this.#question(topic, payload, options);
    return await Promise.all(this.#exchange.peers.all.map((peer) => this.#outcome(peer, question)));
  }

  /** A reply has come, or it is certain that none comes. */
  settled(arrival: Ending): void {
    const { from, request } = arrival;
    const call = this.#take(from, request);
    if (call === undefined) return;
    call.settled();
    if (arrival.type === "failed") {
      call.reject(this.#failureOf(arrival));
      return;
    }
    try {
      call.resolve(payloadOf(arrival.form, arrival.payload));
    } catch (error) {
      call.reject(new FullmeshError("BAD_VALUE", `the reply of ${from.peer} cannot be read`, { cause: error }));
    }
  }

  /** Nobody waits for the reply any more. */
  giveUp(conversation: Conversation, request: number): void {
    if (this.#take(conversation, request) === undefined) return;
    conversation.cancel(request);
    this.#exchange.wake();
  }

  /** A link has ended, and with it the requests on it. */
  unlinked(): void {
    for (const [conversation, calls] of this.#calls) if (calls.size === 0) this.#calls.delete(conversation);
  }

  /** Nothing comes any more. */
  closed(): void {
    const calls = [...this.#calls.values()].flatMap((ofOne) => [...ofOne.values()]);
    this.#calls.clear();
    for (const call of calls) {
      call.settled();
      call.reject(this.#exchange.endedError());
    }
  }

  async #outcome(peer: Peer, question: Question): Promise<Outcome> {
    try {
      const reply = await this.#ask(this.#exchange.conversationWith(peer), question);
      return { peer, reply };
    } catch (error) {
      return { peer, error: error as FullmeshError };
    }
  }

  #question(topic: string, payload: unknown, options: RequestOptions): Question {
    if (options !== noOptions) refuseUnknown(options, ["signal", "timeoutMs"]);
    const topicBytes = this.#exchange.topics.bytesOf(topic);
    const form = formOf(payload);
    const bytes = bytesOf(payload, form);
    const most = this.#exchange.limits.messageBytes - headBytes - topicBytes.length;
    if (bytes.length > most) throw this.#exchange.tooLarge(bytes.length, most);
    const { signal, timeoutMs = defaultTimeoutMs } = options;
    signalOption("signal", signal);
    patienceOption("timeoutMs", timeoutMs);
    return { topicBytes, form, payload: bytes, signal, timeoutMs };
  }

  #ask(conversation: Conversation, question: Question): Promise<unknown> {
    const { topicBytes, form, payload, signal, timeoutMs } = question;
    if (signal?.aborted === true) return Promise.reject(abortedError(signal));
    const exchange = this.#exchange;
    const request = conversation.request(topicBytes, form, payload, timeoutMs, exchange.now());
    if (request === "full") {
      const detail = `${conversation.peer} has not replied to as many requests as may be under way, or too much waits for it`;
      return Promise.reject(new FullmeshError("QUEUE_FULL", detail));
    }
    exchange.wake();
    return new Promise((resolve, reject) => {
      const call = new Call(this, conversation, request, signal, resolve, reject);
      const calls = this.#calls.get(conversation);
      if (calls === undefined) this.#calls.set(conversation, new Map([[request, call]]));
      else calls.set(request, call);
    });
  }

  #failureOf({ from, code, message }: Extract<Ending, { type: "failed" }>): FullmeshError {
    // A link that ended because this node did is no failure of the peer's.
    if (code === "PEER_DOWN" && this.#exchange.hasEnded) return this.#exchange.endedError();
    const isOwnWord = code === "PEER_DOWN" || code === "TIMED_OUT";
    return errorOf(code, isOwnWord ? `${from.peer}: ${message}` : message, "HANDLER_FAILED");
  }

  #take(conversation: Conversation, request: number): Call | undefined {
    const calls = this.#calls.get(conversation);
    const call = calls?.get(request);
    calls?.delete(request);
    if (calls?.size === 0 && !conversation.isOpen) this.#calls.delete(conversation);
    return call;
  }
}

function abortedError(signal: AbortSignal | undefined): FullmeshError {
  return new FullmeshError("ABORTED", "the request was given up", { cause: signal?.reason });
}
