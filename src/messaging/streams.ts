import { doubleZero } from "../core/double-field.js";
import type { Limits } from "../core/limits.js";
import type { LinkWriter } from "../core/link-handler.js";
import type { OutputSink } from "../core/machine.js";
import type { FailureReason } from "../protocol/native/reason.js";
import { type DataFrame, encodeOpen, highestStream, type OpenFrame } from "../protocol/native/stream.js";
import type { PeerBudget } from "./memory-budget.js";
import { Stream, type StreamEvent, type StreamObserver } from "./stream.js";

/** What a stream that a peer has opened takes, beside what comes on it. */
const openStreamBytes = 4_096;

/** A frame that is shorter than this is not worth its head, if it could be longer a moment later. */
const leastFrameBytes = 16_384;

/**
 * The streams of one channel. They take turns: each sends one frame of data and goes to the end of the line, and only
 * while little of theirs waits on the link, so that no stream holds up another one, or a message, for long.
 */
export class ChannelStreams implements StreamObserver {
  readonly peer: string;
  readonly link: LinkWriter;
  readonly limits: Limits;
  readonly budget: PeerBudget;
  readonly outputs: OutputSink<StreamEvent>;
  readonly #streams = new Map<number, Stream>();
  /** Those that have something to send and credit for it, in the order of their turns. */
  readonly #line = new Set<Stream>();
  /** This node is the link's owner: its streams have odd numbers. */
  readonly #isOwner: boolean;
  /** The highest numbers that have been used. */
  #lastOurs: number;
  #lastTheirs: number;
  /** How many there are, those included that are over and of which the application has not read everything. */
  #ours = 0;
  #theirs = 0;
  /** By how much all windows together have grown. */
  #grownBytes = 0;
  /** Up to where the link had been written when streams wrote last, and how much of that is theirs, at most. */
  #writtenTo = doubleZero;
  #backlogBytes = 0;
  /** The stream of the data frame that comes, how much of it has come on this connection, and how much has been handed on. */
  #stream = 0;
  #comeBytes = 0;
  #takenBytes = 0;

  constructor(
    peer: string,
    isOwner: boolean,
    link: LinkWriter,
    limits: Limits,
    budget: PeerBudget,
    outputs: OutputSink<StreamEvent>,
  ) {
    this.peer = peer;
    this.link = link;
    this.limits = limits;
    this.budget = budget;
    this.outputs = outputs;
    this.#isOwner = isOwner;
    this.#lastOurs = isOwner ? -1 : 0;
    this.#lastTheirs = isOwner ? 0 : -1;
  }

  /** How many are open, opened by either end. */
  get size(): number {
    return this.#streams.size;
  }

