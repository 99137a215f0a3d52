/**
 * What may stand in a payload whose form is a value: exactly one value of MessagePack. It is looked through, and weighed,
 * before anything is made of it. An array says in five bytes that it has a million elements, and an array in an array in an
 * array says so again and again; and what is all there may still become two thousand times its length in memory.
 *
 * The weight is what V8 takes for a value that the codec has made, never less and seldom more than twice as much, with the
 * bytes that it was made of. Measured with Node 20 in lists of 100,000, in bytes for each, its place in the list included:
 *
 * | | measured | weighs |
 * |---|---|---|
 * | nil, boolean, number below 2^16 | 8 | 9 to 11 |
 * | number with more bytes | 24 | 29 to 33 |
 * | text of 0, 2, 40 bytes | 8, 32, 64 | 33, 37, 114 |
 * | text of 300 bytes, with one character beyond Latin-1 | 632 | 641 |
 * | byte array | 104 | 114 |
 * | timestamp | 104 to 116 | 118 |
 * | empty array, with 1, with 3 numbers | 40, 64, 80 | 65, 74, 92 |
 * | empty map | 65 | 129 |
 * | map with 1, 5, 30 keys that no other has | 187, 337, 1776 | 241, 681, 4138 |
 * | map with the number 127, 1023 as its key | 1745, 12493 | 1883, 12637 |
 *
 * Maps with the same few keys share what describes them, and take a sixth of their weight.
 */

/** How many arrays and maps may lie in one another. */
export const deepestValue = 100;

/** Types below tell all by themselves, as do those from `firstNegative` on; what is between them is in the tables. */
const firstTailed = 0xc0;
const firstNegative = 0xe0;

/** Stands for what is no type: more bytes than any payload has. */
const none = 2 ** 32;

/**
 * What follows the types 0xc0 to 0xdf, by columns: nil, none, false, true; byte arrays by the size of their length;
 * extensions likewise, with a byte for their type; floating point, unsigned and signed numbers; extensions of 1 to 16 bytes;
 * texts, arrays and maps by the size of their length.
 */
const bytesOfLength = Uint8Array.from([
  ...[0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0, 0, 0, 0, 0, 0],
  ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4],
]);
const bytesBesides = Float64Array.from([
  ...[0, none, 0, 0, 0, 0, 0, 1, 1, 1, 4, 8, 1, 2, 4, 8],
  ...[1, 2, 4, 8, 2, 3, 5, 9, 17, 0, 0, 0, 0, 0, 0, 0],
]);
/** What the length counts: items, so many for each; or 0, bytes. */
const itemsEach = Uint8Array.from([
  ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2],
]);

/** What a value takes beside its bytes, by type from `firstTailed` on; see the table above. A place in a list is 8 bytes. */
const place = 8;
const boxed = 24;
const view = 112;
const ofText = 32;
const ofArray = 64;
const ofMap = 128;
const ofKey = 64;
const weights = Uint8Array.from([
  ...[place, 0, place, place, view, view, view, view, view, view, boxed, boxed, place, place, boxed, boxed],
  ...[place, place, boxed, boxed, view, view, view, view, view, ofText, ofText, ofText, ofArray, ofArray, ofMap, ofMap],
]);

/**
 * V8 keeps the values of keys that are numbers, or texts of digits, in a list with places for all numbers below, unless so
 * many of them are empty.
 */
const longestGap = 1_024;
const placeOfIndex = 12;
const firstIndexes = 144;
/** No list is as long, so a number above is a key like any other. */
const highestIndex = 2 ** 26;

/** What the open arrays and maps still lack, the outermost first; kept, because looking is frequent. */
const lacking = new Float64Array(deepestValue + 2);
/** Up to which number each of them has places for keys; less than 0 for a map without any, `ofNoMap` for an array. */
const placed = new Float64Array(deepestValue + 2);
const ofNoMap = -2;

/** Beyond this no weight is counted. */
const mostWeight = 2 ** 52;

/**
 * What the value in these bytes takes in memory, about; undefined if they are not one whole value and nothing besides, with
 * nothing deeper than `deepestValue`. What weighs more than `most` is not looked through to its end.
 */
export function weighValue(bytes: Uint8Array, most = mostWeight): number | undefined {
  const { length } = bytes;
  let depth = 0;
  let at = 0;
  let weight = length;
  lacking[0] = 1;
  placed[0] = ofNoMap;
  while (depth >= 0) {
    const type = bytes[at];
    if (type === undefined) return undefined;
    const items = itemsOf(type, bytes, at + 1);
    const tail = tailBytes(type, bytes, at + 1);
    // Characters have two bytes each once one of them is beyond Latin-1.
    weight += weightOf(type) + (isText(type) ? tail : 0) + weighKey(type, bytes, at + 1, depth);
    at += 1 + tail;
    // Each item has one byte at least, so what is announced beyond the end need not be looked for.
    if (items > length - at) return undefined;
    if (weight > most) return weight;
    depth = depthOfNext(depth, items, isMap(type));
    if (depth > deepestValue) return undefined;
  }
  return at === length ? weight : undefined;
}

