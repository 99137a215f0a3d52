import { printable } from "../../core/escaping.js";
import { isNumbered, mayComeInParts, streamDataHeaderBytes } from "./numbered-frames.js";
import { decodePreface, mayBePreface, type Preface, prefaceBytes } from "./preface.js";

/**
 * Everything behind the preface is frames: the length of the body (4 bytes, big endian), the kind (1 byte), the body. The
 * kinds of numbered frames, which carry what applications send, are in `numbered-frames.ts`.
 */
export const frameKinds = {
  /** A JSON object in UTF-8; see `control.ts`. */
  control: 0x01,
  /** Numbered frames were received; see `acknowledgement.ts`. */
  acknowledgement: 0x03,
  /** Asks whether the other end lives. Its body is empty; a reader ignores it. */
  ping: 0x04,
  /** The answer to a ping, empty like it. */
  pong: 0x05,
} as const;

/** Unknown kinds from here on are ignored; others are refused. */
export const firstOptionalKind = 0x80;

export const frameHeaderBytes = 5;

/** One frame. */
export function encodeFrame(kind: number, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes + body.length);
  writeFrameHeader(frame, kind, body.length);
  frame.set(body, frameHeaderBytes);
  return frame;
}

const encoder = new TextEncoder();

/** One frame with a text in UTF-8. ASCII, the usual case, is written in place. */
export function encodeTextFrame(kind: number, text: string): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes + text.length);
  writeFrameHeader(frame, kind, text.length);
  // Text that is not ASCII has more bytes than characters.
  const { read } = encoder.encodeInto(text, frame.subarray(frameHeaderBytes));
  return read === text.length ? frame : encodeFrame(kind, encoder.encode(text));
}

export function writeFrameHeader(memory: Uint8Array, kind: number, bodyBytes: number, at = 0): void {
  memory[at] = bodyBytes >>> 24;
  memory[at + 1] = bodyBytes >>> 16;
  memory[at + 2] = bodyBytes >>> 8;
  memory[at + 3] = bodyBytes;
  memory[at + 4] = kind;
}

const nothing = new Uint8Array(0);

export const ping = encodeFrame(frameKinds.ping, nothing);
export const pong = encodeFrame(frameKinds.pong, nothing);

/** The longest bodies that a reader takes, in bytes. */
export interface FrameLimits {
  readonly controlBytes: number;
  /** Of numbered frames. */
  readonly messageBytes: number;
}

/** Gets what a frame reader has read, in order. */
export interface FrameSink {
  preface(preface: Preface): void;
  /** `body` is contiguous, and may be kept. */
  frame(kind: number, body: Uint8Array): void;
  /**
   * A numbered frame, whose body is in `bytes` from `from` to `to`. Without this method `frame` gets it. If its kind may come
   * in parts, `rest` bytes of it may be still to come, in `more`.
   */
  numbered?(kind: number, bytes: Uint8Array, from: number, to: number, rest: number): void;
  /** The next part of that frame; `rest` bytes are still to come. Without this method all frames come whole. */
  more?(bytes: Uint8Array, from: number, to: number, rest: number): void;
  /** The stream has no preface, or a frame is too large; nothing more is read from it. */
  bad(code: "BAD_PREFACE" | "FRAME_TOO_LARGE", detail: string): void;
}

/**
 * Cuts a stream into its preface and its frames, in whatever pieces it comes.
 *
 * A body within one piece is delivered as a view of that piece. One that spans pieces is delivered in parts, if its kind
 * allows that; otherwise it is copied once, into memory of its size, after its announced length was checked.
 */
export class FrameReader {
  /** May change while reading: a caller that is not known yet may send less. */
  limits: FrameLimits;
  readonly #sink: FrameSink;
  readonly #allocate: (bytes: number) => Uint8Array;
  #state: "preface" | "frames" | "done" = "preface";
  /** A preface or header that has come in part, which is rare. */
  #partialHead: Uint8Array | undefined;
  #headBytes = 0;
  #kind = 0;
  /** A body that has come in part, and how much of it is there. */
  #body: Uint8Array | undefined;
  #bodyBytes = 0;
  /** How much is still to come of a body that is delivered in parts. */
  #remainingBytes = 0;

  /** `allocate` returns memory, not cleared, for bodies that come in pieces. */
  constructor(
    limits: FrameLimits,
    sink: FrameSink,
    allocate: (bytes: number) => Uint8Array = (bytes) => new Uint8Array(bytes),
  ) {
    this.limits = limits;
    this.#sink = sink;
    this.#allocate = allocate;
  }

