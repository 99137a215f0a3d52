import { functionOption } from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import type { Stream, StreamEvent } from "../messaging/stream.js";
import type { Address } from "../protocol/address.js";
import type { Peer } from "./events.js";
import { abortedError, MeshStream, type StreamEvents } from "./mesh-stream.js";
import type { MessagingContext } from "./messaging-context.js";
import type { PeerName } from "./peers.js";
import { checkTopic } from "./topics.js";

/** Who has opened a stream, and for what. */
export interface StreamContext {
  readonly peer: Peer;
  readonly topic: string;
}

/** Takes the streams that peers open. What it throws, or rejects with, gives the stream up. */
export type StreamHandler = (stream: MeshStream, context: StreamContext) => unknown;

/** The streams of a node. */
export class NodeStreams {
  readonly #context: MessagingContext;
  readonly #handlers = new Map<string, StreamHandler>();
  readonly #open = new Map<Stream, StreamEvents>();

  constructor(context: MessagingContext) {
    this.#context = context;
  }

  /** See `MeshNode.openStream`. */
  open(to: PeerName, topic: string): MeshStream {
    const topicBytes = this.#context.topics.bytesOf(topic);
    const channel = this.#context.channelWith(to);
    const peer = this.#context.peers.at(channel.peer as Address);
    if (peer === undefined) throw new FullmeshError("NOT_LINKED", `cannot open a stream to ${channel.peer}`);
    const stream = channel.open(topicBytes);
    this.#context.wake();
    return this.#streamOver(stream, peer, topic);
  }

  /** See `MeshNode.onStream`. */
  take(topic: string, handler: StreamHandler): () => void {
    checkTopic(topic);
    functionOption("handler", handler);
    if (this.#handlers.has(topic)) {
      throw new FullmeshError("WRONG_STEP", `streams of the topic ${JSON.stringify(topic)} are taken already`);
    }
    this.#handlers.set(topic, handler);
    return () => {
      if (this.#handlers.get(topic) === handler) this.#handlers.delete(topic);
    };
  }

  /** Something has happened to a stream at the other end. */
  arrived(arrival: StreamEvent): void {
    const { stream } = arrival;
    if (arrival.type === "stream") {
      this.#opened(stream, arrival.topic);
      return;
    }
    // A stream that has ended here takes nothing any more.
    const events = this.#open.get(stream);
    if (arrival.type === "data") events?.arrived(arrival.bytes);
    else if (arrival.type === "finished") events?.finished();
    else if (arrival.type === "writable") events?.drained();
    else events?.aborted(this.#failureOf(arrival));
  }

  /** Nothing comes any more. */
  closed(): void {
    for (const events of [...this.#open.values()]) events.aborted(this.#context.endedError());
  }

  #opened(stream: Stream, topic: string): void {
    const peer = this.#context.peers.at(stream.peer as Address);
    const handler = this.#handlers.get(topic);
    if (peer === undefined || handler === undefined) {
      stream.abort("NO_HANDLER", `${JSON.stringify(topic)} is not handled here`);
      this.#context.wake();
      return;
    }
    const opened = this.#streamOver(stream, peer, topic);
    const failed = (error: unknown): void => {
      // The stream's own error has its listeners already.
      if (opened.errored !== error) opened.fail(error);
    };
    try {
      Promise.resolve(handler(opened, { peer, topic })).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #streamOver(stream: Stream, peer: Peer, topic: string): MeshStream {
    return new MeshStream(stream, peer, topic, this.#context, this.#open);
  }

  #failureOf({ stream, code, message }: Extract<StreamEvent, { type: "aborted" }>): FullmeshError {
    const hasEnded = code === "PEER_DOWN" && this.#context.hasEnded;
    return hasEnded ? this.#context.endedError() : abortedError(stream.peer, code, message);
  }
}
