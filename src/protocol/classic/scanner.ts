import { formatAddress, longestNetworkAddress, type NetworkAddress } from "../address.js";
import { canonicalIp, isUnspecified } from "../ip.js";

/**
 * What the bytes so far are:
 * - `open`: the beginning of an address, not yet one;
 * - `provisional`: an address whose port could still grow by a digit;
 * - `exact`: an address to which no digit can be added;
 * - `ended`: an address, and the last byte is not part of it;
 * - `bad`: no address, whatever follows.
 */
export type ScanState = "open" | "provisional" | "exact" | "ended" | "bad";

const zero = 0x30;
const nine = 0x39;

/** Bytes behind an address that are ignored without a report: NUL, newline, carriage return, space. */
export const padding: ReadonlySet<number> = new Set([0x00, 0x0a, 0x0d, 0x20]);

/** The same, faster for many bytes. */
export function isPadding(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x00;
}

/** True for the bytes 0 to 9. */
export function isDigit(byte: number): boolean {
  return byte >= zero && byte <= nine;
}

/** True if another valid port begins with this one: ten times it is still a port. */
export function isAmbiguousPort(port: number): boolean {
  return port * 10 <= 65_535;
}

/**
 * Reads one address, byte by byte, from a stream that does not mark its end.
 *
 * The classic dialect has no frames, so the end of an address must be found in the address itself. Ports are nearly
 * prefix-free: a port of 6554 or more cannot be the beginning of another one, because ten times it exceeds 65535. Nine
 * ports out of ten are therefore complete at their last digit, with no timer. The others are `provisional` until a byte
 * that is no digit, the end of the stream or a quiet period decides.
 */
export class AddressScanner {
  #text = "";
  #host: string | undefined;
  #port = 0;
  #state: ScanState = "open";

  get state(): ScanState {
    return this.#state;
  }

  /** True before the first byte. */
  get isFresh(): boolean {
    return this.#text === "" && this.#state === "open";
  }

  /** True between `[` and `]`, where letters may be hexadecimal digits. */
  get isInBrackets(): boolean {
    return this.#host === undefined && this.#text.startsWith("[") && !this.#text.endsWith("]");
  }

  /** The bytes so far, as text, for errors. */
  get text(): string {
    return this.#text;
  }

  /** The address that the bytes so far are; undefined while `open` and when `bad`. */
  get address(): NetworkAddress | undefined {
    const isAddress = this.#state === "provisional" || this.#state === "exact" || this.#state === "ended";
    return isAddress && this.#host !== undefined ? formatAddress({ host: this.#host, port: this.#port }) : undefined;
  }

  get port(): number {
    return this.#port;
  }

  /** Takes the next byte. After `ended` and `bad` the byte is not part of the address. */
  take(byte: number): ScanState {
    if (this.#state === "open" || this.#state === "provisional") {
      this.#state = this.#host === undefined ? this.#takeHost(byte) : this.#takePort(byte);
    } else if (this.#state === "exact") {
      this.#state = "ended";
    }
    return this.#state;
  }

  #takeHost(byte: number): ScanState {
    const character = String.fromCharCode(byte);
    const isBracketed = this.#text.startsWith("[");
    if (character === ":" && (!isBracketed || this.#text.endsWith("]"))) {
      const literal = isBracketed ? this.#text.slice(1, -1) : this.#text;
      const host = canonicalIp(literal);
      this.#text += character;
      // A bracket belongs to IPv6 and to nothing else.
      if (host === undefined || isUnspecified(host) || isBracketed !== literal.includes(":")) return "bad";
      this.#host = host;
      return "open";
    }
    const isInside = isBracketed && !this.#text.endsWith("]");
    const allowed = this.#text === "" ? /[0-9[]/ : isInside ? /[0-9a-fA-F:.\]]/ : /[0-9.]/;
    if (!allowed.test(character) || this.#text.length >= longestNetworkAddress) return "bad";
    this.#text += character;
    return "open";
  }

  #takePort(byte: number): ScanState {
    if (!isDigit(byte)) return this.#state === "provisional" ? "ended" : "bad";
    const port = this.#port * 10 + (byte - zero);
    this.#text += String.fromCharCode(byte);
    // Port 0 and leading zeros begin alike; 65536 to 65539 are the only overlong ports that get this far.
    if (port === 0 || port > 65_535) return "bad";
    this.#port = port;
    return isAmbiguousPort(port) ? "provisional" : "exact";
  }
}
