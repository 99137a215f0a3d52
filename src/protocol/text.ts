/** Text as bytes, and bytes as text. To show foreign text, use `core/escaping.ts`. */

/** ASCII text as bytes. */
export function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

// Invalid bytes are not repaired, and a byte order mark is kept: different bytes are different texts.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes of UTF-8 as text; undefined if they are not UTF-8. */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** What is kept of one piece, to be shown in an error: more than any error shows. */
const longestKept = 80;

/** The beginning of a piece with one character for each byte, for `printable`. */
export function latin1(bytes: Uint8Array): string {
  // eslint-disable-next-line no-restricted-syntax -- 80 bytes at most
  return String.fromCharCode(...bytes.subarray(0, longestKept));
}