  /** True while something that was written on a stream, or its end, waits for credit or for its turn. */
  get isWaiting(): boolean {
    for (const stream of this.#streams.values()) if (stream.isWaiting) return true;
    return false;
  }

  /** Opens a stream. One that cannot be opened is returned too, and is aborted at once. */
  open(topic: Uint8Array): Stream {
    const { link, limits, budget } = this;
    const id = this.#lastOurs + 2;
    const stream = new Stream(id, this);
    if (!link.isOpen) {
      stream.endAborted("PEER_DOWN", "the link ends");
      return stream;
    }
    if (this.#ours >= limits.streamsOpen || id > highestStream) {
      stream.endAborted("OVERLOADED", `${this.#ours} streams are open`);
      return stream;
    }
    // What waits for links that were never up is bounded in all.
    if (!link.hasBeenUp && !budget.hasSpaceFor(topic.length)) {
      stream.endAborted("OVERLOADED", "too much waits for links that were never up");
      return stream;
    }
    this.#lastOurs = id;
    this.#ours += 1;
    this.#streams.set(id, stream);
    encodeOpen(link, id, topic);
    link.measure();
    if (!link.hasBeenUp) budget.countBeforeUp();
    return stream;
  }

  ready(stream: Stream): void {
    if (stream.due === undefined) return;
    this.#line.add(stream);
    this.pump();
  }

  closed(stream: Stream): void {
    this.#line.delete(stream);
    this.#streams.delete(stream.id);
  }

  released({ id }: Stream): void {
    if (!this.#isOurs(id)) {
      this.#theirs -= 1;
      this.budget.change(-openStreamBytes);
    } else if (id <= this.#lastOurs) this.#ours -= 1;
  }

  get spareBytes(): number {
    const { limits, budget } = this;
    return Math.max(0, Math.min(limits.streamGrowthBytes - this.#grownBytes, budget.room));
  }

  grew(bytes: number): void {
    this.#grownBytes += bytes;
  }

  /** Lets streams send while there is room on the link. */
  pump(): void {
    const { link, limits } = this;
    // Until the link is up for the first time, what is written stays with the program, which is told to wait.
    if (!link.hasBeenUp) return;
    for (const stream of this.#line) {
      const { due } = stream;
      const room = this.#room;
      const least = Math.min(leastFrameBytes, limits.streamBacklogBytes);
      if (due !== undefined && due > room && room < least) return;
      this.#line.delete(stream);
      const before = link.begunBytes;
      stream.turn(room);
      this.#writtenTo = link.begunBytes;
      this.#backlogBytes += link.begunBytes - before;
      if (stream.due !== undefined) this.#line.add(stream);
    }
  }

  /** The peer opens a stream. False if that is to be refused; or what is wrong with it. */
  takeOpen({ stream: id, topic }: OpenFrame): boolean | string {
    if (this.#isOurs(id)) return `stream ${id} is not the peer's to open`;
    if (id <= this.#lastTheirs) return `stream ${id} was opened before`;
    this.#lastTheirs = id;
    const { limits, budget } = this;
    if (this.#theirs >= limits.streamsOpen || budget.isBehind || openStreamBytes > budget.room) return false;
    const stream = new Stream(id, this);
    this.#theirs += 1;
    budget.change(openStreamBytes);
    this.#streams.set(id, stream);
    this.link.measure();
    this.outputs.push({ type: "stream", stream, topic });
    return true;
  }

  /** True if a data frame has come in part. Whatever breaks meanwhile, it is the next frame that comes, from its beginning. */
  get isWithinData(): boolean {
    return this.#takenBytes > 0;
  }

  /** A data frame, or its beginning, of which so many bytes are still to come. */
  takeData({ stream, bytes }: DataFrame, rest: number): string | undefined {
    if (this.isWithinData && stream !== this.#stream) return "a data frame came again for another stream";
    this.#stream = stream;
    this.#comeBytes = 0;
    return this.takeMore(bytes, rest);
  }

  /** The next part of it. Hands on what has not been handed on before the frame came again. */
  takeMore(bytes: Uint8Array, rest: number): string | undefined {
    const known = Math.min(bytes.length, Math.max(0, this.#takenBytes - this.#comeBytes));
    this.#comeBytes += bytes.length;
    if (rest === 0 && this.#comeBytes < this.#takenBytes) return "a data frame came again, and was shorter";
    this.#takenBytes = rest === 0 ? 0 : Math.max(this.#takenBytes, this.#comeBytes);
    if (known === bytes.length) return undefined;
    const id = this.#stream;
    const unseen = known === 0 ? bytes : bytes.subarray(known);
    return this.#streams.get(id)?.takeData(unseen) ?? this.#faultOf(id);
  }

  takeEnd(id: number): string | undefined {
    const stream = this.#streams.get(id);
    return stream === undefined ? this.#faultOf(id) : stream.takeEnd();
  }

  takeAbort({ number, code, message }: FailureReason): string | undefined {
    const stream = this.#streams.get(number);
    if (stream === undefined) return this.#faultOf(number);
    stream.endAborted(code, message);
    return undefined;
  }

  takeCredit(id: number, limit: number): string | undefined {
    return this.#streams.get(id)?.takeCredit(limit) ?? this.#faultOf(id);
  }

  /** The link has ended. */
  end(reason: string): void {
    for (const stream of [...this.#streams.values()]) stream.endAborted("PEER_DOWN", reason);
  }

  /** How many bytes streams may put on the link now. */
  get #room(): number {
    const { link, limits, budget } = this;
    const { unacknowledgedBytes } = link;
    budget.sent(unacknowledgedBytes);
    // Half of what may be kept for a peer is left to messages and requests.
    if (unacknowledgedBytes >= limits.queueHardBytes / 2) return 0;
    if (unacknowledgedBytes > limits.heldPerPeerBytes / 2 && budget.room < limits.queueSoftBytes) return 0;
    const handedTo = link.begunBytes - link.waitingBytes;
    // What streams have written is gone; what waits are messages, which are no reason for a stream to wait for ever.
    if (handedTo >= this.#writtenTo) this.#backlogBytes = 0;
    return Math.max(0, limits.streamBacklogBytes - this.#backlogBytes);
  }

  #isOurs(id: number): boolean {
    return (id % 2 === 1) === this.#isOwner;
  }

  /** What is wrong with a frame for a stream that is not there. What still comes for one that was there is ignored. */
  #faultOf(id: number): string | undefined {
    const last = this.#isOurs(id) ? this.#lastOurs : this.#lastTheirs;
    return id === 0 || id > last ? `there is no stream ${id}` : undefined;
  }
}
