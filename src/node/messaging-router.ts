import type { EventEmitter } from "node:events";
import type { MessagingEvent } from "../messaging/types.js";
import type { Address } from "../protocol/address.js";
import type { NodeEventEmitter } from "./event-emitter.js";
import type { NodeEvents } from "./events.js";
import { NodeMessages } from "./messages.js";
import type { MessagingContext } from "./messaging-context.js";
import type { Peers } from "./peers.js";
import { failureToSend } from "./remote-errors.js";
import { RequestHandlers } from "./request-handlers.js";
import { NodeRequests } from "./requests.js";
import { NodeStreams } from "./streams.js";

type Aborted = Extract<MessagingEvent, { type: "aborted" }>;

/** What a node and its native peers say to one another: each arrival goes to the part that it belongs to. */
export class MessagingRouter {
  readonly messages: NodeMessages;
  readonly requests: NodeRequests;
  readonly answers: RequestHandlers;
  readonly streams: NodeStreams;
  readonly #peers: Peers;
  readonly #events: NodeEventEmitter;

  constructor(exchange: MessagingContext, node: EventEmitter<NodeEvents>, events: NodeEventEmitter) {
    this.messages = new NodeMessages(exchange, node);
    this.requests = new NodeRequests(exchange);
    this.answers = new RequestHandlers(exchange);
    this.streams = new NodeStreams(exchange);
    this.#peers = exchange.peers;
    this.#events = events;
  }

  arrived(arrival: MessagingEvent): void {
    switch (arrival.type) {
      case "messages":
        this.messages.arrived(arrival);
        break;
      case "request":
        this.answers.asked(arrival);
        break;
      case "cancelled":
        this.answers.cancelled(arrival.from, arrival.request);
        break;
      case "reply":
      case "failed":
        this.requests.settled(arrival);
        break;
      case "drained":
        this.#drained(arrival.from.peer as Address);
        break;
      case "aborted":
        this.streams.arrived(isOwn(arrival) ? arrival : told(arrival));
        break;
      default:
        this.streams.arrived(arrival);
    }
  }

  #drained(address: Address): void {
    const peer = this.#peers.at(address);
    if (peer !== undefined) this.#events.emit({ type: "drain", peer });
  }

  /** Nothing comes any more: who waits is told so. */
  closed(): void {
    this.messages.closed();
    this.answers.closed();
    this.streams.closed();
  }
}

/** True if we have found ourselves that the link is down: a peer that says so speaks on a link. */
function isOwn({ stream, code }: Aborted): boolean {
  return code === "PEER_DOWN" && !stream.peer.isOpen;
}

/** What the peer says of a stream, in words that are not taken for our own. */
function told(arrival: Aborted): Aborted {
  return { ...arrival, ...failureToSend(arrival.code, arrival.message, "STREAM_ABORTED") };
}
