/** Text as bytes, and bytes as text. What is shown of foreign ones goes through `core/escaping.ts`. */

/** ASCII text as bytes. */
export function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

// Neither repairs what is broken nor drops a byte order mark: different bytes are different texts.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes of UTF-8 as text; undefined if they are none. */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** What is kept of one piece for a message: more than any message shows. */
const longestKept = 80;

/** The beginning of a piece with one character for each byte, to be shown by `printable` later. */
export function latin1(bytes: Uint8Array): string {
  // eslint-disable-next-line no-restricted-syntax -- 80 bytes at most
  return String.fromCharCode(...bytes.subarray(0, longestKept));
}
