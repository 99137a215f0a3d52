const newline = 0x0a;
/** The smallest buffer of an unfinished line. */
const minBufferBytes = 256;

/** A line without its newline, or the length of one that was too long. */
export type SplitLine = Uint8Array | { readonly tooLong: number };

/** Splits a stream of bytes into lines. */
export class LineSplitter {
  readonly #maxBytes: number;
  /** The unfinished line: its first `#length` bytes, or nothing if it is too long. */
  #buffer = new Uint8Array(0);
  /** Bytes of the unfinished line, kept or not. */
  #length = 0;

  /** `maxBytes` of a line. The bytes of a longer one are counted and not kept. */
  constructor(maxBytes = Number.POSITIVE_INFINITY) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of the unfinished line. */
  get unfinishedBytes(): number {
    return this.#length;
  }

  /** Takes bytes, and returns the lines that end in them. They may share memory with the bytes. */
  push(bytes: Uint8Array): SplitLine[] {
    const lines: SplitLine[] = [];
    let start = 0;
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, start)) {
      lines.push(this.#end(bytes.subarray(start, end)));
      start = end + 1;
    }
    this.#keep(bytes.subarray(start));
    return lines;
  }

  /** Removes and returns the unfinished line, if there is one. */
  takeUnfinished(): SplitLine | undefined {
    return this.#length === 0 ? undefined : this.#end(new Uint8Array(0));
  }

  #end(bytes: Uint8Array): SplitLine {
    if (this.#length === 0 && bytes.length <= this.#maxBytes) return bytes;
    this.#keep(bytes);
    const length = this.#length;
    const line = length > this.#maxBytes ? { tooLong: length } : this.#buffer.subarray(0, length);
    this.#buffer = new Uint8Array(0);
    this.#length = 0;
    return line;
  }

  #keep(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#maxBytes) {
      this.#buffer = new Uint8Array(0);
    } else if (bytes.length > 0) {
      if (length > this.#buffer.length) this.#grow(length);
      this.#buffer.set(bytes, this.#length);
    }
    this.#length = length;
  }

  #grow(length: number): void {
    const size = Math.max(minBufferBytes, length, 2 * this.#buffer.length);
    const larger = new Uint8Array(Math.min(size, this.#maxBytes));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}
