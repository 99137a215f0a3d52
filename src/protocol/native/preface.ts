/**
 * The preface: the first bytes of every native connection, in both directions, with a range of versions.
 *
 * The dialer sends the range that it speaks. The acceptor answers with the version that both speak, as a range of one, or,
 * if there is none, with its own range, and closes. A dialer that offers one version need not wait for the answer.
 */

/** 0xF7 begins no text in ASCII or UTF-8, no TLS record and no HTTP request; then `fmesh`. */
const magic: readonly number[] = [0xf7, 0x66, 0x6d, 0x65, 0x73, 0x68];

export const firstNativeByte = 0xf7;

/** The magic, the lowest and the highest version. */
export const prefaceBytes = 8;

/** The only version that this implementation speaks. */
export const version = 2;

/** A range of versions, each from 1 to 255. */
export interface Preface {
  readonly lowest: number;
  readonly highest: number;
}

export function encodePreface({ lowest, highest }: Preface = { lowest: version, highest: version }): Uint8Array {
  // eslint-disable-next-line no-restricted-syntax -- six bytes
  return Uint8Array.of(...magic, lowest, highest);
}

/** Our preface, and the first frame behind it. */
export function withPreface(frame: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(prefaceBytes + frame.length);
  bytes.set(encodePreface());
  bytes.set(frame, prefaceBytes);
  return bytes;
}

/** Reads `prefaceBytes` bytes; undefined if they are no preface. */
export function decodePreface(bytes: Uint8Array): Preface | undefined {
  if (bytes.length !== prefaceBytes || !mayBePreface(bytes)) return undefined;
  const lowest = bytes[magic.length] ?? 0;
  const highest = bytes[magic.length + 1] ?? 0;
  return lowest >= 1 && lowest <= highest ? { lowest, highest } : undefined;
}

/** True as long as these bytes may become a preface. */
export function mayBePreface(bytes: Uint8Array): boolean {
  return magic.every((byte, index) => index >= bytes.length || bytes[index] === byte);
}

/** True if `version` lies in the range. */
export function isSupported({ lowest, highest }: Preface): boolean {
  return lowest <= version && version <= highest;
}
