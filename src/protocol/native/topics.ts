import { utf8 } from "../text.js";

/**
 * Topics, and a cache of the ones that were read last: an application uses the same few again and again. The cache has a
 * fixed size, so that a peer can replace what is in it, but never make it grow. Without it, receiving a message of 64
 * bytes to a topic of a dozen letters takes a third more of the processor (measured on Node 20 over loopback).
 */

/** The longest topic, in bytes of UTF-8. */
export const longestTopic = 255;

/** True for a text that may be a topic: the empty one too, but none with a lone surrogate, which has no UTF-8. */
export function isTopic(text: string): boolean {
  return !/[\ud800-\udfff]/u.test(text) && new TextEncoder().encode(text).length <= longestTopic;
}

interface CachedTopic {
  readonly text: string;
  readonly bytes: Uint8Array;
}

/** Chosen arbitrarily, intended to hold the topics of one application. A power of two. */
const slots = 64;

const cache: (CachedTopic | undefined)[] = Array.from({ length: slots });

/** The topic in `bytes` from `from` to `to`; undefined if it is not UTF-8 or too long. */
export function decodeTopic(bytes: Uint8Array, from: number, to: number): string | undefined {
  const length = to - from;
  if (length === 0) return "";
  const slot = (length * 31 + (bytes[from] ?? 0) * 7 + (bytes[to - 1] ?? 0)) & (slots - 1);
  const remembered = cache[slot];
  if (remembered !== undefined && isSame(remembered.bytes, bytes, from, length)) return remembered.text;
  if (length > longestTopic) return undefined;
  // A copy: a view would keep everything that came in the same read.
  const copy = new Uint8Array(bytes.subarray(from, to));
  const text = utf8(copy);
  if (text !== undefined) cache[slot] = { text, bytes: copy };
  return text;
}

function isSame(remembered: Uint8Array, bytes: Uint8Array, from: number, length: number): boolean {
  if (remembered.length !== length) return false;
  for (let index = 0; index < length; index += 1) {
    if (remembered[index] !== bytes[from + index]) return false;
  }
  return true;
}
