import { rejection } from "../api/call-stack.js";
import { refuseUnknown, signalOption, waitOption } from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import type { MessagingChannel, MessagingEvent } from "../messaging/messaging-channel.js";
import type { PayloadForm } from "../protocol/native/payload.js";
import { payloadForms } from "../protocol/native/payload.js";
import { requestFrameBytes } from "../protocol/native/request.js";
import { type Abortable, unwatchAbort, watchAbort } from "./abort-watch.js";
import { type StandardSchema, validate } from "./contract.js";
import { isTraced, requestChannel, traced } from "./diagnostics.js";
import type { Peer } from "./events.js";
import type { MessagingContext } from "./messaging-context.js";
import { bytesOf, payloadFormOf, payloadOf } from "./payloads.js";
import type { PeerName } from "./peers.js";
import { errorFromPeer, errorInReply } from "./remote-errors.js";

/** How long a reply is waited for. */
export interface RequestOptions {
  /** Gives the request up: it fails with `ABORTED`, and the peer is told that nobody waits any more. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the request fails with `TIMED_OUT`, default 30,000. `Infinity` waits as long as the link lives. */
  readonly timeoutMs?: number | undefined;
}

/** What came of asking one of several peers: its reply, or the error. */
export type RequestOutcome<Reply = unknown> =
  | { readonly peer: Peer; readonly reply: Reply }
  | { readonly peer: Peer; readonly error: FullmeshError };

type RequestEnd = Extract<MessagingEvent, { type: "reply" | "failed" }>;

const defaultTimeoutMs = 30_000;

/** What a call without options is given: there is nothing to check in it. */
export const noOptions: RequestOptions = Object.freeze({});

/** A request that is under way. */
class OutgoingRequest implements Abortable {
  readonly #channel: MessagingChannel;
  readonly #wake: () => void;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (reply: unknown) => void;
  #request = 0;

  constructor(
    channel: MessagingChannel,
    wake: () => void,
    signal: AbortSignal | undefined,
    resolve: (reply: unknown) => void,
  ) {
    this.#channel = channel;
    this.#wake = wake;
    this.#signal = signal;
    this.#resolve = resolve;
  }

