import type { EventEmitter } from "node:events";
import { toldReason } from "./foreign-errors.js";
import type { Arrival } from "./messaging/vocabulary.js";
import { Answers } from "./node-answers.js";
import type { NodeEvents } from "./node-events.js";
import type { Exchange } from "./node-exchange.js";
import { Messages } from "./node-messages.js";
import { Requests } from "./node-requests.js";
import { Streams } from "./node-streams.js";
import type { Address } from "./protocol/address.js";

type Aborted = Extract<Arrival, { type: "aborted" }>;

/** What a node and its native peers say to one another: each arrival goes to the part that it belongs to. */
export class Traffic {
  readonly messages: Messages;
  readonly requests: Requests;
  readonly answers: Answers;
  readonly streams: Streams;
  readonly #node: EventEmitter<NodeEvents>;

  constructor(exchange: Exchange, node: EventEmitter<NodeEvents>) {
    this.messages = new Messages(exchange, node);
    this.requests = new Requests(exchange);
    this.answers = new Answers(exchange);
    this.streams = new Streams(exchange);
    this.#node = node;
  }

  arrived(arrival: Arrival): void {
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
        this.#node.emit("drain", arrival.from.peer as Address);
        break;
      case "aborted":
        this.streams.arrived(isOwn(arrival) ? arrival : told(arrival));
        break;
      default:
        this.streams.arrived(arrival);
    }
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
  return { ...arrival, ...toldReason(arrival.code, arrival.message, "STREAM_ABORTED") };
}
