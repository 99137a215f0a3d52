/**
 * Foreign bytes as text that is safe to print: what is not printable ASCII becomes `\xNN`, so that no terminal and no
 * log reader can be steered by what a stranger sends.
 */
export function printable(bytes: Uint8Array | string, longest = 64): string {
  const codes = typeof bytes === "string" ? Array.from(bytes, (character) => character.charCodeAt(0)) : bytes;
  let text = "";
  for (const code of codes) {
    if (text.length >= longest) return `${text}...`;
    const isPlain = code >= 0x20 && code < 0x7f && code !== 0x5c;
    text += isPlain ? String.fromCharCode(code) : `\\x${(code & 255).toString(16).padStart(2, "0")}`;
  }
  return text;
}

/**
 * A foreign sentence in any language, for people: they read it on terminals, so what could steer one is replaced, as are
 * halves of surrogate pairs, which have no UTF-8. The ranges are what is neither \p{Cc} nor \p{Cs}: V8 looks such classes
 * up when it loads the file, and each start would wait for that.
 */
export function harmless(sentence: string): string {
  return sentence.replaceAll(/[^ -~\xa0-\ud7ff\ue000-\u{10ffff}]/gu, "\ufffd");
}

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
