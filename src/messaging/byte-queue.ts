import { isReferenced, referencedBytes, writeBytes } from "../protocol/native/payload.js";

/** Memory in which short pieces are gathered: few small frames, or chunks for who reads, instead of many tiny ones. */
const blockBytes = 4 * referencedBytes;

/**
 * Bytes of a stream that wait, first in, first out: for their turn to be sent, or to be read. Short ones are copied, long
 * ones must not change.
 */
export class ByteQueue {
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  /** The last chunk, if it is a block, and how much of it is written; what is written never changes. */
  #block: Uint8Array | undefined;
  #blockAt = 0;

  get bytes(): number {
    return this.#bytes;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#bytes += bytes.length;
    if (isReferenced(bytes)) {
      // A view of this length, which is empty once the memory is gone, or is shorter.
      this.#chunks.push(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
      this.#block = undefined;
    } else this.#gather(bytes);
  }

  /**
   * Takes out the first bytes, at least one and at most so many. There are some, unless whoever lent them has transferred
   * their memory away: then undefined, and nothing more can be taken.
   */
  take(most: number): Uint8Array | undefined {
    const [first] = this.#chunks;
    if (first === undefined) throw new RangeError("nothing waits");
    if (first.length === 0) return undefined;
    const bytes = first.length <= most ? first : first.subarray(0, most);
    if (bytes === first) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(most);
    this.#bytes -= bytes.length;
    return bytes;
  }

  clear(): void {
    this.#chunks = [];
    this.#block = undefined;
    this.#bytes = 0;
  }

  /** Appends to the block that was begun last, if it is still the last chunk and has room. */
  #gather(bytes: Uint8Array): void {
    const from = this.#blockAt;
    const last = this.#chunks.at(-1);
    const block = this.#block;
    if (block !== undefined && last !== undefined && from + bytes.length <= block.length) {
      writeBytes(block, from, bytes);
      const start = from - last.length;
      this.#chunks[this.#chunks.length - 1] = block.subarray(start, from + bytes.length);
      this.#blockAt = from + bytes.length;
      return;
    }
    // A first short piece is likely to go alone; only what comes behind others is gathered.
    const isAlone = last === undefined;
    const memory = new Uint8Array(isAlone ? bytes.length : blockBytes);
    writeBytes(memory, 0, bytes);
    this.#chunks.push(isAlone ? memory : memory.subarray(0, bytes.length));
    this.#block = isAlone ? undefined : memory;
    this.#blockAt = bytes.length;
  }
}
