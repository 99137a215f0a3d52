import type { EventEmitter } from "node:events";
import { callListener, callListeners } from "../api/application-calls.js";
import { functionOption } from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import type { MessageArrival, ReceivedMessage } from "../messaging/message-arrival.js";
import type { MessagingChannel } from "../messaging/messaging-channel.js";
import type { Address } from "../protocol/address.js";
import { messageFrameBytes } from "../protocol/native/message.js";
import type { PayloadForm } from "../protocol/native/payload.js";
import { detachIfSmall, isReferenced, noBytes, payloadForms, writeBytes } from "../protocol/native/payload.js";
import { type StandardSchema, type Validation, validate } from "./contract.js";
import type { Message, NodeEvents, Peer } from "./events.js";
import type { MessagingContext } from "./messaging-context.js";
import { bytesOf, payloadFormOf, payloadOf } from "./payloads.js";
import type { PeerName } from "./peers.js";
import { checkTopic } from "./topics.js";
import { type LazyItem, UnboundedAsyncQueue } from "./unbounded-async-queue.js";

/** A peer that was left out of a broadcast, and why. */
export interface SkippedPeer {
  readonly peer: Peer;
  /** Too much waits for it already; or its link is ending or has ended; or it is a classic peer, which takes bytes only. */
  readonly code: "QUEUE_FULL" | "NOT_LINKED" | "CLASSIC_PEER";
}

/** Stands for what is no payload. */
const undecodable = Symbol("undecodable");

/** Memory for short payloads that wait: a view of its own would take each of them some 200 bytes. */
const blockBytes = 16_384;

/** Loops over the same messages, and memory for those of them that wait. */
class TopicLoops {
  readonly all = new Set<UnboundedAsyncQueue<Message>>();
  #block = noBytes;
  #at = 0;

