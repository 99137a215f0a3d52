/** A longer line is passed on in pieces, so that a stream without newlines costs no more than this. */
const longestLine = 64 * 1024;
const newline = 0x0a;

/** Cuts a stream of bytes into lines, however the bytes come. */
export class Lines {
  #rest: Uint8Array = new Uint8Array(0);

  /** Takes a piece, and returns the lines that are complete with it, without their newlines. */
  push(bytes: Uint8Array): Uint8Array[] {
    const all = this.#rest.length === 0 ? bytes : Uint8Array.of(...this.#rest, ...bytes);
    const lines: Uint8Array[] = [];
    let start = 0;
    for (let end = all.indexOf(newline); end >= 0; end = all.indexOf(newline, start)) {
      lines.push(all.subarray(start, end));
      start = end + 1;
    }
    for (; all.length - start >= longestLine; start += longestLine)
      lines.push(all.subarray(start, start + longestLine));
    this.#rest = all.slice(start);
    return lines;
  }

  /** What has come of a line that has no end yet, if anything. It is taken out. */
  rest(): Uint8Array | undefined {
    const rest = this.#rest;
    this.#rest = new Uint8Array(0);
    return rest.length === 0 ? undefined : rest;
  }
}
