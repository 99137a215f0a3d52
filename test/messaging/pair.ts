import { defaultLimits, type Limits } from "../../src/core/limits.js";
import { type LinkWriter, retryLater } from "../../src/core/link-handler.js";
import { Timers } from "../../src/core/timers.js";
import type { MessageArrival, ReceivedMessage } from "../../src/messaging/message-arrival.js";
import {
  type MessagingChannel,
  MessagingChannels,
  type MessagingEvent,
} from "../../src/messaging/messaging-channel.js";

/** What has arrived, each message by itself. */
export type ChannelEvent =
  | Exclude<MessagingEvent, MessageArrival<MessagingChannel>>
  | ({ readonly type: "message"; readonly from: MessagingChannel } & ReceivedMessage);

/** What was read of an arrival: it can be read once. */
const read = new WeakMap<MessageArrival<MessagingChannel>, ChannelEvent[]>();

function each(arrival: MessagingEvent): ChannelEvent[] {
  if (arrival.type !== "messages") return [arrival];
  const { from } = arrival;
  const before = read.get(arrival) ?? [];
  const messages = [...arrival].map((message): ChannelEvent => ({ type: "message", from, ...message }));
  read.set(arrival, [...before, ...messages]);
  return [...before, ...messages];
}

interface Frame {
  readonly kind: number;
  readonly memory: Uint8Array;
  readonly bytes: number;
  readonly tail: Uint8Array;
}

/** What a frame has in front of its content: length, kind, number. */
export const headBytes = 11;
/** Bytes around the place to write, which nobody may touch. */
const guardBytes = 4;
const guard = 0xee;

function sizeOf({ bytes, tail }: Frame): number {
  return headBytes + bytes + tail.length;
}

/** One direction of a link in memory: frames are begun, handed to a connection, arrive, and are acknowledged. */
export class TestLink implements LinkWriter {
  memory: Uint8Array = new Uint8Array(0);
  hasBeenUp = true;
  takesBatches = false;
  isPushDue = false;
  isOpen = true;
  unacknowledgedBytes = 0;
  waitingBytes = 0;
  begunBytes = 0;
  roundTripMs: number | undefined;
  measures = 0;
  /** The most that has waited and been unacknowledged at once. */
  mostWaitingBytes = 0;
  mostUnacknowledgedBytes = 0;
  #begun: Frame[] = [];
  #handed: Frame[] = [];
  #arrivedBytes = 0;

  begin(kind: number, bytes: number, tail: Uint8Array = new Uint8Array(0)): number {
    this.memory = new Uint8Array(bytes + 2 * guardBytes).fill(guard);
    const frame = { kind, memory: this.memory, bytes, tail };
    this.#begun.push(frame);
    this.begunBytes += sizeOf(frame);
    this.waitingBytes += sizeOf(frame);
    this.unacknowledgedBytes += sizeOf(frame);
    this.mostWaitingBytes = Math.max(this.mostWaitingBytes, this.waitingBytes);
    this.mostUnacknowledgedBytes = Math.max(this.mostUnacknowledgedBytes, this.unacknowledgedBytes);
    return guardBytes;
  }

  extend(kind: number, bytes: number, most: number): number | undefined {
    const last = this.#begun.at(-1);
    if (last?.kind !== kind || last.tail.length > 0 || 6 + last.bytes + bytes > most) return undefined;
    const memory = new Uint8Array(last.bytes + bytes + 2 * guardBytes).fill(guard);
    memory.set(last.memory.subarray(0, guardBytes + last.bytes));
    this.memory = memory;
    this.#begun[this.#begun.length - 1] = { ...last, memory, bytes: last.bytes + bytes };
    this.begunBytes += bytes;
    this.waitingBytes += bytes;
    this.unacknowledgedBytes += bytes;
    this.mostWaitingBytes = Math.max(this.mostWaitingBytes, this.waitingBytes);
    this.mostUnacknowledgedBytes = Math.max(this.mostUnacknowledgedBytes, this.unacknowledgedBytes);
    return guardBytes + last.bytes;
  }

  measure(): void {
    this.measures += 1;
  }

  /** The kinds of the frames that have been begun and not handed. */
  get kinds(): number[] {
    return this.#begun.map(({ kind }) => kind);
  }

  get isIdle(): boolean {
    return this.#begun.length + this.#handed.length === 0 && this.unacknowledgedBytes === 0;
  }

  /** The connection takes the next frames, at most so many. */
  hand(most = Number.POSITIVE_INFINITY): void {
    for (const frame of this.#begun.splice(0, most)) {
      this.waitingBytes -= sizeOf(frame);
      this.#handed.push(frame);
    }
  }

