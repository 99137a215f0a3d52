/**
 * What may stand in a payload whose form is a value: exactly one value of MessagePack. It is looked through before anything
 * is made of it. An array says in five bytes that it has a million elements, and an array in an array in an array says so
 * again and again; whoever believes that at once can be made to take any amount of memory.
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

/** How many items each of the open arrays and maps still lacks, the outermost first; kept, because looking is frequent. */
const lacking = new Float64Array(deepestValue + 2);

/** True for bytes that are one whole value and nothing besides, nowhere deeper than `deepestValue`. */
export function isValue(bytes: Uint8Array): boolean {
  let depth = 0;
  let at = 0;
  lacking[0] = 1;
  while (depth >= 0) {
    const type = bytes[at];
    if (type === undefined) return false;
    const items = itemsOf(type, bytes, at + 1);
    at += 1 + tailBytes(type, bytes, at + 1);
    // Each item has one byte at least, so what is announced beyond the end need not be looked for.
    if (items > bytes.length - at) return false;
    depth = depthOfNext(depth, items);
    if (depth > deepestValue) return false;
  }
  return at === bytes.length;
}

/** How deep the next value lies, after one at this depth that has so many items itself; -1 after the last one. */
function depthOfNext(depth: number, items: number): number {
  lacking[depth] = (lacking[depth] ?? 0) - 1;
  let next = depth;
  if (items > 0) {
    next += 1;
    lacking[next] = items;
  }
  while (next >= 0 && lacking[next] === 0) next -= 1;
  return next;
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
