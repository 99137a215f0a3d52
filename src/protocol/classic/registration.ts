import { printable } from "../../core/escaping.js";
import { type Address, endpointOf, formatAddress, type NetworkAddress } from "../address.js";
import { type CallerKind, callerKindOf } from "../caller-kind.js";
import { ascii, latin1 } from "../text.js";
import { AddressScanner, isDigit, isPadding, padding } from "./scanner.js";

/** Node to server, once, at the start: `<ip>:<port>`, where the node listens. */
export function encodeRegistration(address: Address): Uint8Array {
  return ascii(address);
}

/** What a registration reader has read. */
export type RegistrationEvent =
  | { readonly type: "registered"; readonly address: Address }
  /** More digits came after the port had been taken: the address is this one instead. */
  | { readonly type: "revised"; readonly address: Address }
  /** The caller speaks another protocol, or sends a hello. */
  | { readonly type: "wrongCaller"; readonly caller: Exclude<CallerKind, "registration" | "stranger"> }
  /** Not an address; `text` is what came, in printable ASCII. */
  | { readonly type: "bad"; readonly text: string }
  /** Something followed the registration; reported once. */
  | { readonly type: "extra"; readonly isAddress: boolean; readonly text: string };

const dot = 0x2e;
const bracket = 0x5b;
/** An octet of an IPv4 address has three digits at most, so a fourth one belongs to no second address. */
const octetDigits = 3;
/** Simple programs send a whole buffer, with zeros behind the address. */
const mostPadding = 4_096;

/**
 * Reads what a connection sends to a server in the classic dialect, in any pieces.
 *
 * Bytes behind a complete address are ignored, with one exception: digits right behind the port. Three or fewer of them
 * and a dot begin another address; any others belong to the port, and either correct it or make it no port at all.
 */
export class RegistrationReader {
  #state: "sniffing" | "scanning" | "settled" | "done" = "sniffing";
  #first: number | undefined;
  #received = "";
  readonly #scanner = new AddressScanner();
  #address: NetworkAddress | undefined;
  #isAnnounced = false;
  /** Digits behind a complete port, until it is known what they belong to. */
  #late = "";
  /** True once something stands between the port and what follows: no digit belongs to the port any more. */
  #isSeparated = false;
  /** Bytes of padding behind the address. */
  #paddingBytes = 0;
  readonly #events: RegistrationEvent[] = [];

  /** True while a quiet period would settle something. */
  get awaitsQuiet(): boolean {
    return (this.#state === "scanning" && this.#scanner.state === "provisional") || this.#late !== "";
  }

  push(bytes: Uint8Array): void {
    if (this.#state === "sniffing" || this.#state === "scanning") this.#received += latin1(bytes);
    for (let at = 0; at < bytes.length && this.#state !== "done"; at += 1) {
      if (this.#state === "settled" && this.#late === "") at = this.#skipPadding(bytes, at);
      const byte = bytes[at];
      if (byte !== undefined) this.#take(byte, bytes, at);
    }
    if (this.#state === "done") return;
    // A port that is complete counts only if no digit of the same piece follows it.
    if (this.#state === "settled" && this.#late === "") this.#announce();
  }

  poll(): RegistrationEvent | undefined {
    return this.#events.shift();
  }

  /** Nothing has come for the quiet period: what looks complete is complete. */
  quiet(): void {
    if (this.#state === "scanning" && this.#scanner.state === "provisional") this.#settle();
    this.#settleLate();
    if (this.#state === "settled") this.#announce();
  }

  /** The other side sends nothing more. */
  finish(): void {
    this.quiet();
    if (this.#state === "scanning" || (this.#state === "sniffing" && this.#first !== undefined)) this.#fail();
    this.#state = "done";
  }

  /** Returns where something else than padding begins. */
  #skipPadding(bytes: Uint8Array, from: number): number {
    let at = from;
    while (at < bytes.length && isPadding(bytes[at] ?? 0)) at += 1;
    if (at === from) return at;
    this.#isSeparated = true;
    this.#paddingBytes += at - from;
    // No program fills a longer buffer; nothing more is read from one that sends on.
    if (this.#paddingBytes > mostPadding) {
      this.#announce();
      this.#state = "done";
    }
    return at;
  }

  #take(byte: number, bytes: Uint8Array, at: number): void {
    if (this.#state === "sniffing") this.#sniff(byte);
    // The first byte is part of the address.
    if (this.#state === "settled") {
      this.#takeLate(byte, bytes, at);
    } else if (this.#state === "scanning") {
      const state = this.#scanner.take(byte);
      // Behind a port that could grow, only a space or another address may stand: 1e4 is no port.
      const isForeign = state === "ended" && byte !== bracket && !padding.has(byte);
      if (state === "bad" || isForeign) this.#fail();
      else if (state === "exact" || state === "ended") this.#settle();
      if (state === "ended" && !isForeign) this.#takeLate(byte, bytes, at);
    }
  }

  #sniff(byte: number): void {
    const caller = this.#first === undefined ? callerKindOf(byte, undefined) : callerKindOf(this.#first, byte);
    this.#first ??= byte;
    if (caller === "registration") this.#state = "scanning";
    else if (caller === "stranger") this.#fail();
    else if (caller !== undefined) {
      this.#state = "done";
      this.#events.push({ type: "wrongCaller", caller });
    }
  }

  #settle(): void {
    this.#state = "settled";
    this.#address = this.#scanner.address;
  }

  #announce(): void {
    if (this.#address === undefined || this.#isAnnounced) return;
    this.#isAnnounced = true;
    this.#events.push({ type: "registered", address: this.#address });
  }

  #takeLate(byte: number, bytes: Uint8Array, at: number): void {
    if (this.#late === "" && padding.has(byte)) {
      this.#isSeparated = true;
      return;
    }
    if (isDigit(byte)) {
      this.#late += String.fromCharCode(byte);
      if (this.#late.length > octetDigits) this.#settleLate();
      return;
    }
    const isAddress = byte === bracket || (byte === dot && this.#late !== "");
    const text = this.#late + printable(bytes.subarray(at));
    if (isAddress) this.#late = "";
    this.#settleLate();
    if (this.#state === "done" || (!isAddress && padding.has(byte))) return;
    this.#announce();
    this.#state = "done";
    this.#events.push({ type: "extra", isAddress, text });
  }

  /** Decides that the late digits belong to the port. */
  #settleLate(): void {
    if (this.#late === "" || this.#address === undefined) return;
    if (this.#isSeparated) {
      const text = this.#late;
      this.#late = "";
      this.#announce();
      this.#state = "done";
      this.#events.push({ type: "extra", isAddress: false, text });
      return;
    }
    const { host, port } = endpointOf(this.#address);
    const longer = Number(`${port}${this.#late}`);
    this.#received = `${this.#address}${this.#late}`;
    this.#late = "";
    if (longer > 65_535) {
      this.#fail();
      return;
    }
    this.#address = formatAddress({ host, port: longer });
    if (this.#isAnnounced) this.#events.push({ type: "revised", address: this.#address });
  }

  #fail(): void {
    this.#state = "done";
    this.#events.push({ type: "bad", text: printable(this.#received) });
  }
}
