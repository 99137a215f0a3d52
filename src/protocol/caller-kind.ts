import { isDigit } from "./classic/scanner.js";
import { firstNativeByte } from "./native/preface.js";
import { ascii } from "./text.js";

/**
 * What a caller speaks, by its first one or two bytes.
 *
 * - `registration`: a digit or `[`, the beginning of an address;
 * - `hello`: `He`;
 * - `tls`: 0x16, a TLS record of type handshake (RFC 8446 section 5.1);
 * - `http`: `G`, `P` or `HE`, the beginning of GET, POST, PUT, PATCH and HEAD;
 * - `native`: 0xF7, the beginning of a preface;
 * - `stranger`: anything else.
 */
export type CallerKind = "registration" | "hello" | "tls" | "http" | "native" | "stranger";

const letters = { G: 0x47, H: 0x48, E: 0x45, e: 0x65, P: 0x50, bracket: 0x5b, tlsHandshake: 0x16 };

/** The kind of a caller; undefined while one byte is not enough. */
export function callerKindOf(first: number, second: number | undefined): CallerKind | undefined {
  if (isDigit(first) || first === letters.bracket) return "registration";
  if (first === letters.tlsHandshake) return "tls";
  if (first === firstNativeByte) return "native";
  if (first === letters.G || first === letters.P) return "http";
  if (first !== letters.H) return "stranger";
  if (second === undefined) return undefined;
  if (second === letters.e) return "hello";
  return second === letters.E ? "http" : "stranger";
}

/**
 * The answer to a TLS handshake where no secret is used: a record with the fatal alert `protocol_version` (RFC 8446 section
 * 6.2), as a server sends that supports none of the caller's versions. It shows callers with a secret why they fail.
 */
export function tlsRefusal(): Uint8Array {
  return Uint8Array.of(0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46);
}

/** The answer to an HTTP request of any method. It has no body, because the answer to HEAD may have none. */
export function httpRefusal(): Uint8Array {
  return ascii("HTTP/1.1 400 This Port Does Not Speak HTTP\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}
