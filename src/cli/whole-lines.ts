const newline = 0x0a;
const newlineBytes = Buffer.from("\n");

/** Holds back the end of what a process writes until its line is whole, so that lines of several processes do not mix. */
export class WholeLines {
  readonly #longestBytes: number;
  /** The beginning of a line that has no end yet. */
  #rest: Buffer[] = [];
  #restBytes = 0;

  /** `longestBytes`: a line that is longer is cut into lines of so many bytes. */
  constructor(longestBytes: number) {
    this.#longestBytes = longestBytes;
  }

  /** Takes the next bytes. Returns the lines that have become whole, each with its newline; empty if there are none. */
  push(bytes: Buffer): Buffer {
    const end = bytes.lastIndexOf(newline) + 1;
    const whole = end === 0 ? [] : this.#take(bytes.subarray(0, end));
    for (let at = end; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + this.#longestBytes - this.#restBytes);
      this.#rest.push(piece);
      this.#restBytes += piece.length;
      at += piece.length;
      if (this.#restBytes === this.#longestBytes) whole.push(Buffer.concat(this.#take(newlineBytes)));
    }
    return whole.length === 1 && whole[0] !== undefined ? whole[0] : Buffer.concat(whole);
  }

  /** Nothing more comes: what there is of a line, with a newline. */
  end(): Buffer {
    return this.#restBytes === 0 ? Buffer.alloc(0) : Buffer.concat(this.#take(newlineBytes));
  }

  /** What there is of a line, and its end behind it. */
  #take(end: Buffer): Buffer[] {
    const line = this.#rest;
    line.push(end);
    this.#rest = [];
    this.#restBytes = 0;
    return line;
  }
}

/** The same lines, each behind this prefix. `lines` ends with a newline, or is empty. */
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
