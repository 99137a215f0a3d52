import { doubleZero } from "../../core/double-field.js";
import type { Page, PagePool } from "../../core/page-pool.js";
import { countBatched } from "../../protocol/native/batch.js";
import { frameHeaderBytes, writeFrameHeader } from "../../protocol/native/frames.js";
import { numberBytes, numberedKinds, readUint48, writeUint48 } from "../../protocol/native/numbered-frames.js";

/** Bytes of frames in one segment of memory: some whole frames, the beginning of a frame behind them, or the rest of one. */
interface Segment {
  readonly memory: Uint8Array;
  /** The page that the memory belongs to; undefined for the rest of a frame, which is the application's memory. */
  readonly page: Page | undefined;
  /** Where what is not acknowledged begins, and where it ends. */
  from: number;
  readonly to: number;
  /** The number of the last frame that has bytes in it. */
  readonly last: number;
  /** True if the rest of its last frame is the next segment. */
  readonly goesOn: boolean;
}

/** What is in front of a frame's content: its header and its number. */
const headBytes = frameHeaderBytes + numberBytes;

/**
 * The numbered frames that one end of a link has begun and the other is not known to have, as they go out: frames are
 * written one behind the other on pages, handed to a connection segment by segment, and kept until they are acknowledged. On the
 * next connection they go out again as they are.
 *
 * Payload is copied once, onto a page, or not at all, if it is long. Nothing is allocated for a frame, only for a segment.
 */
export class ResendBuffer {
  readonly #pool: PagePool;
  /** Pages that nobody needs any more, but of which the connection may not have sent everything yet. */
  #spent: Page[] = [];
  /** True if the connection has sent all that it was handed. */
  #isSent = true;
  /** In order, all but what is being written. The first `#handed` of them have gone to the connection. */
  #segments: Segment[] = [];
  #handed = 0;
  /** The page that is being written, from where on nothing is a segment yet, and up to where it is written. */
  #page: Page | undefined;
  #from = 0;
  #at = 0;
  /** Where the frame that was begun last begins on it; undefined if nothing can be added to that frame. */
  #newest: number | undefined;
  /** Numbers of frames. */
  #begun = 0;
  #handedWhole = 0;
  #acknowledged = 0;
  #begunBytes = doubleZero;
  #unacknowledgedBytes = 0;
  #waitingBytes = 0;

  constructor(pages: PagePool) {
    this.#pool = pages;
  }

