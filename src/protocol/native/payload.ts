/** What a payload is: bytes as they are (0), a value in MessagePack (1), or nothing (2), which has no bytes. */
export type PayloadKind = 0 | 1 | 2;

/** The forms by name. */
export const payloadKinds = { bytes: 0, value: 1, nothing: 2 } as const satisfies Record<string, PayloadKind>;

/** What is shorter is copied behind its head; longer ones go by reference, which costs more than such a copy. */
export const referencedBytes = 4_096;

/** True if these bytes go by reference: they must not change until they are acknowledged. */
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
export const nothing: Uint8Array = new Uint8Array(0);

/**
 * What a view was taken of last, and the memory behind it: one read of a socket, or one frame that came in pieces, which is
 * held on to until the next. A read holds hundreds of payloads, and to ask for the memory of each is a call out of compiled
 * code: a fifth of all that is done with a small one.
 */
let viewed = nothing;
let memory = nothing.buffer;
let offset = 0;

/** A view of some of the bytes that were read. Of none, it holds on to no memory. */
export function viewOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  if (from === to) return nothing;
  if (bytes !== viewed) {
    viewed = bytes;
    memory = bytes.buffer;
    offset = bytes.byteOffset;
  }
  return new Uint8Array(memory, offset + from, to - from);
}

/** A view that shows less than this share of the memory that it holds on to is not worth that memory. */
const leastShare = 1 / 4;

/**
 * Bytes that may be kept for long: these, or a copy of them if they hold on to much more memory than they show. A peer
 * chooses what comes together in one read, and could otherwise have 64 KiB kept for each byte that it pays credit for.
 */
export function keepable(bytes: Uint8Array): Uint8Array {
  return bytes.length < bytes.buffer.byteLength * leastShare ? new Uint8Array(bytes) : bytes;
}

/** The form that a byte names, if so many bytes may follow; otherwise undefined. */
export function decodePayloadKind(byte: number | undefined, payloadBytes: number): PayloadKind | undefined {
  if (byte === payloadKinds.bytes || byte === payloadKinds.value) return byte;
  return byte === payloadKinds.nothing && payloadBytes === 0 ? byte : undefined;
}
