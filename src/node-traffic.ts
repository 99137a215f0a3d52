import type { EventEmitter } from "node:events";
import type { Arrival } from "./messaging/vocabulary.js";
import { Answers } from "./node-answers.js";
import type { NodeEvents } from "./node-events.js";
import type { Exchange } from "./node-exchange.js";
import { Messages } from "./node-messages.js";
import { Requests } from "./node-requests.js";
import { Streams } from "./node-streams.js";
import type { Address } from "./protocol/address.js";

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
      case "message":
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
