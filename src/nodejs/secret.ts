import type { KeyObject } from "node:crypto";
import type { Identity, Role } from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import { isName } from "../protocol/native/fields.js";

/**
 * The secret of a mesh, and the keys derived from it.
 *
 * A secret is 32 random bytes, written as 43 characters of base64url without padding (RFC 4648 section 5). Nothing weaker is
 * accepted, because guesses can be tried on a recorded handshake without limit.
 *
 * Each mesh and role has a key. With the identity, a text such as `fullmesh/1 member cache`:
 *
 *     identity = "fullmesh/1" SP role SP mesh         role is "rendezvous" or "member", mesh its name, all in UTF-8
 *     key      = HKDF-SHA256(ikm = the 32 bytes, no salt, info = identity, length = 32)      RFC 5869
 *
 * So a key is good for exactly the identity that names it. In the handshake (TLS 1.3 with an external PSK, RFC 8446) the
 * identity goes in clear; with a mesh name of 64 bytes it has 86, and OpenSSL takes up to 128 in every version.
 */

const version = "fullmesh/1";
const secretBytes = 32;
const secretLength = 43;
const shape = `${secretBytes} bytes in base64url, which are ${secretLength} characters`;
const roles: readonly Role[] = ["rendezvous", "member"];

/** Loaded only with a secret, because it takes time. */
const crypto = () => process.getBuiltinModule("node:crypto");

/** A secret. No property shows its bytes to a log or a debugger. */
export class Secret {
  readonly #key: KeyObject;

  /**
   * `name` is what the error calls the text.
   *
   * @throws {FullmeshError} `BAD_SECRET`, which never contains the text: it may be a secret with a typing error
   */
  constructor(text: string, name = "`secret`") {
    const bytes = Buffer.from(text, "base64url");
    // Node's decoder skips invalid characters, so only a text that encodes to itself is valid.
    const isCanonical = bytes.length === secretBytes && bytes.toString("base64url") === text;
    if (!isCanonical) throw new FullmeshError("BAD_SECRET", `Expected ${name} to be ${shape}, got ${shapeOf(text)}`);
    this.#key = crypto().createSecretKey(bytes);
  }

  /** The key of this identity. */
  keyOf(identity: Identity): Uint8Array {
    return this.keyFor(formatIdentity(identity));
  }

  /** The key of the identity in this text, whether or not it is one of ours. */
  keyFor(text: string): Uint8Array {
    return new Uint8Array(crypto().hkdfSync("sha256", this.#key, "", text, 32));
  }
}

/** A new secret, as text. */
export function makeSecret(): string {
  return crypto().randomBytes(secretBytes).toString("base64url");
}

/** The text that names an identity in a handshake. */
export function formatIdentity({ mesh, role }: Identity): string {
  return `${version} ${role} ${mesh}`;
}

/** Reads such a text; undefined if it names no identity of ours. */
export function parseIdentity(text: string): Identity | undefined {
  const role = roles.find((candidate) => text.startsWith(`${version} ${candidate} `));
  if (role === undefined) return undefined;
  const mesh = text.slice(`${version} ${role} `.length);
  return isName(mesh) ? { mesh, role } : undefined;
}

/** What is wrong with a text, without any of its characters. */
function shapeOf(text: string): string {
  return text.length === secretLength ? `${secretLength} that are not` : `${text.length} characters`;
}
