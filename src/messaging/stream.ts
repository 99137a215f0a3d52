import { doubleZero } from "../core/double-field.js";
import type { Limits } from "../core/limits.js";
import type { LinkWriter } from "../core/link-handler.js";
import type { OutputSink } from "../core/machine.js";
import {
  encodeAbort,
  encodeCredit,
  encodeEnd,
  encodeStreamData,
  maxStreamDataBytes,
} from "../protocol/native/stream.js";
import { ByteQueue } from "./byte-queue.js";
import { ReceiveWindow, SendWindow } from "./flow-control.js";
import type { PeerBudget } from "./memory-budget.js";
import {
  isEnding,
  isReadable,
  isWritable,
  nextStreamState,
  type StreamState,
  type StreamTrigger,
} from "./stream-states.js";

/** How many first windows may be under way for each millisecond of a round trip: some 3 Gbit/s. */
const windowsPerMs = 1.5;

/** After so many bytes a round trip is measured again: rarely enough to cost nothing. */
const measureBytes = 1_048_576;

/** What happens to a stream, in order. Bytes are contiguous, and the listener may keep them. */
export type StreamEvent =
  /** The peer has opened it. */
  | { readonly type: "stream"; readonly stream: Stream; readonly topic: string }
  /** To be given back with `Stream.read` once the application has consumed them. */
  | { readonly type: "data"; readonly stream: Stream; readonly bytes: Uint8Array }
  /** The peer sends nothing more on the stream. */
  | { readonly type: "finished"; readonly stream: Stream }
  /** By the peer, or `PEER_DOWN` because the link has ended. */
  | { readonly type: "aborted"; readonly stream: Stream; readonly code: string; readonly message: string }
  /** After a `write` that returned false: there is room for more. */
  | { readonly type: "writable"; readonly stream: Stream };

/** What the streams of a link share, and what each reports to them. */
export interface StreamObserver {
  /** The peer's address. */
  readonly peer: string;
  readonly link: LinkWriter;
  readonly limits: Limits;
  readonly budget: PeerBudget;
  readonly outputs: OutputSink<StreamEvent>;
  /** It has something to send, and credit for it. */
  ready(stream: Stream): void;
  /** It is over in both directions. */
  closed(stream: Stream): void;
  /** It is over, and the application has read what came of it, or never will: nothing of it is kept any more. */
  released(stream: Stream): void;
  /** By how much all windows together may still grow. */
  readonly spareBytes: number;
  /** Its window has grown by so many bytes; fewer than 0 if it has shrunk. */
  grew(bytes: number): void;
}

/**
 * One stream of bytes, in both directions, with a peer.
 *
 * The application's side is `write` to `skip`. Its channel calls `turn`, `take...` and `endAborted`; nobody else calls these.
 */
export class Stream {
  /** Its number on the link. */
  readonly id: number;
  readonly #streams: StreamObserver;
  readonly #sending: SendWindow;
  readonly #receiving: ReceiveWindow;
  readonly #chunks = new ByteQueue();
  #state: StreamState = "open";
  #owesWritable = false;
  /** True once something was written too late: whatever goes is not all of it, and must not seem to be. */
  #isCut = false;
  /** By how much its window has grown beyond the first one. */
  #grownBytes = 0;
  /** The limit at which the round trip was measured last. */
  #measuredAt = doubleZero;
  /** One of the two ends has aborted it: what came and was not read is dropped. */
  #isAborted = false;
  /** What has come and is kept for the application. */
  #heldBytes = 0;
  #isReleased = false;

  constructor(id: number, streams: StreamObserver) {
    const { streamWindowBytes } = streams.limits;
    this.id = id;
    this.#streams = streams;
    this.#sending = new SendWindow(streamWindowBytes);
    this.#receiving = new ReceiveWindow(streamWindowBytes);
  }

  /** The peer's address. */
  get peer(): string {
    return this.#streams.peer;
  }

  get state(): StreamState {
    return this.#state;
  }

  /** Bytes that were written and wait here for credit or for their turn. */
  get waitingBytes(): number {
    return this.#chunks.bytes;
  }

