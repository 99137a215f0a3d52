const newline = 0x0a;
/** What the first bytes of an unfinished line reserve. */
const leastReserved = 256;

/** A line without its newline, or the length of one that was too long to keep. */
export type SplitLine = Uint8Array | { readonly tooLong: number };

/** Cuts a stream of bytes into lines, however the bytes come. Each byte is copied a few times at most. */
export class LineSplitter {
  readonly #longest: number;
  /** The beginning of the line that has no end yet: the first `#length` bytes, or nothing if it is too long. */
  #buffer = new Uint8Array(0);
  /** Bytes of that line that have come, kept or not. */
  #length = 0;

  /** `longest`: bytes of a line. A longer one is counted to its end, and not kept. */
  constructor(longest = Number.POSITIVE_INFINITY) {
    this.#longest = longest;
  }

  /** How many bytes of a line without an end have come. */
  get restBytes(): number {
    return this.#length;
  }

  /** Takes a piece, and returns the lines that end in it. They may share its memory. */
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

  /** What has come of a line that has no end yet, if anything. It is taken out. */
  rest(): SplitLine | undefined {
    return this.#length === 0 ? undefined : this.#end(new Uint8Array(0));
  }

  #end(bytes: Uint8Array): SplitLine {
    if (this.#length === 0 && bytes.length <= this.#longest) return bytes;
    this.#keep(bytes);
    const length = this.#length;
    const line = length > this.#longest ? { tooLong: length } : this.#buffer.subarray(0, length);
    this.#buffer = new Uint8Array(0);
    this.#length = 0;
    return line;
  }

  #keep(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#longest) {
      this.#buffer = new Uint8Array(0);
    } else if (bytes.length > 0) {
      if (length > this.#buffer.length) this.#grow(length);
      this.#buffer.set(bytes, this.#length);
    }
    this.#length = length;
  }

  #grow(length: number): void {
    const size = Math.max(leastReserved, length, 2 * this.#buffer.length);
    const larger = new Uint8Array(Math.min(size, this.#longest));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}
