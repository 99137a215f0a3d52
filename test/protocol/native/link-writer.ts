import type { LinkWriter } from "../../../src/core/link-handler.js";

/** One frame that was begun, with bytes around it that nobody may touch. */
export class Sheet implements LinkWriter {
  readonly hasBeenUp = true;
  readonly takesBatches = true;
  readonly isPushDue = false;
  readonly isOpen = true;
  readonly unacknowledgedBytes = 0;
  readonly waitingBytes = 0;
  readonly begunBytes = 0;
  readonly roundTripMs = undefined;
  memory = new Uint8Array(0);
  kind = 0;
  #bytes = 0;
  #tail: Uint8Array | undefined;

  begin(kind: number, bytes: number, tail?: Uint8Array): number {
    this.kind = kind;
    this.#bytes = bytes;
    this.#tail = tail;
    this.memory = new Uint8Array(bytes + 6).fill(0xee);
    return 3;
  }

  extend(kind: number, bytes: number, most: number): number | undefined {
    if (kind !== this.kind || this.#tail !== undefined || 6 + this.#bytes + bytes > most) return undefined;
    const at = 3 + this.#bytes;
    const memory = new Uint8Array(at + bytes + 3).fill(0xee);
    memory.set(this.memory.subarray(0, at));
    this.memory = memory;
    this.#bytes += bytes;
    return at;
  }

  measure(): void {}

  get tail(): Uint8Array | undefined {
    return this.#tail;
  }

  /** The whole content. */
  get content(): Uint8Array {
    const around = [...this.memory.subarray(0, 3), ...this.memory.subarray(3 + this.#bytes)];
    if (around.some((byte) => byte !== 0xee)) throw new Error("it was written outside its place");
    const tail = this.#tail ?? new Uint8Array(0);
    const content = new Uint8Array(this.#bytes + tail.length);
    content.set(this.memory.subarray(3, 3 + this.#bytes));
    content.set(tail, this.#bytes);
    return content;
  }
}

export type Decoder<Content> = (bytes: Uint8Array, from: number, to: number) => Content | string;

/** Reads content that lies between other bytes. What comes must not depend on these. */
export function decodeWithin<Content>(decode: Decoder<Content>, content: Uint8Array): Content | string {
  const [a, b] = [0x00, 0xff].map((around) => {
    const memory = new Uint8Array(content.length + 9).fill(around);
    memory.set(content, 5);
    return plain(decode(memory.subarray(2), 3, 3 + content.length));
  });
  if (JSON.stringify(a) !== JSON.stringify(b)) throw new Error("it was read outside its place");
  return a as Content | string;
}

/** Writes with one encoder and reads with its decoder. */
export function roundTrip<Content>(kind: number, encode: (sheet: Sheet) => void, decode: Decoder<Content>): unknown {
  const sheet = new Sheet();
  encode(sheet);
  if (sheet.kind !== kind) throw new Error(`kind ${sheet.kind}`);
  return decodeWithin(decode, sheet.content);
}

/** The same with arrays in place of bytes. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value];
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}
