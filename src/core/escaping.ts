/**
 * Text from others, made safe for where it is shown: one function for each kind of place. Everything that prints, logs or
 * draws uses one of them, and nothing is escaped anywhere else.
 *
 * Unsafe is what can steer a terminal or change what a line seems to say: control characters (C0, DEL and C1), marks of
 * the direction of text, line and paragraph separators, and halves of surrogate pairs, which have no UTF-8.
 */

// The ranges are spelled out: V8 looks classes such as \p{Cc} up when it loads the file, and each start would wait for that.
const unsafe = /[^ -~\xa0-\u061b\u061d-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\u{10ffff}]/gu;

/** What JSON does not escape, and some readers and terminals do not tolerate. */
const unsafeInJson = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Besides that, what Mermaid interprets: entities, ends of statements, markup, comments, directives, formulas. */
const unsafeInDiagram = /[#;<>&%$]/g;

/**
 * Foreign bytes as printable ASCII: every other byte becomes `\xNN`, the backslash too, so that nothing can be forged. A
 * longer text is cut.
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

/** A sentence in any language, for logs and errors: each unsafe character becomes U+FFFD, so no text gets longer. */
export function harmless(sentence: string): string {
  return sentence.replaceAll(unsafe, "\ufffd");
}

/** One line for people, on a terminal or in a pipe: an unsafe character becomes its number, as `\x1b` or `\u202e`. */
export function shownLine(text: string): string {
  return text.replaceAll(unsafe, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${hexadecimal(code, 2)}` : `\\u${hexadecimal(code, 4)}`;
  });
}

/** A value as one line of JSON. It means the same as without the escapes, and is safe on a terminal as it is. */
export function jsonLine(value: unknown): string {
  // JSON itself escapes C0 and halves of surrogate pairs.
  return JSON.stringify(value).replaceAll(unsafeInJson, (character) => `\\u${hexadecimal(character.charCodeAt(0), 4)}`);
}

/** Text in a Mermaid diagram, which Mermaid shows as it is and does not interpret. */
export function diagramText(text: string): string {
  const escaped = shownLine(text).replaceAll(unsafeInDiagram, (character) => `#${character.charCodeAt(0)};`);
  // Mermaid reads a label that begins with this word as an instruction for its layout.
  return escaped.replace(/^(\s*:?\s*(?:no)?wrap):/i, "$1#58;");
}

function hexadecimal(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
