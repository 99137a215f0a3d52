import type { EventEmitter } from "node:events";
import { FullmeshError } from "./core/errors.js";
import { throwLater } from "./isolation.js";
import { Iteration, type Receipt } from "./iteration.js";
import type { Conversation } from "./messaging/conversation.js";
import type { Arrival, Form, Incoming } from "./messaging/vocabulary.js";
import type { Message, NodeEvents, Peer } from "./node-events.js";
import type { Exchange } from "./node-exchange.js";
import type { Address } from "./protocol/address.js";
import { messageFrameBytes } from "./protocol/native/message.js";
import { forms, keepable } from "./protocol/native/payload.js";
import { checkTopic } from "./topics.js";
import { bytesOf, formOf, payloadOf } from "./values.js";

/** A peer that was left out of a broadcast, and why. */
export interface Skipped {
  readonly peer: Address;
  /** Too much waits for it already; or its link is about to end; or it is a classic peer, to which there are only bytes. */
  readonly code: "QUEUE_FULL" | "NOT_LINKED" | "CLASSIC_PEER";
}

type MessagesArrival = Extract<Arrival, { type: "messages" }>;

/** A message that loops have been given: once all of them have taken it, its sender may send as much again. */
class Delivery implements Receipt {
  readonly #exchange: Exchange;
  readonly #from: Conversation;
  readonly #bytes: number;
  #missing: number;

  constructor(exchange: Exchange, from: Conversation, bytes: number, loops: number) {
    this.#exchange = exchange;
    this.#from = from;
    this.#bytes = bytes;
    this.#missing = loops;
  }

  taken(): void {
    this.#missing -= 1;
    if (this.#missing > 0) return;
    this.#from.consumed(this.#bytes);
    this.#exchange.wake();
  }
}

/** The messages of a node, out and in. */
export class Messages {
  readonly #exchange: Exchange;
  readonly #node: EventEmitter<NodeEvents>;
  /** The loops over messages, by their topics; undefined for all. */
  readonly #loops = new Map<string | undefined, Set<Iteration<Message>>>();
  #isClosed = false;

  constructor(exchange: Exchange, node: EventEmitter<NodeEvents>) {
    this.#exchange = exchange;
    this.#node = node;
  }

  /** See `MeshNode.send`. */
  send(peer: string | Peer, topic: string, payload: unknown): boolean {
    const exchange = this.#exchange;
    const topicBytes = exchange.topics.bytesOf(topic);
    const conversation = exchange.conversationWith(peer);
    const form = formOf(payload);
    const bytes = bytesOf(payload, form);
    this.#requireFits(topicBytes, bytes);
    const sent = conversation.send(topicBytes, form, bytes);
    if (sent === "full") {
      throw new FullmeshError(
        "QUEUE_FULL",
        `too much waits for ${conversation.peer} to take ${bytes.length} bytes more`,
      );
    }
    exchange.wake();
    return sent === "taken";
  }

  /** See `MeshNode.broadcast`. */
  broadcast(topic: string, payload: unknown): readonly Skipped[] {
    const exchange = this.#exchange;
    const topicBytes = exchange.topics.bytesOf(topic);
    exchange.requireRunning();
    const form = formOf(payload);
    const bytes = bytesOf(payload, form);
    this.#requireFits(topicBytes, bytes);
    const skipped: Skipped[] = [];
    for (const conversation of exchange.messaging.conversations) {
      const peer = conversation.peer as Address;
      if (!conversation.isOpen) skipped.push({ peer, code: "NOT_LINKED" });
      else if (conversation.send(topicBytes, form, bytes) === "full") skipped.push({ peer, code: "QUEUE_FULL" });
    }
    for (const { peer } of exchange.classicLinks) skipped.push({ peer, code: "CLASSIC_PEER" });
    exchange.wake();
    return skipped;
  }

  /** See `MeshNode.messages`. */
  loop(topic: string | undefined, signal: AbortSignal | undefined): Iteration<Message> {
    if (topic !== undefined) checkTopic(topic);
    const loop = new Iteration<Message>(signal, (ended) => this.#forget(topic, ended));
    if (this.#isClosed) loop.finish();
    if (loop.isFinished) return loop;
    const others = this.#loops.get(topic);
    if (others === undefined) this.#loops.set(topic, new Set([loop]));
    else others.add(loop);
    return loop;
  }

  /** Messages have come: loops take them when they are ready, and who listens hears them at once. */
  arrived({ from, messages }: MessagesArrival): void {
    const peer = this.#exchange.peers.at(from.peer as Address);
    let consumedBytes = 0;
    for (const incoming of messages) {
      const { topic, bytes } = incoming;
      const loops = this.#loops.size === 0 ? undefined : this.#loopsOver(topic);
      const payload = this.#payloadOf(from, incoming, loops !== undefined);
      const isTold = peer !== undefined && payload !== undecodable;
      const message = isTold ? this.#tell({ peer, topic, payload }) : undefined;
      // A listener may have ended the last of the loops.
      if (message === undefined || loops === undefined || loops.size === 0) consumedBytes += bytes;
      else this.#give(message, loops, new Delivery(this.#exchange, from, bytes, loops.size));
    }
    if (consumedBytes === 0) return;
    from.consumed(consumedBytes);
    this.#exchange.wake();
  }

  /** No more messages come: loops end when they have taken what is there. */
  closed(): void {
    this.#isClosed = true;
    for (const loops of [...this.#loops.values()]) for (const loop of [...loops]) loop.finish();
  }

  #loopsOver(topic: string): ReadonlySet<Iteration<Message>> | undefined {
    const some = this.#loops.get(topic);
    const all = this.#loops.get(undefined);
    return some === undefined || all === undefined ? (some ?? all) : new Set([...some, ...all]);
  }

  #give(message: Message, loops: ReadonlySet<Iteration<Message>>, delivery: Delivery): void {
    for (const loop of loops) loop.push(message, delivery);
  }

  /** What a listener throws keeps neither the next messages from being heard nor their sender waiting for ever. */
  #tell(message: Message): Message {
    try {
      this.#node.emit("message", message);
    } catch (error) {
      throwLater(error);
    }
    return message;
  }

  #payloadOf(from: Conversation, { topic, form, payload }: Incoming, isKept: boolean): unknown {
    const bytes = isKept ? keepable(payload) : payload;
    return form === forms.bytes ? bytes : this.#valueOf(from, topic, form, bytes);
  }

  #valueOf(from: Conversation, topic: string, form: Form, payload: Uint8Array): unknown {
    try {
      return payloadOf(form, payload);
    } catch (error) {
      const message = `a message of ${from.peer} to ${JSON.stringify(topic)} was dropped: ${(error as Error).message}`;
      this.#exchange.note({ code: "BAD_VALUE", message, remote: from.peer });
      return undecodable;
    }
  }

  #requireFits(topic: Uint8Array, payload: Uint8Array): void {
    const most = this.#exchange.limits.messageBytes - messageFrameBytes - topic.length;
    if (payload.length > most) throw this.#exchange.tooLarge(payload.length, most);
  }

  #forget(topic: string | undefined, loop: Iteration<Message>): void {
    const loops = this.#loops.get(topic);
    loops?.delete(loop);
    if (loops?.size === 0) this.#loops.delete(topic);
  }
}

/** Stands for what is no payload. */
const undecodable = Symbol("undecodable");
