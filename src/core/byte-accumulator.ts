/** Memory is taken in blocks of this many bytes at least, and of 64 KiB at most unless one piece is longer. */
const firstBlockBytes = 256;
const longestBlockBytes = 65_536;

/**
 * Bytes that come in pieces and wait to be understood, all of them at once. Pieces are copied together: to keep each one
 * costs some 300 bytes, also if it has a single byte.
 */
export class ByteAccumulator {
  readonly #blocks: Uint8Array[] = [];
  /** How much of the last block is written. */
  #lastBytes = 0;
  #heldBytes = 0;

  /** The memory that is taken, which is less than twice what has come, and one small block. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  add(bytes: Uint8Array): void {
    let from = 0;
    while (from < bytes.length) {
      let block = this.#blocks.at(-1);
      if (block === undefined || this.#lastBytes === block.length) block = this.#extend(bytes.length - from);
      const count = Math.min(bytes.length - from, block.length - this.#lastBytes);
      block.set(bytes.subarray(from, from + count), this.#lastBytes);
      this.#lastBytes += count;
      from += count;
    }
  }

  /** What has come, in order. */
  *[Symbol.iterator](): Generator<Uint8Array> {
    for (const [index, block] of this.#blocks.entries()) {
      yield index === this.#blocks.length - 1 ? block.subarray(0, this.#lastBytes) : block;
    }
  }

  #extend(bytes: number): Uint8Array {
    const grown = Math.min(longestBlockBytes, Math.max(firstBlockBytes, this.#heldBytes));
    const block = new Uint8Array(Math.max(bytes, grown));
    this.#blocks.push(block);
    this.#lastBytes = 0;
    this.#heldBytes += block.length;
    return block;
  }
}
