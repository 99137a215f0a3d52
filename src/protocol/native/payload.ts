/** The form of a payload: bytes (0), a value in MessagePack (1), or nothing (2), which has no bytes. */
export type PayloadForm = 0 | 1 | 2;

/** The numbers of the forms. */
export const payloadForms = { bytes: 0, value: 1, nothing: 2 } as const satisfies Record<string, PayloadForm>;

/** A shorter payload is copied behind its head; a longer one goes by reference, which costs more than a short copy. */
export const referencedBytes = 4_096;

/** True if these bytes go by reference; they must not change until they are acknowledged. */
export function isReferenced(bytes: Uint8Array): boolean {
  return bytes.length >= referencedBytes;
}

/** Up to here a loop is quicker than a call of `set`. */
const loopBytes = 32;

/** Writes bytes at a place in memory. */
export function writeBytes(memory: Uint8Array, at: number, bytes: Uint8Array): void {
  const { length } = bytes;
  if (length > loopBytes) memory.set(bytes, at);
  else for (let index = 0; index < length; index += 1) memory[at + index] = bytes[index] ?? 0;
}

/** No bytes. */
export const noBytes: Uint8Array = new Uint8Array(0);

/**
 * The last bytes of which a view was taken, and the memory behind them. One read of a socket has hundreds of payloads, and
 * asking for the memory of each is a call out of compiled code: a fifth of the cost of a small one.
 */
let viewed = noBytes;
let memory = noBytes.buffer;
let offset = 0;

/** A view of some of the bytes that were read. An empty one keeps no memory. */
export function viewOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  if (from === to) return noBytes;
  if (bytes !== viewed) {
    viewed = bytes;
    memory = bytes.buffer;
    offset = bytes.byteOffset;
  }
  return new Uint8Array(memory, offset + from, to - from);
}

/** A view of less than this share of the memory behind it is copied. */
const leastShare = 1 / 4;

/**
 * Bytes that may be kept for long: these, or a copy if they are a small part of the memory behind them. A peer chooses what
 * comes in one read, and could otherwise make us keep 64 KiB for each byte of its credit.
 */
export function detachIfSmall(bytes: Uint8Array): Uint8Array {
  return bytes.length < bytes.buffer.byteLength * leastShare ? new Uint8Array(bytes) : bytes;
}

/** The form with this number; undefined if there is none, or if it may not have so many bytes. */
export function decodePayloadForm(byte: number | undefined, payloadBytes: number): PayloadForm | undefined {
  if (byte === payloadForms.bytes || byte === payloadForms.value) return byte;
  return byte === payloadForms.nothing && payloadBytes === 0 ? byte : undefined;
}