/** How deep the next value lies, after one at this depth that has so many items itself; -1 after the last one. */
function depthOfNext(depth: number, items: number, hasKeys: boolean): number {
  lacking[depth] = (lacking[depth] ?? 0) - 1;
  let next = depth;
  if (items > 0) {
    next += 1;
    lacking[next] = items;
    placed[next] = hasKeys ? -1 : ofNoMap;
  }
  while (next >= 0 && lacking[next] === 0) next -= 1;
  return next;
}

function isMap(type: number): boolean {
  return (type >= 0x80 && type < 0x90) || type === 0xde || type === 0xdf;
}

function isText(type: number): boolean {
  return (type >= 0xa0 && type < firstTailed) || (type >= 0xd9 && type <= 0xdb);
}

/** What a value of this type weighs beside its bytes and its items. */
function weightOf(type: number): number {
  if (type < 0x80 || type >= firstNegative) return place;
  if (type < 0x90) return ofMap;
  if (type < 0xa0) return ofArray;
  return type < firstTailed ? ofText : (weights[type - firstTailed] ?? 0);
}

/** What the map at this depth takes more if this is a key of it. */
function weighKey(type: number, bytes: Uint8Array, at: number, depth: number): number {
  const highest = placed[depth] ?? ofNoMap;
  // In a map keys and values take turns, so a key is next while an even number is lacking.
  if (highest === ofNoMap || (lacking[depth] ?? 0) % 2 === 1) return 0;
  const index = indexOf(type, bytes, at);
  const places = highest < 0 ? 0 : 1.5 * (highest + 1) + 16;
  if (index <= highest || index >= places + longestGap) return ofKey;
  placed[depth] = index;
  return ofKey + placeOfIndex * (index - highest) + (highest < 0 ? firstIndexes : 0);
}

/** The number that V8 takes a key for; -1 if it takes it for none. A number with a fraction may be any. */
function indexOf(type: number, bytes: Uint8Array, at: number): number {
  if (type < 0x80) return type;
  if (isText(type)) return indexOfText(type, bytes, at);
  if (type === 0xca || type === 0xcb) return longestGap - 1;
  if (type < 0xcc || type > 0xd3) return -1;
  // Signed ones below 0 are none, and are so large as unsigned ones that they are none either.
  const index = readLength(bytes, at, 1 << ((type - 0xcc) & 3));
  return index < highestIndex ? index : -1;
}

function indexOfText(type: number, bytes: Uint8Array, at: number): number {
  const size = type < firstTailed ? 0 : 1 << (type - 0xd9);
  const digits = type < firstTailed ? type & 0x1f : readLength(bytes, at, size);
  if (digits === 0 || digits > 8) return -1;
  let index = 0;
  for (let digit = at + size; digit < at + size + digits; digit += 1) {
    const value = (bytes[digit] ?? 0) - 0x30;
    if (value < 0 || value > 9) return -1;
    index = index * 10 + value;
  }
  return index;
}

/** How many values the array or map of this type has; 0 for everything else. */
function itemsOf(type: number, bytes: Uint8Array, at: number): number {
  if (type < 0x80 || type >= firstNegative) return 0;
  if (type < 0x90) return 2 * (type & 0x0f);
  if (type < 0xa0) return type & 0x0f;
  const each = type < firstTailed ? 0 : (itemsEach[type - firstTailed] ?? 0);
  return each === 0 ? 0 : each * readLength(bytes, at, bytesOfLength[type - firstTailed] ?? 0);
}

/** The bytes that belong to this type behind itself, without its items. */
function tailBytes(type: number, bytes: Uint8Array, at: number): number {
  if (type < 0xa0 || type >= firstNegative) return 0;
  if (type < firstTailed) return type & 0x1f;
  const index = type - firstTailed;
  const size = bytesOfLength[index] ?? 0;
  const counted = size === 0 || itemsEach[index] !== 0 ? 0 : readLength(bytes, at, size);
  return size + (bytesBesides[index] ?? 0) + counted;
}

/** A length that is not all there counts as 0; that it is not is noticed with the end of the bytes. */
function readLength(bytes: Uint8Array, at: number, size: number): number {
  let length = 0;
  for (let index = at; index < at + size; index += 1) length = length * 256 + (bytes[index] ?? 0);
  return length;
}
