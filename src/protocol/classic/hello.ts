import { printable } from "../../core/escaping.js";
import type { Address } from "../address.js";
import { type CallerKind, callerKindOf } from "../caller-kind.js";
import { ascii, latin1 } from "../text.js";
import { AddressScanner } from "./scanner.js";

/** Dialing node to dialed node, first bytes: `Hello from:<ip>:<port>`. */
export function encodeHello(address: Address): Uint8Array {
  return ascii(`Hello from:${address}`);
}

const opening = "Hello from";
/** Between the opening and the address: a colon as we write it, or a space as others do. */
const separators = new Set([0x3a, 0x20]);

/** What a hello reader has read. */
export type HelloEvent =
  | { readonly type: "hello"; readonly address: Address }
  /** What followed the hello, byte for byte. */
  | { readonly type: "payload"; readonly bytes: Uint8Array }
  /** The first bytes are no hello; `text` is what came, in printable ASCII. */
  | { readonly type: "bad"; readonly caller: CallerKind; readonly text: string };

/**
 * Reads the first bytes of an accepted peer connection, in any pieces; what follows is payload.
 *
 * A hello is never corrected: bytes behind a port that the quiet period has settled are payload, because a writer with an
 * ambiguous port pauses longer than that before its first payload.
 */
export class HelloReader {
  #state: "opening" | "separator" | "address" | "payload" | "done" = "opening";
  #read = 0;
  #first: number | undefined;
  #received = "";
  readonly #scanner = new AddressScanner();
  readonly #events: HelloEvent[] = [];

  /** True while a quiet period would settle something. */
  get awaitsQuiet(): boolean {
    return this.#state === "address" && this.#scanner.state === "provisional";
  }

  push(bytes: Uint8Array): void {
    if (this.#state !== "payload" && this.#state !== "done") this.#received += latin1(bytes);
    for (const [index, byte] of bytes.entries()) {
      if (this.#state === "done") return;
      if (this.#state === "payload" || !this.#take(byte)) {
        this.#events.push({ type: "payload", bytes: bytes.subarray(index) });
        return;
      }
    }
  }

  poll(): HelloEvent | undefined {
    return this.#events.shift();
  }

  /** Nothing has come for the quiet period: the port is complete. */
  quiet(): void {
    if (this.awaitsQuiet) this.#settle();
  }

  /** The other side sends nothing more. */
  finish(): void {
    this.quiet();
    if (this.#state !== "payload" && this.#state !== "done" && this.#first !== undefined) this.#fail("hello");
  }

  /** Returns false if the byte is the first of the payload. */
  #take(byte: number): boolean {
    if (this.#state === "address") return this.#takeAddress(byte);
    if (this.#state === "opening") this.#takeOpening(byte);
    else if (separators.has(byte)) this.#state = "address";
    else this.#fail("hello");
    return true;
  }

  #takeOpening(byte: number): void {
    // Two bytes show the kind of the caller; then the rest of the opening must follow.
    const caller =
      this.#read < 2 ? callerKindOf(this.#first ?? byte, this.#first === undefined ? undefined : byte) : "hello";
    this.#first ??= byte;
    const isExpected = byte === opening.charCodeAt(this.#read);
    this.#read += 1;
    if (caller !== undefined && caller !== "hello") this.#fail(caller);
    else if (!isExpected) this.#fail("stranger");
    else if (this.#read === opening.length) this.#state = "separator";
  }

  #takeAddress(byte: number): boolean {
    const state = this.#scanner.take(byte);
    if (state === "bad") this.#fail("hello");
    if (state === "exact" || state === "ended") this.#settle();
    return state !== "ended";
  }

  #settle(): void {
    const address = this.#scanner.address;
    if (address === undefined) return;
    this.#state = "payload";
    this.#events.push({ type: "hello", address });
  }

  #fail(caller: CallerKind): void {
    this.#state = "done";
    this.#events.push({ type: "bad", caller, text: printable(this.#received) });
  }
}
