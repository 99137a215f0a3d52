const newline = 0x0a;
const newlineBytes = Buffer.from("\n");

/** Keeps an unfinished line until its end arrives, so that the lines of several processes do not mix. */
export class WholeLines {
  readonly #maxBytes: number;
  /** The unfinished line. */
  #rest: Buffer[] = [];
  #restBytes = 0;

  /** `maxBytes`: a longer line is cut into lines of this length. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes bytes, and returns the lines that end in them, each with its newline; empty if there are none. */
  push(bytes: Buffer): Buffer {
    const end = bytes.lastIndexOf(newline) + 1;
    const whole = end === 0 ? [] : this.#take(bytes.subarray(0, end));
    for (let at = end; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + this.#maxBytes - this.#restBytes);
      this.#rest.push(piece);
      this.#restBytes += piece.length;
      at += piece.length;
      if (this.#restBytes === this.#maxBytes) whole.push(Buffer.concat(this.#take(newlineBytes)));
    }
    return whole.length === 1 && whole[0] !== undefined ? whole[0] : Buffer.concat(whole);
  }

  /** The unfinished line with a newline, at the end of the output. */
  end(): Buffer {
    return this.#restBytes === 0 ? Buffer.alloc(0) : Buffer.concat(this.#take(newlineBytes));
  }

  /** Removes and returns the unfinished line, with its end. */
  #take(end: Buffer): Buffer[] {
    const line = this.#rest;
    line.push(end);
    this.#rest = [];
    this.#restBytes = 0;
    return line;
  }
}

/** The lines with this prefix before each. `lines` ends with a newline, or is empty. */
export function prefixLines(lines: Buffer, prefix: Buffer): Buffer {
  let count = 0;
  for (let at = lines.indexOf(newline); at >= 0; at = lines.indexOf(newline, at + 1)) count += 1;
  const prefixed = Buffer.allocUnsafe(lines.length + count * prefix.length);
  let to = 0;
  for (let from = 0; from < lines.length; ) {
    const end = lines.indexOf(newline, from) + 1;
    to += prefix.copy(prefixed, to);
    to += lines.copy(prefixed, to, from, end);
    from = end;
  }
  return prefixed;
}

/** Each line without its newline. */
export function splitLines(lines: Buffer): Buffer[] {
  const split: Buffer[] = [];
  for (let from = 0; from < lines.length; ) {
    const end = lines.indexOf(newline, from);
    split.push(lines.subarray(from, end));
    from = end + 1;
  }
  return split;
}
