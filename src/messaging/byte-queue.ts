import { Queue } from "../core/queue.js";
import { isReferenced, referencedBytes, writeBytes } from "../protocol/native/payload.js";

/** Memory in which short pieces are gathered: few small frames instead of many tiny ones. */
const blockBytes = 4 * referencedBytes;

/** Bytes of a stream that wait for their turn to be sent, first in, first out. Short ones are copied, long ones must not change. */
export class ByteQueue {
  /** In front of all others: what `take` has left of a chunk. */
  #rest: Uint8Array | undefined;
  readonly #chunks = new Queue<Uint8Array>();
  /** Behind all others: a block that is being written, from where on it has not been taken, and up to where it is written. */
  #block: Uint8Array | undefined;
  #from = 0;
  #to = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const isFirst = this.#bytes === 0;
    this.#bytes += bytes.length;
    if (isReferenced(bytes)) {
      this.#closeBlock();
      // A view of this length, which is empty once the memory is gone, or is shorter.
      this.#chunks.push(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
    } else if (isFirst) {
      // A first short piece is likely to go alone; only what comes behind others is gathered.
      this.#chunks.push(new Uint8Array(bytes));
    } else this.#gather(bytes);
  }

  /**
   * Takes out the first bytes, at least one and at most so many. There are some, unless whoever lent them has transferred
   * their memory away: then undefined, and nothing more can be taken.
   */
  take(most: number): Uint8Array | undefined {
    if (this.#bytes === 0) throw new RangeError("nothing waits");
    if (this.#rest === undefined && this.#chunks.size === 0) this.#closeBlock();
    const first = this.#rest ?? this.#chunks.poll();
    if (first === undefined || first.length === 0) {
      this.#rest = first;
      return undefined;
    }
    const bytes = first.length <= most ? first : first.subarray(0, most);
    this.#rest = bytes === first ? undefined : first.subarray(most);
    this.#bytes -= bytes.length;
    if (this.#bytes === 0) this.#block = undefined;
    return bytes;
  }

  clear(): void {
    this.#rest = undefined;
    this.#chunks.clear();
    this.#block = undefined;
    this.#bytes = 0;
  }

  #gather(bytes: Uint8Array): void {
    if (this.#block === undefined || this.#to + bytes.length > this.#block.length) {
      this.#closeBlock();
      this.#block = new Uint8Array(blockBytes);
      this.#from = 0;
      this.#to = 0;
    }
    writeBytes(this.#block, this.#to, bytes);
    this.#to += bytes.length;
  }

  /** What is written in the block becomes a chunk; what is written never changes, so the rest of the block can be used on. */
  #closeBlock(): void {
    if (this.#block === undefined || this.#from === this.#to) return;
    this.#chunks.push(this.#block.subarray(this.#from, this.#to));
    this.#from = this.#to;
  }
}
