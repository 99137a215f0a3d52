import { harmless } from "../../core/escaping.js";
import type { LinkWriter } from "../../core/link-handler.js";
import { ascii, utf8 } from "../text.js";
import { readShortNumber, writeShortNumber } from "./numbered.js";
import { writeBytes } from "./payload.js";

/**
 * Why something of a number has failed: the number (4), length of the code (1), code in ASCII, a sentence in UTF-8. This is
 * the content of `failure` and `abort`.
 */
export interface FailureReason {
  /** Of the request, or of the stream. */
  readonly number: number;
  readonly code: string;
  readonly message: string;
}

/** The longest sentence, in bytes; longer ones are cut by who sends, and by who reads. Chosen to hold a sentence. */
const longestReason = 1_024;

/** In front of the code. */
const headBytes = 5;

/** True for what may be a code: 1 to 64 printable characters of ASCII, no space. */
export function isCode(text: string): boolean {
  return /^[\x21-\x7e]{1,64}$/.test(text);
}

/** Writes a reason into a frame of that kind. `code` is one; see `isCode`. */
export function encodeReason(carriage: LinkWriter, kind: number, { number, code, message }: FailureReason): void {
  if (!isCode(code)) throw new RangeError(`${JSON.stringify(code)} is no code`);
  const sentence = encodeSentence(message);
  const at = carriage.begin(kind, headBytes + code.length + sentence.length);
  const { memory } = carriage;
  writeShortNumber(memory, at, number);
  memory[at + 4] = code.length;
  writeBytes(memory, at + headBytes, ascii(code));
  writeBytes(memory, at + headBytes + code.length, sentence);
}

/**
 * Reads what lies in `bytes` from `from` to `to`, or says what is wrong with it. In the sentence, what could steer a
 * terminal has been replaced.
 */
export function decodeReason(bytes: Uint8Array, from: number, to: number): FailureReason | string {
  const codeAt = from + headBytes;
  const messageAt = codeAt + (to - from < headBytes ? 0 : (bytes[from + 4] ?? 0));
  if (messageAt > to || messageAt === codeAt) return "a reason is cut short";
  const code = utf8(bytes.subarray(codeAt, messageAt));
  if (code === undefined || !isCode(code)) return "the code of a reason is none";
  const message = utf8(cut(bytes.subarray(messageAt, to)));
  if (message === undefined) return "the sentence of a reason is no UTF-8";
  return { number: readShortNumber(bytes, from), code, message: harmless(message) };
}

/** As much of a text as is sent, in whole characters. */
function encodeSentence(sentence: string): Uint8Array {
  // No character has fewer bytes than units of UTF-16, so what is behind these could not be sent anyway.
  return cut(new TextEncoder().encode(sentence.slice(0, longestReason + 1)));
}

/** The whole characters among the first bytes of a text. */
function cut(text: Uint8Array): Uint8Array {
  if (text.length <= longestReason) return text;
  let end = longestReason;
  while (end > 0 && ((text[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return text.subarray(0, end);
}