  /** The next of the frames that were handed, as the other end reads it; undefined if there is none. */
  arrive():
    | { readonly kind: number; readonly bytes: Uint8Array; readonly from: number; readonly to: number }
    | undefined {
    const frame = this.#handed.shift();
    if (frame === undefined) return undefined;
    const { kind, memory, bytes, tail } = frame;
    const outside = [...memory.subarray(0, guardBytes), ...memory.subarray(guardBytes + bytes)];
    if (outside.some((byte) => byte !== guard))
      throw new Error(`a frame of kind ${kind} was written outside its place`);
    this.#arrivedBytes += sizeOf(frame);
    // As in a read of a socket, other bytes lie around it.
    const read = new Uint8Array(bytes + tail.length + 7).fill(0xdd);
    read.set(memory.subarray(guardBytes, guardBytes + bytes), 5);
    read.set(tail, 5 + bytes);
    return { kind, bytes: read.subarray(2), from: 3, to: 3 + bytes + tail.length };
  }

  acknowledge(): void {
    this.unacknowledgedBytes -= this.#arrivedBytes;
    this.#arrivedBytes = 0;
  }
}

/** A fault as text. */
export function faultText(fault: string | typeof retryLater | undefined): string | undefined {
  return fault === retryLater ? "not now" : fault;
}

/** One end of a pair. */
export class End {
  readonly link = new TestLink();
  /** As they were told. */
  readonly events: MessagingEvent[] = [];
  readonly timers = new Timers();
  readonly messaging: MessagingChannels;
  readonly channel: MessagingChannel;
  /** What was wrong with what came. */
  readonly faults: string[] = [];
  now = 0;

  constructor(peer: string, isOwner: boolean, limits: Limits) {
    const { events: told } = this;
    this.messaging = new MessagingChannels(
      {
        push: (arrival) => void told.push(arrival),
        get newest() {
          return told.at(-1);
        },
      },
      limits,
      this.timers,
    );
    this.channel = this.messaging.attach(peer, isOwner, this.link);
  }

  /** Gives it content as a peer that is not ours might. */
  receive(kind: number, ...content: readonly (number | Uint8Array)[]): string | undefined {
    const bytes = Uint8Array.from(content.flatMap((part) => (typeof part === "number" ? [part] : [...part])));
    return faultText(this.channel.take(kind, bytes, 0, bytes.length, 0));
  }

  /** Takes out all arrivals. */
  drain(): ChannelEvent[] {
    return this.events.splice(0).flatMap(each);
  }

  get arrivals(): ChannelEvent[] {
    return this.events.flatMap(each);
  }

  /** The arrivals of one type. */
  of<Type extends ChannelEvent["type"]>(type: Type): Extract<ChannelEvent, { readonly type: Type }>[] {
    return this.arrivals.filter(
      (heard): heard is Extract<ChannelEvent, { readonly type: Type }> => heard.type === type,
    );
  }

  /** The only arrival of one type. */
  only<Type extends ChannelEvent["type"]>(type: Type): Extract<ChannelEvent, { readonly type: Type }> {
    const [first, ...others] = this.of(type);
    if (first === undefined || others.length > 0)
      throw new Error(`${others.length + (first ? 1 : 0)} arrivals: ${type}`);
    return first;
  }
}

/** Two conversations with one another. The first end owns the link. */
export class Pair {
  readonly first: End;
  readonly second: End;

  /** `takesBatches`: each end knows that the other one takes batches of messages. */
  constructor(limits: Partial<Limits> = {}, takesBatches = false) {
    const all = { ...defaultLimits, ...limits };
    this.first = new End("second", true, all);
    this.second = new End("first", false, all);
    for (const { link } of [this.first, this.second]) link.takesBatches = takesBatches;
  }

  /** Takes frames from one end to the other, at most so many, and acknowledges them. */
  move(from: End, most = Number.POSITIVE_INFINITY): void {
    this.deliver(from, most);
    from.link.acknowledge();
    from.channel.moved();
  }

  /** The same without the acknowledgement. */
  deliver(from: End, most = Number.POSITIVE_INFINITY): void {
    const to = from === this.first ? this.second : this.first;
    from.link.hand(most);
    for (let frame = from.link.arrive(); frame !== undefined; frame = from.link.arrive()) {
      const fault = faultText(to.channel.take(frame.kind, frame.bytes, frame.from, frame.to, 0));
      if (fault !== undefined) to.faults.push(fault);
    }
    from.channel.moved();
  }

  /** Moves frames both ways until there are none. */
  settle(): void {
    while (!this.first.link.isIdle || !this.second.link.isIdle) {
      this.move(this.first);
      this.move(this.second);
    }
  }

  end(reason: string): void {
    for (const { link: line, channel } of [this.first, this.second]) {
      line.isOpen = false;
      channel.ended(reason);
    }
  }

  get faults(): string[] {
    return [...this.first.faults, ...this.second.faults];
  }
}

export function topic(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** So many bytes, which differ from place to place. */
export function content(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index += 1) bytes[index] = index * 7 + seed;
  return bytes;
}

export function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

export function bytesOf(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}
