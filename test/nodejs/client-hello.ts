import { createHash, createHmac, generateKeyPairSync, hkdfSync, randomBytes } from "node:crypto";

/**
 * A ClientHello written by hand from RFC 8446, for what no library lets a program offer. It shares no line with the
 * transport, so it also shows that the layout in PROTOCOL.md is enough for a stranger.
 */
export interface Offer {
  readonly identity: string;
  readonly key: Uint8Array;
  /** 0: the pre-shared key alone (`psk_ke`); 1: with an ephemeral key exchange (`psk_dhe_ke`). */
  readonly exchangeModes: readonly number[];
}

/** The key of an identity: HKDF with nothing but the secret and the identity. */
export function keyOf(secret: string, identity: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", Buffer.from(secret, "base64url"), "", identity, 32));
}

/** One TLS record with the hello. */
export function clientHello({ identity, key, exchangeModes }: Offer): Buffer {
  const extensions = [
    extension(43, vector(1, u16(0x0304))),
    extension(10, vector(2, u16(0x001d))),
    extension(51, vector(2, Buffer.concat([u16(0x001d), vector(2, publicKey())]))),
    extension(45, vector(1, Buffer.from(exchangeModes))),
  ];
  // The binder is a MAC over all that comes before it, the lengths that already count it included.
  const identities = vector(2, Buffer.concat([vector(2, Buffer.from(identity)), Buffer.alloc(4)]));
  const emptyBinders = vector(2, vector(1, Buffer.alloc(32)));
  const hello = handshake([...extensions, extension(41, Buffer.concat([identities, emptyBinders]))]);
  const truncated = hello.subarray(0, hello.length - emptyBinders.length);
  const binder = createHmac("sha256", binderKey(key)).update(sha256(truncated)).digest();
  return record(Buffer.concat([truncated, vector(2, vector(1, binder))]));
}

function handshake(extensions: readonly Buffer[]): Buffer {
  const body = Buffer.concat([
    u16(0x0303),
    randomBytes(32),
    vector(1, randomBytes(32)),
    vector(2, u16(0x1301)),
    vector(1, Buffer.from([0])),
    vector(2, Buffer.concat(extensions)),
  ]);
  return Buffer.concat([Buffer.from([1]), vector(3, body)]);
}

function record(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x16, 0x03, 0x01]), vector(2, body)]);
}

/** RFC 8446 section 7.1: early secret, binder key, finished key. */
function binderKey(key: Uint8Array): Buffer {
  const early = createHmac("sha256", Buffer.alloc(32)).update(key).digest();
  return expandLabel(expandLabel(early, "ext binder", sha256(Buffer.alloc(0))), "finished", Buffer.alloc(0));
}

/** HKDF-Expand-Label for 32 bytes, which are one block. */
function expandLabel(secret: Uint8Array, label: string, context: Uint8Array): Buffer {
  const block = Buffer.concat([
    u16(32),
    vector(1, Buffer.from(`tls13 ${label}`)),
    vector(1, context),
    Buffer.from([1]),
  ]);
  return createHmac("sha256", secret).update(block).digest();
}

function publicKey(): Buffer {
  const { publicKey } = generateKeyPairSync("x25519");
  // The last 32 bytes of its DER form are the key.
  return publicKey.export({ type: "spki", format: "der" }).subarray(-32);
}

function extension(type: number, body: Uint8Array): Buffer {
  return Buffer.concat([u16(type), vector(2, body)]);
}

/** Bytes behind their length, which has `width` bytes. */
function vector(width: 1 | 2 | 3, body: Uint8Array): Buffer {
  const length = Buffer.alloc(width);
  length.writeUIntBE(body.length, 0, width);
  return Buffer.concat([length, body]);
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