  get memory(): Uint8Array {
    return (this.#page ?? noPage).memory;
  }

  /** How many frames have been begun. */
  get begun(): number {
    return this.#begun;
  }

  get begunBytes(): number {
    return this.#begunBytes;
  }

  /** How many frames the other end is known to have. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  get unacknowledgedBytes(): number {
    return this.#unacknowledgedBytes;
  }

  /** Bytes that have not gone to the present connection. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Begins the next frame; see `LinkWriter`. */
  begin(kind: number, bytes: number, tail?: Uint8Array): number {
    const size = headBytes + bytes;
    if (this.#at + size > this.memory.length) this.#turnPage();
    const at = this.#at;
    const tailBytes = tail === undefined ? 0 : tail.length;
    const { memory } = this;
    this.#begun += 1;
    writeFrameHeader(memory, kind, numberBytes + bytes + tailBytes, at);
    writeUint48(memory, at + frameHeaderBytes, this.#begun);
    this.#at = at + size;
    this.#newest = at;
    this.#begunBytes += size + tailBytes;
    this.#unacknowledgedBytes += size + tailBytes;
    this.#waitingBytes += size + tailBytes;
    if (tail !== undefined) {
      this.#cut(true);
      this.#segments.push({ memory: tail, page: undefined, from: 0, to: tailBytes, last: this.#begun, goesOn: false });
    }
    return at + headBytes;
  }

  /** Adds to the frame that was begun last; see `LinkWriter`. */
  extend(kind: number, bytes: number, most: number): number | undefined {
    const newest = this.#newest;
    if (newest === undefined) return undefined;
    const { memory } = this;
    const at = this.#at;
    const bodyBytes = at + bytes - newest - frameHeaderBytes;
    if (at + bytes > memory.length || bodyBytes > most || memory[newest + frameHeaderBytes - 1] !== kind)
      return undefined;
    writeFrameHeader(memory, kind, bodyBytes, newest);
    this.#at = at + bytes;
    this.#begunBytes += bytes;
    this.#unacknowledgedBytes += bytes;
    this.#waitingBytes += bytes;
    return at;
  }

  /** True while the connection has been given the beginning of a frame, and the rest of it is the next segment. */
  get isWithinFrame(): boolean {
    return this.#segments[this.#handed - 1]?.goesOn === true;
  }

  /**
   * Takes the next segment for the connection; undefined if there is none. `changed`: it cannot go out any more, because the
   * application's memory that belongs to it is not there, or is shorter than it was; nothing is taken then. That is looked
   * for before the beginning of a frame goes out, so a refusal can still be sent on the connection.
   */
  nextSegment(): Uint8Array | "changed" | undefined {
    if (this.#handed === this.#segments.length) this.#cut(false);
    const segment = this.#segments[this.#handed];
    if (segment === undefined) return undefined;
    if (isShortened(segment)) return "changed";
    const rest = segment.goesOn ? this.#segments[this.#handed + 1] : undefined;
    if (rest !== undefined && isShortened(rest)) return "changed";
    this.#handed += 1;
    this.#isSent = false;
    this.#handedWhole = Math.max(this.#handedWhole, segment.goesOn ? segment.last - 1 : segment.last);
    const { memory, from, to } = segment;
    this.#waitingBytes -= to - from;
    return new Uint8Array(memory.buffer, memory.byteOffset + from, to - from);
  }

  /** There is a new connection: everything goes out again. */
  rewind(): void {
    if (!this.#isSent) this.#retire();
    this.#handed = 0;
    this.#waitingBytes = this.#unacknowledgedBytes;
  }

  /** The connection has sent all that it was handed: pages that nobody needs can be used again. */
  sent(): void {
    this.#isSent = true;
    if (this.#spent.length === 0) return;
    for (const page of this.#spent) this.#pool.give(page);
    this.#spent = [];
  }

  /**
   * The other end has everything up to this number. False if that is impossible. Pages are not used again before the connection
   * has sent them: a peer that acknowledges what it has not read would otherwise get data that was written there for another peer.
   */
  acknowledge(number: number): boolean {
    if (number < this.#acknowledged || number > this.#handedWhole) return false;
    this.#acknowledged = number;
    let done = 0;
    for (const segment of this.#segments) {
      if (segment.last > number) break;
      this.#drop(segment, segment.to, done);
      this.#release(segment);
      done += 1;
    }
    if (done > 0) this.#segments.splice(0, done);
    const [first] = this.#segments;
    // What is being written has not been handed, and so cannot have been acknowledged in part.
    if (first !== undefined && first.page !== undefined) this.#drop(first, boundaryBehind(first, number), done);
    this.#handed = Math.max(0, this.#handed - done);
    if (this.#unacknowledgedBytes === 0) this.#leavePage();
    return true;
  }

  /**
   * The link has ended: nothing is kept any more. Pages do not go back, because a connection that closes behind what was
   * sent may not have sent it yet, and nobody is going to say when it has.
   */
  clear(): void {
    this.#segments = [];
    this.#spent = [];
    this.#handed = 0;
    this.#unacknowledgedBytes = 0;
    this.#waitingBytes = 0;
    this.#page = undefined;
    this.#from = 0;
    this.#at = 0;
    this.#newest = undefined;
  }

  /** How many messages the other end is not known to have. */
  countMessages(): number {
    this.#cut(false);
    let count = 0;
    for (const [index, { memory, page, from, to }] of this.#segments.entries()) {
      if (page === undefined) continue;
      for (let at = from; at < to; at = endOf(memory, at))
        count += messagesIn(memory, at, to, this.#segments[index + 1]?.memory);
    }
    return count;
  }

  /** What is written and not yet a segment becomes one. */
  #cut(goesOn: boolean): void {
    const page = this.#page;
    this.#newest = undefined;
    if (page === undefined || this.#from === this.#at) return;
    page.uses += 1;
    const { memory } = page;
    this.#segments.push({ memory, page, from: this.#from, to: this.#at, last: this.#begun, goesOn });
    this.#from = this.#at;
  }

  #turnPage(): void {
    this.#cut(false);
    this.#leavePage();
    this.#page = this.#pool.take();
  }

  #leavePage(): void {
    const page = this.#page;
    this.#page = undefined;
    this.#from = 0;
    this.#at = 0;
    this.#newest = undefined;
    if (page?.uses === 0) this.#recycle(page);
  }

  /**
   * The old connection may still be closing behind what it was handed, and nobody is going to say when it has sent that. So
   * its pages are kept as long as they are needed, and never used again.
   */
  #retire(): void {
    for (const { page } of this.#segments) if (page !== undefined) page.uses += 1;
    if (this.#page !== undefined) this.#page.uses += 1;
    this.#spent = [];
    this.#isSent = true;
  }

  #recycle(page: Page): void {
    if (this.#isSent) this.#pool.give(page);
    else this.#spent.push(page);
  }

  /** What lies before `to` in the segment at `index` is not needed any more. */
  #drop(segment: Segment, to: number, index: number): void {
    const bytes = to - segment.from;
    this.#unacknowledgedBytes -= bytes;
    if (index >= this.#handed) this.#waitingBytes -= bytes;
    segment.from = to;
  }

  #release({ page }: Segment): void {
    if (page === undefined) return;
    page.uses -= 1;
    if (page.uses === 0 && page !== this.#page) this.#recycle(page);
  }
}

/** A buffer that was transferred away, or resized, leaves views that are shorter than they were, or empty. */
function isShortened({ memory, to }: Segment): boolean {
  return memory.length < to;
}

const noPage: Page = { memory: new Uint8Array(0), uses: 0 };

/** Where the frame that begins here ends. */
function endOf(memory: Uint8Array, at: number): number {
  const a = memory[at] ?? 0;
  const [b = 0, c = 0, d = 0] = [memory[at + 1], memory[at + 2], memory[at + 3]];
  return at + frameHeaderBytes + a * 2 ** 24 + ((b << 16) | (c << 8) | d);
}

/** How many messages there are in the frame that begins here, of which the rest may be in `tail`. */
function messagesIn(memory: Uint8Array, at: number, to: number, tail: Uint8Array | undefined): number {
  const kind = memory[at + frameHeaderBytes - 1];
  if (kind !== numberedKinds.batch) return kind === numberedKinds.message ? 1 : 0;
  const end = endOf(memory, at);
  if (end <= to) return countBatched(memory, at + headBytes, end);
  return tail === undefined ? 0 : countBatched(tail, 0, tail.length);
}

/** Where the first frame behind this number begins. */
function boundaryBehind({ memory, from, to }: Segment, number: number): number {
  let at = from;
  while (at < to && readUint48(memory, at + frameHeaderBytes) <= number) at = endOf(memory, at);
  return at;
}
