import { printable } from "../../core/escaping.js";
import type { Address } from "../address.js";
import { type CallerKind, sniff } from "../caller-kind.js";
import { ascii, latin1 } from "../text.js";
import { AddressScanner } from "./scanner.js";

/** Dialing node to dialed node, first bytes: `Hello from:<ip>:<port>`. */
export function encodeHello(address: Address): Uint8Array {
  return ascii(`Hello from:${address}`);
}

const opening = "Hello from";
/** What may stand between the opening and the address: a colon as we write it, a space as others do. */
const separators = new Set([0x3a, 0x20]);

/** What a hello reader has understood. */
export type HelloEvent =
  | { readonly type: "hello"; readonly address: Address }
  /** What followed the hello, byte for byte. */
  | { readonly type: "payload"; readonly bytes: Uint8Array }
  /** The first bytes are no hello; `text` is what came instead, printable. */
  | { readonly type: "bad"; readonly caller: CallerKind; readonly text: string };

/**
 * Reads the first bytes of an accepted peer connection, in any pieces, and hands on what follows as payload.
 *
 * A hello is never corrected: what comes behind a port that the quiet period has settled is payload, because a writer with
 * an ambiguous port pauses longer than that before its first payload.
 */
export class HelloReader {
  #state: "opening" | "separator" | "address" | "payload" | "done" = "opening";
  #read = 0;
  #first: number | undefined;
  #said = "";
  readonly #scanner = new AddressScanner();
  readonly #events: HelloEvent[] = [];

  /** True while a quiet period would decide something. */
  get awaitsQuiet(): boolean {
    return this.#state === "address" && this.#scanner.state === "provisional";
  }

  push(bytes: Uint8Array): void {
    if (this.#state !== "payload" && this.#state !== "done") this.#said += latin1(bytes);
    for (const [index, byte] of bytes.entries()) {
      if (this.#state === "done") return;
      if (this.#state === "payload") {
        this.#events.push({ type: "payload", bytes: bytes.subarray(index) });
        return;
      }
      if (!this.#take(byte)) {
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
    // Two bytes tell who calls; from then on the rest of the opening must follow.
    const caller = this.#read < 2 ? sniff(this.#first ?? byte, this.#first === undefined ? undefined : byte) : "hello";
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
    this.#events.push({ type: "bad", caller, text: printable(this.#said) });
  }
}
