import { harmless } from "../../core/escaping.js";
import type { LinkWriter } from "../../core/link-handler.js";
import { ascii, utf8 } from "../text.js";
import { readUint32, writeUint32 } from "./numbered-frames.js";
import { writeBytes } from "./payload.js";

/**
 * The content of `failure` and `abort`: the number of the request or stream (4), length of the code (1), code in ASCII, a
 * sentence in UTF-8.
 */
export interface FailureReason {
  /** Of the request, or of the stream. */
  readonly number: number;
  readonly code: string;
  readonly message: string;
}

/** The longest sentence, in bytes; sender and reader cut a longer one. Chosen arbitrarily, intended to hold a sentence. */
const longestReason = 1_024;

/** In front of the code. */
const headBytes = 5;

/** True for 1 to 64 printable characters of ASCII without spaces. */
export function isCode(text: string): boolean {
  return /^[\x21-\x7e]{1,64}$/.test(text);
}

/** Writes a reason into a frame of that kind. `code` is one; see `isCode`. */
export function encodeReason(link: LinkWriter, kind: number, { number, code, message }: FailureReason): void {
  if (!isCode(code)) throw new RangeError(`${JSON.stringify(code)} is no code`);
  const sentence = encodeSentence(message);
  const at = link.begin(kind, headBytes + code.length + sentence.length);
  const { memory } = link;
  writeUint32(memory, at, number);
  memory[at + 4] = code.length;
  writeBytes(memory, at + headBytes, ascii(code));
  writeBytes(memory, at + headBytes + code.length, sentence);
}

/**
 * Reads the content in `bytes` from `from` to `to`, or returns what is wrong with it. Characters of the sentence that could
 * steer a terminal are replaced.
 */
export function decodeReason(bytes: Uint8Array, from: number, to: number): FailureReason | string {
  const codeAt = from + headBytes;
  const messageAt = codeAt + (to - from < headBytes ? 0 : (bytes[from + 4] ?? 0));
  if (messageAt > to || messageAt === codeAt) return "a reason is cut short";
  const code = utf8(bytes.subarray(codeAt, messageAt));
  if (code === undefined || !isCode(code)) return "the code of a reason is none";
  const message = utf8(cut(bytes.subarray(messageAt, to)));
  if (message === undefined) return "the sentence of a reason is no UTF-8";
  return { number: readUint32(bytes, from), code, message: harmless(message) };
}

/** As much of a sentence as is sent, in whole characters. */
function encodeSentence(sentence: string): Uint8Array {
  // A character has at least as many bytes as UTF-16 code units, so what is behind these is cut anyway.
  return cut(new TextEncoder().encode(sentence.slice(0, longestReason + 1)));
}

/** The whole characters among the first bytes of a text. */
function cut(text: Uint8Array): Uint8Array {
  if (text.length <= longestReason) return text;
  let end = longestReason;
  while (end > 0 && ((text[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return text.subarray(0, end);
}