  /** Reads nothing more, also of the piece that is being read. */
  close(): void {
    this.#state = "done";
    this.#body = undefined;
  }

  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length && this.#state !== "done") {
      if (this.#state === "preface") at = this.#takePreface(bytes, at);
      else if (this.#body !== undefined) at = this.#takeBody(this.#body, bytes, at);
      else if (this.#remainingBytes > 0) at = this.#takePart(bytes, at);
      else at = this.#takeFrame(bytes, at);
    }
  }

  #takePreface(bytes: Uint8Array, from: number): number {
    const isWhole = this.#headBytes === 0 && bytes.length - from >= prefaceBytes;
    const at = isWhole ? from + prefaceBytes : this.#takeHead(bytes, from, prefaceBytes);
    const head = isWhole ? bytes.subarray(from, at) : this.#headSoFar;
    const preface = head.length === prefaceBytes ? decodePreface(head) : undefined;
    if (preface !== undefined) {
      this.#state = "frames";
      this.#headBytes = 0;
      this.#sink.preface(preface);
    } else if (head.length === prefaceBytes || !mayBePreface(head)) {
      this.#fail("BAD_PREFACE", `what came first is no preface: "${printable(head)}"`);
    }
    return at;
  }

  get #headSoFar(): Uint8Array {
    return (this.#partialHead ?? nothing).subarray(0, this.#headBytes);
  }

  /** Adds to a head of so many bytes; returns where to go on. */
  #takeHead(bytes: Uint8Array, from: number, wanted: number): number {
    this.#partialHead ??= new Uint8Array(Math.max(prefaceBytes, frameHeaderBytes));
    const count = Math.min(wanted - this.#headBytes, bytes.length - from);
    this.#partialHead.set(bytes.subarray(from, from + count), this.#headBytes);
    this.#headBytes += count;
    return from + count;
  }

  /** Takes a header, and the body too if all of it lies in this piece. */
  #takeFrame(bytes: Uint8Array, from: number): number {
    let head = bytes;
    let headAt = from;
    let at = from + frameHeaderBytes;
    // A header in one piece, the usual case, is read in place.
    if (this.#headBytes > 0 || at > bytes.length) {
      at = this.#takeHead(bytes, from, frameHeaderBytes);
      if (this.#headBytes < frameHeaderBytes) return at;
      head = this.#headSoFar;
      headAt = 0;
      this.#headBytes = 0;
    }
    const length = readLength(head, headAt);
    const kind = head[headAt + 4] ?? 0;
    const most = isNumbered(kind) ? this.limits.messageBytes : this.limits.controlBytes;
    if (length > most) {
      this.#fail("FRAME_TOO_LARGE", `a frame of kind ${kind} announces ${length} bytes; ${most} are allowed`);
      return at;
    }
    const to = at + length;
    if (to <= bytes.length) {
      this.#deliver(kind, bytes, at, to);
      return to;
    }
    if (mayComeInParts(kind) && this.#sink.more !== undefined && bytes.length - at > streamDataHeaderBytes) {
      this.#remainingBytes = to - bytes.length;
      this.#sink.numbered?.(kind, bytes, at, bytes.length, this.#remainingBytes);
      return bytes.length;
    }
    this.#kind = kind;
    this.#body = this.#allocate(length);
    this.#bodyBytes = 0;
    return at;
  }

  #takeBody(body: Uint8Array, bytes: Uint8Array, from: number): number {
    const count = Math.min(body.length - this.#bodyBytes, bytes.length - from);
    body.set(bytes.subarray(from, from + count), this.#bodyBytes);
    this.#bodyBytes += count;
    if (this.#bodyBytes === body.length) {
      this.#body = undefined;
      this.#deliver(this.#kind, body, 0, body.length);
    }
    return from + count;
  }

  #takePart(bytes: Uint8Array, from: number): number {
    const to = Math.min(bytes.length, from + this.#remainingBytes);
    this.#remainingBytes -= to - from;
    this.#sink.more?.(bytes, from, to, this.#remainingBytes);
    return to;
  }

  #deliver(kind: number, bytes: Uint8Array, from: number, to: number): void {
    const sink = this.#sink;
    if (sink.numbered !== undefined && isNumbered(kind)) sink.numbered(kind, bytes, from, to, 0);
    else sink.frame(kind, bytes.subarray(from, to));
  }

  #fail(code: "BAD_PREFACE" | "FRAME_TOO_LARGE", detail: string): void {
    this.close();
    this.#sink.bad(code, detail);
  }
}

function readLength(bytes: Uint8Array, at: number): number {
  const low = ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
  return (bytes[at] ?? 0) * 2 ** 24 + low;
}
