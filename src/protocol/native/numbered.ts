/**
 * The frames of a link that are numbered, and so arrive once and in order whatever happens to the connections under it.
 * Their bodies begin with a number, which counts all numbered frames of the link in one direction, from 1.
 */
export const numberedKinds = {
  /** An application message; see `message.ts`. */
  message: 0x10,
  /** Asks for a reply; see `request.ts`, also for the next three. */
  request: 0x11,
  reply: 0x12,
  /** There is no reply, and why. */
  failure: 0x13,
  /** Nobody waits for the reply any more. */
  cancel: 0x14,
  /** Begins a stream; see `stream.ts`, also for those that follow. */
  open: 0x18,
  data: 0x19,
  /** Nothing more comes in this direction. */
  end: 0x1a,
  /** Nothing more comes in either direction, and why. */
  abort: 0x1b,
  /** So many bytes may be sent on a flow. */
  credit: 0x1c,
} as const;

const firstNumbered = 0x10;
const lastNumbered = 0x1f;

/** True for kinds whose bodies begin with a number, also those that nobody has given a meaning yet. */
export function isNumbered(kind: number): boolean {
  return kind >= firstNumbered && kind <= lastNumbered;
}

/**
 * True for kinds whose frames can be taken in parts, as they come: the bytes of a stream need not lie together, and whoever
 * reads them would only wait for the last one.
 */
export function comesInParts(kind: number): boolean {
  return kind === numberedKinds.data;
}

/** What a numbered kind is called; `frame` if nobody has given it a meaning. */
export function nameOfKind(kind: number): string {
  return Object.entries(numberedKinds).find(([, value]) => value === kind)?.[0] ?? "frame";
}

/** The bytes of a frame's number, and of every other count on the wire that outgrows 32 bits. */
export const numberBytes = 6;

/** The highest number. */
export const highestNumber = 2 ** 48 - 1;

/** Writes a number from 0 to `highestNumber`, big endian. */
export function writeNumber(bytes: Uint8Array, at: number, number: number): void {
  const high = Math.floor(number / 2 ** 32);
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  bytes[at + 2] = number >>> 24;
  bytes[at + 3] = number >>> 16;
  bytes[at + 4] = number >>> 8;
  bytes[at + 5] = number;
}

/** Reads it again. All six bytes must be there. */
export function readNumber(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  const low = readShortNumber(bytes, at + 2);
  return high === 0 ? low : high * 2 ** 32 + low;
}

/** The bytes of a number that fits into 32 bits: that of a request, or of a stream. */
export const shortNumberBytes = 4;

/** What is in front of a portion of a stream: the frame's number, and that of the stream. */
export const streamDataHeaderBytes = numberBytes + shortNumberBytes;

/** Writes a whole number from 0 to 2^32 - 1 in four bytes, big endian: the number of a request or of a stream. */
export function writeShortNumber(bytes: Uint8Array, at: number, number: number): void {
  bytes[at] = number >>> 24;
  bytes[at + 1] = number >>> 16;
  bytes[at + 2] = number >>> 8;
  bytes[at + 3] = number;
}

/** Reads it again. All four bytes must be there. */
export function readShortNumber(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16);
  return (high | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}
