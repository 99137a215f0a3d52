import { type RegistrationEvent, RegistrationReader } from "../protocol/classic/registration.js";
import type { Dialect } from "../protocol/directory.js";
import { decodeFrame } from "../protocol/native/content.js";
import type { Control } from "../protocol/native/control.js";
import { type FrameLimits, FrameReader } from "../protocol/native/frames.js";
import { firstNativeByte, isSupported } from "../protocol/native/preface.js";

/** What was read from a connection, in either dialect. */
export type DialectReaderEvent =
  | { readonly type: "registration"; readonly event: RegistrationEvent }
  | { readonly type: "control"; readonly control: Control }
  | { readonly type: "ping" }
  /** The caller speaks the native dialect, but no version that is spoken here. */
  | { readonly type: "otherVersion"; readonly versions: string }
  | {
      readonly type: "bad";
      readonly code: "BAD_PREFACE" | "FRAME_TOO_LARGE" | "BAD_FRAME" | "UNKNOWN_MESSAGE" | "UNEXPECTED_MESSAGE";
      readonly detail: string;
    };

/** The longest frames, before it is known who sends them and after. */
type ReaderLimits = Readonly<Record<"firstFrameBytes" | "controlBytes", number>>;

/**
 * Reads what a connection sends to the server. Its first byte decides the dialect; silence decides nothing.
 */
export class DialectReader {
  readonly #limits: ReaderLimits;
  #classic: RegistrationReader | undefined;
  #native: FrameReader | undefined;
  readonly #events: DialectReaderEvent[] = [];

  constructor(limits: ReaderLimits) {
    this.#limits = limits;
  }

  /** Undefined before the first byte. */
  get dialect(): Dialect | undefined {
    if (this.#native !== undefined) return "native";
    return this.#classic === undefined ? undefined : "classic";
  }

  /** True while a quiet period would decide something. */
  get awaitsQuiet(): boolean {
    return this.#classic?.awaitsQuiet === true;
  }

  push(bytes: Uint8Array): void {
    const [first] = bytes;
    if (first === undefined) return;
    if (this.dialect === undefined) this.#open(first);
    this.#native?.push(bytes);
    this.#classic?.push(bytes);
    this.#listen();
  }

  poll(): DialectReaderEvent | undefined {
    return this.#events.shift();
  }

  /** Nothing has come for the quiet period. */
  quiet(): void {
    this.#classic?.quiet();
    this.#listen();
  }

  /** The other side sends nothing more. */
  finish(): void {
    this.#classic?.finish();
    this.#listen();
  }

  /** The sender has proved its address: longer frames are allowed. */
  trust(): void {
    if (this.#native !== undefined) this.#native.limits = frames(this.#limits.controlBytes);
  }

  /** Reads nothing more. */
  close(): void {
    this.#native?.close();
    this.#events.length = 0;
  }

  #open(first: number): void {
    if (first === firstNativeByte) this.#native = new FrameReader(frames(this.#limits.firstFrameBytes), this.#sink());
    else this.#classic = new RegistrationReader();
  }

  #listen(): void {
    for (let event = this.#classic?.poll(); event !== undefined; event = this.#classic?.poll()) {
      this.#events.push({ type: "registration", event });
    }
  }

  #sink(): ConstructorParameters<typeof FrameReader>[1] {
    return {
      preface: (preface) => {
        if (isSupported(preface)) return;
        this.#native?.close();
        this.#events.push({ type: "otherVersion", versions: `${preface.lowest} to ${preface.highest}` });
      },
      frame: (kind, body) => this.#frame(kind, body),
      numbered: () => this.#membersOnly(),
      bad: (code, detail) => this.#events.push({ type: "bad", code, detail }),
    };
  }

  #frame(kind: number, body: Uint8Array): void {
    const content = decodeFrame(kind, body);
    if (content === undefined) return;
    switch (content.type) {
      case "pong":
        break;
      case "bad":
        this.#events.push(content);
        break;
      case "ping":
        this.#events.push({ type: "ping" });
        break;
      case "acknowledgement":
        this.#membersOnly();
        break;
      default:
        this.#events.push({ type: "control", control: content });
    }
  }

  #membersOnly(): void {
    const detail = "messages of members go from member to member, not through the server";
    this.#events.push({ type: "bad", code: "UNEXPECTED_MESSAGE", detail });
  }
}

function frames(mostBytes: number): FrameLimits {
  return { controlBytes: mostBytes, messageBytes: mostBytes };
}