  /** A message waits, perhaps for long: it is not to hold on to more memory than it needs. */
  keep(held: HeldMessage, payload: Uint8Array): void {
    if (isReferenced(payload)) {
      held.lie(detachIfSmall(payload), 0, payload.length);
      return;
    }
    if (this.#at + payload.length > this.#block.length) {
      this.#block = new Uint8Array(blockBytes);
      this.#at = 0;
    }
    writeBytes(this.#block, this.#at, payload);
    held.lie(this.#block, this.#at, payload.length);
    this.#at += payload.length;
  }
}

/**
 * A message that waits for loops, as it came: its payload is made when it is taken, because a value takes many times as much
 * as its bytes. Once all loops have taken it, its sender may send as much again.
 */
class HeldMessage implements LazyItem<Message> {
  readonly #context: MessagingContext;
  readonly #from: MessagingChannel;
  readonly #peer: Peer;
  readonly #topic: string;
  readonly #form: PayloadForm;
  /** What it counts. */
  readonly #bytes: number;
  #memory: Uint8Array;
  #at = 0;
  #length: number;
  #missing: number;

  /** `loops`: so many must take it. */
  constructor(context: MessagingContext, from: MessagingChannel, peer: Peer, incoming: ReceivedMessage, loops: number) {
    const { topic, form, payload, bytes } = incoming;
    this.#context = context;
    this.#from = from;
    this.#peer = peer;
    this.#topic = topic;
    this.#form = form;
    this.#bytes = bytes;
    this.#memory = payload;
    this.#length = payload.length;
    this.#missing = loops;
  }

  /** Some loops have not taken it. */
  get isMissing(): boolean {
    return this.#missing > 0;
  }

  /** Its payload lies there now. */
  lie(memory: Uint8Array, at: number, length: number): void {
    this.#memory = memory;
    this.#at = at;
    this.#length = length;
  }

  take(): Message | undefined {
    const topic = this.#topic;
    const isWhole = this.#length === this.#memory.length;
    const bytes = isWhole ? detachIfSmall(this.#memory) : this.#memory.slice(this.#at, this.#at + this.#length);
    const payload = madeOf(this.#context, this.#from, topic, this.#form, bytes);
    this.drop();
    return payload === undecodable ? undefined : { type: "message", peer: this.#peer, topic, payload };
  }

  drop(): void {
    this.#missing -= 1;
    if (this.#missing > 0) return;
    this.#from.consumed(this.#bytes);
    this.#context.wake();
  }
}

/** A loop over messages that validates each when it is taken, one after the other, and leaves out those that do not fit. */
class ValidatedLoop implements AsyncIterableIterator<Message> {
  readonly #loop: UnboundedAsyncQueue<Message>;
  readonly #validated: (message: Message) => Message | undefined | Promise<Message | undefined>;
  /** Settles with the step that was asked for last. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    loop: UnboundedAsyncQueue<Message>,
    validated: (message: Message) => Message | undefined | Promise<Message | undefined>,
  ) {
    this.#loop = loop;
    this.#validated = validated;
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    const step = this.#last.then(() => this.#next());
    this.#last = step.catch(() => {});
    return step;
  }

  return(): Promise<IteratorResult<Message, undefined>> {
    return this.#loop.return();
  }

  throw(error?: unknown): Promise<IteratorResult<Message, undefined>> {
    return this.#loop.throw(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #next(): Promise<IteratorResult<Message, undefined>> {
    for (;;) {
      const result = await this.#loop.next();
      if (result.done === true) return result;
      const value = await this.#validated(result.value);
      if (value !== undefined) return { done: false, value };
    }
  }
}

/** What a message has brought; `undecodable`, and a note, if that is nothing. */
function madeOf(
  context: MessagingContext,
  from: MessagingChannel,
  topic: string,
  form: PayloadForm,
  payload: Uint8Array,
): unknown {
  try {
    return payloadOf(form, payload, context.limits.valueBytes);
  } catch (error) {
    const message = `a message of ${from.peer} to ${JSON.stringify(topic)} was dropped: ${(error as Error).message}`;
    context.log.write({ code: "BAD_VALUE", message, remote: from.peer });
    return undecodable;
  }
}

/** The messages of a node, out and in. */
export class NodeMessages {
  readonly #context: MessagingContext;
  readonly #node: EventEmitter<NodeEvents>;
  /** The loops over messages, by their topics; undefined for all. */
  readonly #loops = new Map<string | undefined, TopicLoops>();
  /** The listeners of single topics. */
  readonly #listeners = new Map<string, readonly ((message: Message) => void)[]>();
  readonly #schemas: ReadonlyMap<string, StandardSchema> | undefined;
  /** The last message of a peer that waits for its schema, or for another message that does. */
  readonly #validating = new Map<MessagingChannel, Promise<void>>();
  #isClosed = false;
  #sent = 0;
  #received = 0;

  /** `schemas`: of the payloads that are validated, by topic. */
  constructor(
    context: MessagingContext,
    node: EventEmitter<NodeEvents>,
    schemas: ReadonlyMap<string, StandardSchema> | undefined,
  ) {
    this.#context = context;
    this.#node = node;
    this.#schemas = schemas;
  }

  /** Since the start; see `NodeStats`. */
  get totals(): { readonly sent: number; readonly received: number } {
    return { sent: this.#sent, received: this.#received };
  }

  /** See `MeshNode.onMessage`. */
  listen(topic: string, listener: (message: Message) => void): () => void {
    checkTopic(topic);
    functionOption("listener", listener);
    // Each call listens by itself, also with a function that listens already.
    const own = (message: Message): void => listener(message);
    this.#listeners.set(topic, [...(this.#listeners.get(topic) ?? []), own]);
    return () => {
      const others = this.#listeners.get(topic)?.filter((other) => other !== own) ?? [];
      if (others.length > 0) this.#listeners.set(topic, others);
      else this.#listeners.delete(topic);
    };
  }

  /** See `MeshNode.send`. */
  send(peer: PeerName, topic: string, payload: unknown): boolean {
    const context = this.#context;
    const topicBytes = context.topics.bytesOf(topic);
    const channel = context.channelWith(peer);
    const form = payloadFormOf(payload);
    const bytes = bytesOf(payload, form, context.limits.valueBytes);
    this.#requireFits(topicBytes, bytes);
    const sent = channel.send(topicBytes, form, bytes);
    if (sent === "full") {
      throw new FullmeshError("QUEUE_FULL", `too much waits for ${channel.peer} to take ${bytes.length} bytes more`);
    }
    this.#sent += 1;
    if (channel.isPushDue) context.push();
    else context.wake();
    return sent === "taken";
  }

  /** See `MeshNode.broadcast`. */
  broadcast(topic: string, payload: unknown): readonly SkippedPeer[] {
    const context = this.#context;
    const topicBytes = context.topics.bytesOf(topic);
    context.requireRunning();
    const form = payloadFormOf(payload);
    const bytes = bytesOf(payload, form, context.limits.valueBytes);
    this.#requireFits(topicBytes, bytes);
    const full = new Set<string>();
    let open = 0;
    let isPushDue = false;
    for (const channel of context.messaging.channels) {
      if (!channel.isOpen) continue;
      open += 1;
      if (channel.send(topicBytes, form, bytes) === "full") full.add(channel.peer);
      isPushDue ||= channel.isPushDue;
    }
    this.#sent += open - full.size;
    if (isPushDue) context.push();
    else context.wake();
    return full.size === 0 && open === context.listedPeers ? [] : this.#skipped(full);
  }

  /** See `MeshNode.subscribe`. */
  loop(topic: string | undefined, signal: AbortSignal | undefined): AsyncIterableIterator<Message> {
    if (topic !== undefined) checkTopic(topic);
    const loop = this.#loopOver(topic, signal);
    return this.#schemas === undefined ? loop : new ValidatedLoop(loop, (message) => this.#validated(message));
  }

  #loopOver(topic: string | undefined, signal: AbortSignal | undefined): UnboundedAsyncQueue<Message> {
    const loop = new UnboundedAsyncQueue<Message>(signal, (ended) => this.#forget(topic, ended));
    if (this.#isClosed) loop.finish();
    if (loop.isFinished) return loop;
    const loops = this.#loops.get(topic) ?? new TopicLoops();
    loops.all.add(loop);
    this.#loops.set(topic, loops);
    return loop;
  }

  /** Messages have come: loops take them when they are ready, and listeners are called at once. */
  arrived(incoming: MessageArrival<MessagingChannel>): void {
    const { from } = incoming;
    const peer = this.#context.peers.at(from.peer as Address);
    let consumedBytes = 0;
    let consumed = 0;
    while (incoming.next()) {
      this.#received += 1;
      const isLooped = this.#loops.size > 0 && (this.#loops.has(incoming.topic) || this.#loops.has(undefined));
      // For loops alone it is made when they take it.
      const isLater = isLooped && !this.#hasListeners(incoming.topic);
      const emitted = isLater || this.#emitReceived(from, peer, incoming);
      if (emitted !== false && isLooped && peer !== undefined && this.#give(from, peer, incoming, emitted)) continue;
      const { bytes } = incoming;
      if (typeof emitted !== "boolean") {
        void emitted.then(() => {
          from.consumed(bytes);
          this.#context.wake();
        });
        continue;
      }
      consumedBytes += bytes;
      consumed += 1;
    }
    if (consumed === 0) return;
    from.consumed(consumedBytes, consumed);
    this.#context.wake();
  }

  /** No more messages come: loops end when they have taken what is there. */
  closed(): void {
    this.#isClosed = true;
    for (const { all } of [...this.#loops.values()]) for (const loop of [...all]) loop.finish();
  }

  /** Gives a message to loops. False if there are none: a listener may have ended the last of them. */
  #give(from: MessagingChannel, peer: Peer, incoming: ReceivedMessage, emitted: true | Promise<void>): boolean {
    const [some, all] = [this.#loops.get(incoming.topic), this.#loops.get(undefined)];
    const loops = [...(some?.all ?? []), ...(all?.all ?? [])];
    if (loops.length === 0) return false;
    const isPending = emitted !== true;
    const held = new HeldMessage(this.#context, from, peer, incoming, loops.length + (isPending ? 1 : 0));
    if (isPending) void emitted.then(() => held.drop());
    for (const loop of loops) loop.pushLazy(held);
    if (held.isMissing) (some ?? all)?.keep(held, incoming.payload);
    return true;
  }

  #hasListeners(topic: string): boolean {
    return this.#node.listenerCount("message") > 0 || this.#listeners.has(topic);
  }

  /**
   * Calls the listeners; false if it is no message. What a listener throws keeps neither the next messages from being
   * emitted nor their sender waiting for ever. A promise if its schema takes its time, or that of an earlier message.
   */
  #emitReceived(
    from: MessagingChannel,
    peer: Peer | undefined,
    { topic, form, payload: bytes }: ReceivedMessage,
  ): boolean | Promise<void> {
    const payload = form === payloadForms.bytes ? bytes : madeOf(this.#context, from, topic, form, bytes);
    if (peer === undefined || payload === undecodable) return false;
    const message: Message = { type: "message", peer, topic, payload };
    if (this.#schemas !== undefined) return this.#emitValidated(from, message);
    this.#emit(message);
    return true;
  }

  /** Emits a message once it is validated, after those of the same peer that came before. False if it does not fit. */
  #emitValidated(from: MessagingChannel, message: Message): boolean | Promise<void> {
    const validated = this.#validated(message);
    const earlier = this.#validating.get(from);
    if (earlier === undefined && !(validated instanceof Promise)) {
      if (validated !== undefined) this.#emit(validated);
      return validated !== undefined;
    }
    const emitted = Promise.all([validated, earlier]).then(([valid]) => {
      if (this.#validating.get(from) === emitted) this.#validating.delete(from);
      if (valid !== undefined) this.#emit(valid);
    });
    this.#validating.set(from, emitted);
    return emitted;
  }

  /** The message with what its schema makes of its payload; undefined, and a record in the log, if it does not fit. */
  #validated(message: Message): Message | undefined | Promise<Message | undefined> {
    const schema = this.#schemas?.get(message.topic);
    if (schema === undefined) return message;
    const { topic, peer, payload } = message;
    const finish = (validation: Validation): Message | undefined => {
      if ("value" in validation) return { ...message, payload: validation.value };
      const text = `a message of ${peer.address} to ${JSON.stringify(topic)} was dropped: ${validation.error.message}`;
      this.#context.log.write({ code: "BAD_VALUE", message: text, remote: peer.address });
      return undefined;
    };
    const validation = validate(schema, payload, "payload");
    return validation instanceof Promise ? validation.then(finish) : finish(validation);
  }

  #emit(message: Message): void {
    const listeners = this.#listeners.get(message.topic);
    const { log } = this.#context;
    if (listeners !== undefined) for (const listener of listeners) callListener(log, listener, message, message.topic);
    callListeners(log, this.#node, "message", message);
  }

  /** The peers to which a broadcast was not sent. `full`: the addresses of those whose queue is full. */
  #skipped(full: ReadonlySet<string>): SkippedPeer[] {
    const { peers, messaging } = this.#context;
    return peers.all.flatMap((peer): SkippedPeer[] => {
      if (full.has(peer.address)) return [{ peer, code: "QUEUE_FULL" }];
      if (peer.dialect === "classic") return [{ peer, code: "CLASSIC_PEER" }];
      return messaging.at(peer.address)?.isOpen === true ? [] : [{ peer, code: "NOT_LINKED" }];
    });
  }

  #requireFits(topic: Uint8Array, payload: Uint8Array): void {
    const most = this.#context.limits.messageBytes - messageFrameBytes - topic.length;
    if (payload.length > most) throw this.#context.tooLarge(payload.length, most);
  }

  #forget(topic: string | undefined, loop: UnboundedAsyncQueue<Message>): void {
    const loops = this.#loops.get(topic);
    loops?.all.delete(loop);
    if (loops?.all.size === 0) this.#loops.delete(topic);
  }
}
