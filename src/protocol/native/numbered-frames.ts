/**
 * The numbered frames of a link, which arrive once and in order whatever happens to its connections.
 * Their bodies begin with a number, which counts all numbered frames of the link in one direction, from 1.
 */
export const numberedKinds = {
  /** An application message; see `message.ts`. */
  message: 0x10,
  /** Several short messages; see `batch.ts`. */
  batch: 0x15,
  /** Asks for a reply; see `request.ts`, also for the next three. */
  request: 0x11,
  reply: 0x12,
  /** Why there is no reply. */
  failure: 0x13,
  /** The sender does not wait for the reply any more. */
  cancel: 0x14,
  /** Begins a stream; see `stream.ts`, also for those that follow. */
  open: 0x18,
  data: 0x19,
  /** Closes this direction. */
  end: 0x1a,
  /** Closes both directions, and why. */
  abort: 0x1b,
  /** Grants bytes on a flow. */
  credit: 0x1c,
} as const;

const firstNumbered = 0x10;
const lastNumbered = 0x1f;

/** True for kinds whose bodies begin with a number, also for those without a meaning yet. */
export function isNumbered(kind: number): boolean {
  return kind >= firstNumbered && kind <= lastNumbered;
}

/**
 * True for kinds whose frames may be delivered in parts: the bytes of a stream need not be contiguous, and a reader would
 * only wait for the last one.
 */
export function mayComeInParts(kind: number): boolean {
  return kind === numberedKinds.data;
}

/** The name of a numbered kind; `frame` for one without a meaning. */
export function nameOfKind(kind: number): string {
  return Object.entries(numberedKinds).find(([, value]) => value === kind)?.[0] ?? "frame";
}

/** The bytes of a frame's number, and of every other count that may need more than 32 bits. */
export const numberBytes = 6;

/** The highest number. */
export const highestNumber = 2 ** 48 - 1;

/** Writes a number from 0 to `highestNumber`, big endian. */
export function writeUint48(bytes: Uint8Array, at: number, number: number): void {
  const high = Math.floor(number / 2 ** 32);
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  bytes[at + 2] = number >>> 24;
  bytes[at + 3] = number >>> 16;
  bytes[at + 4] = number >>> 8;
  bytes[at + 5] = number;
}

/** Reads it again. All six bytes must be there. */
export function readUint48(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  const low = readUint32(bytes, at + 2);
  return high === 0 ? low : high * 2 ** 32 + low;
}

/** The bytes of the number of a request or stream. */
export const uint32Bytes = 4;

/** In front of the bytes of a `data` frame: the frame's number, and that of the stream. */
export const streamDataHeaderBytes = numberBytes + uint32Bytes;

/** Writes a whole number from 0 to 2^32 - 1 in four bytes, big endian: the number of a request or of a stream. */
export function writeUint32(bytes: Uint8Array, at: number, number: number): void {
  bytes[at] = number >>> 24;
  bytes[at + 1] = number >>> 16;
  bytes[at + 2] = number >>> 8;
  bytes[at + 3] = number;
}

/** Reads it again. All four bytes must be there. */
export function readUint32(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16);
  return (high | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}