  /** True while the application has ended its side, and that waits here behind what was written before. */
  get isWaiting(): boolean {
    return isEnding(this.#state);
  }

  /** What the next turn would send: so many bytes, 0 if it is the end that is due, undefined if nothing may go. */
  get due(): number | undefined {
    const bytes = Math.min(this.#chunks.bytes, this.#sending.room, maxStreamDataBytes(this.#streams.limits));
    if (bytes > 0) return bytes;
    return this.#chunks.bytes === 0 && isEnding(this.#state) ? 0 : undefined;
  }

  /**
   * Sends bytes, or keeps them until they may go. Fewer than 4 KiB are copied; more must not change until they have arrived.
   * False if enough waits: `writable` follows. False also, and nothing follows, when nothing can be written any more: after
   * the end, and once the link is being left, because the goodbye waits for what was written before.
   */
  write(bytes: Uint8Array): boolean {
    if (!isWritable(this.#state)) return false;
    if (!this.#streams.link.isOpen) {
      this.#isCut ||= bytes.length > 0;
      return false;
    }
    this.#chunks.push(bytes);
    this.#streams.ready(this);
    this.#owesWritable = this.#isFull;
    return !this.#owesWritable;
  }

  /** Nothing more is written; what waits still goes. The other direction goes on. */
  end(): void {
    if (!isWritable(this.#state) || this.#isCut) return;
    this.#step("end");
    this.#streams.ready(this);
  }

  /** Ends both directions at once. What waits is dropped, and what still comes is ignored. `code`: see `isCode`. */
  abort(code: string, message: string): void {
    if (this.#state === "closed") return;
    encodeAbort(this.#streams.link, { number: this.id, code, message });
    this.#hold(-this.#heldBytes);
    this.#step("abort");
  }

  /** The application has taken so many bytes of what came: the peer may send more. */
  read(bytes: number): void {
    this.#hold(-Math.min(bytes, this.#heldBytes));
    const isOpen = isReadable(this.#state);
    const limit = this.#receiving.consume(bytes, isOpen ? this.#windowBytes : 0);
    if (limit !== undefined && isOpen) {
      encodeCredit(this.#streams.link, this.id, limit);
      this.#measure(limit);
    }
    this.#account();
  }

  /** The application reads nothing more of what has come. */
  skip(): void {
    this.read(this.#receiving.unreadBytes);
  }

  /** Sends at most so many of the bytes that are due, or the end. */
  turn(most: number): void {
    const { link, outputs } = this.#streams;
    const { due } = this;
    if (due !== undefined && due > 0) {
      const bytes = this.#chunks.take(Math.min(due, most));
      if (bytes === undefined) {
        // What was lent to it is gone.
        this.#giveUp("PAYLOAD_CHANGED", "bytes that were under way have been transferred or resized");
        return;
      }
      this.#sending.spend(bytes.length);
      encodeStreamData(link, this.id, bytes);
    }
    if (this.#owesWritable && !this.#isFull) {
      this.#owesWritable = false;
      outputs.push({ type: "writable", stream: this });
    }
    if (this.due !== 0) return;
    encodeEnd(link, this.id);
    this.#step("flushed");
  }

  takeData(bytes: Uint8Array): string | undefined {
    if (!isReadable(this.#state)) return `stream ${this.id} goes on after its end`;
    if (!this.#receiving.take(bytes.length)) return `stream ${this.id} is beyond its credit`;
    if (bytes.length > this.#streams.budget.room) {
      this.#giveUp("OVERLOADED", "this node holds as much for its peers as it may");
      return undefined;
    }
    this.#hold(bytes.length);
    this.#streams.outputs.push({ type: "data", stream: this, bytes });
    return undefined;
  }

  takeEnd(): string | undefined {
    if (!isReadable(this.#state)) return `stream ${this.id} ends twice`;
    this.#streams.outputs.push({ type: "finished", stream: this });
    this.#receiving.close();
    this.#step("finished");
    return undefined;
  }

  takeCredit(limit: number): string | undefined {
    if (!this.#sending.raise(limit)) return `the credit of stream ${this.id} goes back to ${limit}`;
    this.#streams.ready(this);
    return undefined;
  }

  /** The peer has aborted it, or refused it, or it was lost with its link. */
  endAborted(code: string, message: string): void {
    this.#streams.outputs.push({ type: "aborted", stream: this, code, message });
    this.#step("aborted");
  }

  /** It cannot go on; both ends are informed. */
  #giveUp(code: string, message: string): void {
    encodeAbort(this.#streams.link, { number: this.id, code, message });
    this.endAborted(code, message);
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes;
    this.#streams.budget.change(bytes);
  }

  /** As much waits as one frame holds, so that the next turn has enough. */
  get #isFull(): boolean {
    return this.#chunks.bytes >= maxStreamDataBytes(this.#streams.limits);
  }

  /**
   * What a round trip can carry at 3 Gbit/s. The peer decides how long one takes, so all streams together may grow
   * by so much and no more; each takes half of what is left of that, so that those that grow later get theirs too.
   */
  get #windowBytes(): number {
    const { link, limits, spareBytes } = this.#streams;
    const first = limits.streamWindowBytes;
    const most = Math.min(limits.streamWindowMaxBytes, first + this.#grownBytes + spareBytes / 2);
    return Math.floor(Math.max(first, Math.min(windowsPerMs * first * (link.roundTripMs ?? 0), most)));
  }

  /** The first round trip that is measured is often that of cold code, and so longer than others: the shortest counts. */
  #measure(limit: number): void {
    if (limit - this.#measuredAt < measureBytes) return;
    this.#measuredAt = limit;
    this.#streams.link.measure();
  }

  /** What is kept of it may have become more or less. */
  #account(): void {
    const grownBytes = this.#isAborted ? 0 : this.#receiving.grownBytes;
    if (grownBytes !== this.#grownBytes) this.#streams.grew(grownBytes - this.#grownBytes);
    this.#grownBytes = grownBytes;
    if (this.#state !== "closed" || this.#isReleased) return;
    this.#isReleased = this.#isAborted || this.#receiving.unreadBytes === 0;
    if (this.#isReleased) this.#streams.released(this);
  }

  #step(event: StreamTrigger): void {
    const next = nextStreamState(this.#state, event);
    if (next === undefined) throw new Error(`stream ${this.id}: no ${event} in state ${this.#state}`);
    this.#state = next;
    if (next === "closed") {
      this.#isAborted = event === "abort" || event === "aborted";
      this.#chunks.clear();
      this.#streams.closed(this);
    }
    this.#account();
  }
}