  /** It has been asked, under this number. */
  begin(request: number): void {
    this.#request = request;
    if (this.#signal !== undefined) watchAbort(this.#signal, this);
  }

  /** The signal says that nobody waits any more; the peer is told so. */
  aborted(): void {
    this.#channel.cancel(this.#request);
    this.#wake();
    this.reject(abortedError(this.#signal));
  }

  resolve(reply: unknown): void {
    if (this.#signal !== undefined) unwatchAbort(this.#signal, this);
    this.#resolve(reply);
  }

  reject(error: FullmeshError): void {
    if (this.#signal !== undefined) unwatchAbort(this.#signal, this);
    this.#resolve(rejection(error));
  }
}

/** What to ask. */
interface RequestTarget {
  readonly topic: string;
  readonly topicBytes: Uint8Array;
  readonly form: PayloadForm;
  readonly payload: Uint8Array;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
}

/** The requests of a node to its peers. */
export class NodeRequests {
  readonly #context: MessagingContext;
  readonly #schemas: ReadonlyMap<string, StandardSchema> | undefined;

  /** `schemas`: of the replies that are validated, by topic. */
  constructor(context: MessagingContext, schemas: ReadonlyMap<string, StandardSchema> | undefined) {
    this.#context = context;
    this.#schemas = schemas;
  }

  /** See `MeshNode.request`. A misuse is thrown at once. */
  request(peer: PeerName, topic: string, payload: unknown, options: RequestOptions): Promise<unknown> {
    const channel = this.#context.channelWith(peer);
    const reply = this.#ask(channel, this.#question(topic, this.#context.topics.bytesOf(topic), payload, options));
    const schema = this.#schemas?.get(topic);
    return schema === undefined ? reply : validReply(schema, reply, channel.peer);
  }

  /** The same for a topic of the library itself. */
  async requestReserved(peer: PeerName, topic: string, payload: unknown, options: RequestOptions): Promise<unknown> {
    const channel = this.#context.channelWith(peer);
    return await this.#ask(channel, this.#question(topic, new TextEncoder().encode(topic), payload, options));
  }

  /** See `MeshNode.requestAll`. A misuse is thrown at once. */
  requestAll(topic: string, payload: unknown, options: RequestOptions): Promise<RequestOutcome[]> {
    this.#context.requireRunning();
    const question = this.#question(topic, this.#context.topics.bytesOf(topic), payload, options);
    const schema = this.#schemas?.get(topic);
    return Promise.all(this.#context.peers.all.map((peer) => this.#outcome(peer, question, schema)));
  }

  /** A reply has come, or it is certain that none comes. */
  settled(arrival: RequestEnd): void {
    const call = arrival.caller as OutgoingRequest;
    if (arrival.type === "failed") {
      call.reject(this.#failureOf(arrival));
      return;
    }
    const { valueBytes } = this.#context.limits;
    let reply: unknown;
    try {
      const error = arrival.form === payloadForms.value ? errorInReply(arrival.payload, valueBytes) : undefined;
      if (error !== undefined) {
        call.reject(error);
        return;
      }
      reply = payloadOf(arrival.form, arrival.payload, valueBytes);
    } catch (error) {
      call.reject(new FullmeshError("BAD_VALUE", `the reply of ${arrival.from.peer} cannot be read`, { cause: error }));
      return;
    }
    call.resolve(reply);
  }

  async #outcome(peer: Peer, question: RequestTarget, schema: StandardSchema | undefined): Promise<RequestOutcome> {
    try {
      const reply = this.#ask(this.#context.channelWith(peer), question);
      return { peer, reply: await (schema === undefined ? reply : validReply(schema, reply, peer.address)) };
    } catch (error) {
      return { peer, error: error as FullmeshError };
    }
  }

  #question(topic: string, topicBytes: Uint8Array, payload: unknown, options: RequestOptions): RequestTarget {
    if (options !== noOptions) refuseUnknown(options, ["signal", "timeoutMs"]);
    const form = payloadFormOf(payload);
    const bytes = bytesOf(payload, form, this.#context.limits.valueBytes);
    const most = this.#context.limits.messageBytes - requestFrameBytes - topicBytes.length;
    if (bytes.length > most) throw this.#context.tooLarge(bytes.length, most);
    const { signal, timeoutMs = defaultTimeoutMs } = options;
    signalOption("signal", signal);
    waitOption("timeoutMs", timeoutMs);
    return { topic, topicBytes, form, payload: bytes, signal, timeoutMs };
  }

  #ask(channel: MessagingChannel, question: RequestTarget): Promise<unknown> {
    if (!isTraced(requestChannel)) return this.#send(channel, question);
    const { topic } = question;
    return traced(requestChannel, { peer: channel.peer, topic }, () => this.#send(channel, question));
  }

  #send(channel: MessagingChannel, question: RequestTarget): Promise<unknown> {
    const { topicBytes, form, payload, signal, timeoutMs } = question;
    if (signal?.aborted === true) throw abortedError(signal);
    const context = this.#context;
    return new Promise((resolve) => {
      const call = new OutgoingRequest(channel, context.wake, signal, resolve);
      const request = channel.request(topicBytes, form, payload, timeoutMs, context.now(), call);
      if (request === "full") {
        const detail = `${channel.peer} has not replied to as many requests as may be under way, or too much waits for it`;
        resolve(rejection(new FullmeshError("QUEUE_FULL", detail)));
        return;
      }
      call.begin(request);
      context.wake();
    });
  }

  #failureOf({ from, isOwn, code, message }: Extract<RequestEnd, { type: "failed" }>): FullmeshError {
    if (!isOwn) return errorFromPeer(code, message, "HANDLER_FAILED");
    // A link that ended because this node did is no failure of the peer's.
    if (code === "PEER_DOWN" && this.#context.hasEnded) return this.#context.endedError();
    return new FullmeshError(code === "TIMED_OUT" ? "TIMED_OUT" : "PEER_DOWN", `${from.peer}: ${message}`);
  }
}

async function validReply(schema: StandardSchema, reply: Promise<unknown>, peer: string): Promise<unknown> {
  const validation = await validate(schema, await reply, "reply");
  if ("value" in validation) return validation.value;
  const { message, cause } = validation.error;
  throw new FullmeshError("BAD_VALUE", `the reply of ${peer} does not fit the contract: ${message}`, { cause });
}

function abortedError(signal: AbortSignal | undefined): FullmeshError {
  return new FullmeshError("ABORTED", "the request was given up", { cause: signal?.reason });
}
