import { utf8 } from "../text.js";

/**
 * What a topic is, and how it is read. The same few come again and again, so the newest of each kind are remembered in a
 * table of a fixed size: what a stranger sends can only push out what is remembered, never make it grow.
 */

/** The longest topic, in bytes of UTF-8. */
export const longestTopic = 255;

/** True for what may be a topic: also the empty text, but no half of a surrogate pair, which has no UTF-8. */
export function isTopic(text: string): boolean {
  return !/[\ud800-\udfff]/u.test(text) && new TextEncoder().encode(text).length <= longestTopic;
}

interface CachedTopic {
  readonly text: string;
  readonly bytes: Uint8Array;
}

/** Chosen arbitrarily, intended to hold the topics of one application. A power of two. */
const slots = 64;

const newest: (CachedTopic | undefined)[] = Array.from({ length: slots });

function slotOf(length: number, first: number, last: number): number {
  return (length * 31 + first * 7 + last) & (slots - 1);
}

/** The topic that lies in `bytes` from `from` to `to`; undefined if it is none. */
export function decodeTopic(bytes: Uint8Array, from: number, to: number): string | undefined {
  const length = to - from;
  if (length === 0) return "";
  const slot = slotOf(length, bytes[from] ?? 0, bytes[to - 1] ?? 0);
  const remembered = newest[slot];
  if (remembered !== undefined && isSame(remembered.bytes, bytes, from, length)) return remembered.text;
  if (length > longestTopic) return undefined;
  // A copy: a view would hold on to all that came in the same read.
  const copy = new Uint8Array(bytes.subarray(from, to));
  const text = utf8(copy);
  if (text !== undefined) newest[slot] = { text, bytes: copy };
  return text;
}

function isSame(remembered: Uint8Array, bytes: Uint8Array, from: number, length: number): boolean {
  if (remembered.length !== length) return false;
  for (let index = 0; index < length; index += 1) {
    if (remembered[index] !== bytes[from + index]) return false;
  }
  return true;
}
