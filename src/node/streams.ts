import { functionOption } from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import type { MessagingEvent, PeerStream } from "../messaging/types.js";
import type { Address } from "../protocol/address.js";
import type { Peer } from "./events.js";
import { abortedError, MeshStream, type StreamEvents } from "./mesh-stream.js";
import type { MessagingContext } from "./messaging-context.js";
import type { PeerName } from "./peers.js";
import { messageOf } from "./remote-errors.js";
import { checkTopic } from "./topics.js";

/** Takes the streams that peers open. What it throws, or rejects with, gives the stream up. */
export type StreamHandler = (stream: MeshStream) => unknown;

type StreamArrival = Extract<MessagingEvent, { type: "stream" | "data" | "finished" | "aborted" | "writable" }>;

/** The streams of a node. */
export class NodeStreams {
  readonly #exchange: MessagingContext;
  readonly #takers = new Map<string, StreamHandler>();
  readonly #open = new Map<PeerStream, StreamEvents>();

  constructor(exchange: MessagingContext) {
    this.#exchange = exchange;
  }

  /** See `MeshNode.open`. */
  open(to: PeerName, topic: string): MeshStream {
    const topicBytes = this.#exchange.topics.bytesOf(topic);
    const conversation = this.#exchange.conversationWith(to);
    const peer = this.#exchange.peers.at(conversation.peer as Address);
    if (peer === undefined) throw new FullmeshError("NOT_LINKED", `cannot open a stream to ${conversation.peer}`);
    const stream = conversation.open(topicBytes);
    this.#exchange.wake();
    return this.#streamOver(stream, peer, topic);
  }

  /** See `MeshNode.onStream`. */
  take(topic: string, taker: StreamHandler): () => void {
    checkTopic(topic);
    functionOption("taker", taker);
    if (this.#takers.has(topic)) {
      throw new FullmeshError("WRONG_STEP", `streams of the topic ${JSON.stringify(topic)} are taken already`);
    }
    this.#takers.set(topic, taker);
    return () => {
      if (this.#takers.get(topic) === taker) this.#takers.delete(topic);
    };
  }

  /** Something has happened to a stream at the other end. */
  arrived(arrival: StreamArrival): void {
    const { stream } = arrival;
    if (arrival.type === "stream") {
      this.#opened(stream, arrival.topic);
      return;
    }
    // What has come to its end here hears nothing any more.
    const events = this.#open.get(stream);
    if (arrival.type === "data") events?.arrived(arrival.bytes);
    else if (arrival.type === "finished") events?.finished();
    else if (arrival.type === "writable") events?.drained();
    else events?.aborted(this.#failureOf(arrival));
  }

  /** Nothing comes any more. */
  closed(): void {
    for (const events of [...this.#open.values()]) events.aborted(this.#exchange.endedError());
  }

  #opened(stream: PeerStream, topic: string): void {
    const peer = this.#exchange.peers.at(stream.peer.peer as Address);
    const taker = this.#takers.get(topic);
    if (peer === undefined || taker === undefined) {
      stream.abort("NO_HANDLER", `${JSON.stringify(topic)} is not handled here`);
      this.#exchange.wake();
      return;
    }
    const taken = this.#streamOver(stream, peer, topic);
    const failed = (error: unknown): void => {
      // An error that the stream has had itself is no news.
      if (taken.errored === error) return;
      const message = `a stream of ${peer.address} to ${JSON.stringify(topic)} failed: ${messageOf(error)}`;
      this.#exchange.note({ code: "HANDLER_FAILED", message, remote: peer.address });
      taken.destroy(
        error instanceof FullmeshError
          ? error
          : new FullmeshError("HANDLER_FAILED", messageOf(error), { cause: error }),
      );
    };
    try {
      Promise.resolve(taker(taken)).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #streamOver(stream: PeerStream, peer: Peer, topic: string): MeshStream {
    return new MeshStream({
      stream,
      peer,
      topic,
      wake: this.#exchange.wake,
      attach: (events) => void this.#open.set(stream, events),
      closed: () => void this.#open.delete(stream),
    });
  }

  #failureOf({ stream, code, message }: Extract<MessagingEvent, { type: "aborted" }>): FullmeshError {
    const hasEnded = code === "PEER_DOWN" && this.#exchange.hasEnded;
    return hasEnded ? this.#exchange.endedError() : abortedError(stream.peer.peer, code, message);
  }
}
