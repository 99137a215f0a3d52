import type { Socket } from "node:net";
import type { SecureContext, TLSSocket, TLSSocketOptions, TlsOptions } from "node:tls";
import type { Identity } from "../core/connections.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import { printable } from "../core/escaping.js";
import type { ConnectionEvents } from "../runtime/ports.js";
import type { NodeConnection } from "./connection.js";
import { formatIdentity, makeSecret, parseIdentity, Secret } from "./secret.js";

/**
 * The proof of the secret: TLS 1.3 (RFC 8446) with an external pre-shared key and an ephemeral key exchange. Both ends prove
 * that they have the key, and whoever learns it later cannot decrypt recorded traffic.
 *
 * Node's checks alone are no proof: a client with a pre-shared key also accepts a certificate, and a server a session ticket.
 * So neither end has a certificate, a trusted authority or a session to resume, and each accepts a connection only if its own
 * key was requested on that socket.
 */

/** The first byte of a TLS handshake record (RFC 8446 section 5.1). Neither dialect begins with it. */
const handshakeByte = 0x16;

/** Loaded only with a secret, because it takes time. */
const tls = () => process.getBuiltinModule("node:tls");

const cipher = "TLS_AES_128_GCM_SHA256";
const group = "X25519";

/**
 * One cipher suite, the one that OpenSSL binds a pre-shared key to, and one group, so that both ends know the key exchange.
 * OpenSSL refuses a pre-shared key without a key exchange by default.
 */
function newContext(): SecureContext {
  return tls().createSecureContext({
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    ciphers: cipher,
    ecdhCurve: group,
    secureOptions: process.getBuiltinModule("node:crypto").constants.SSL_OP_NO_TICKET,
    ca: [],
  });
}

/** Why a proof has failed. */
interface ProofFailure {
  readonly code: ErrorCode;
  readonly message: string;
}

/** Proves the secret on dialed connections, and verifies it on accepted ones. */
export class Keyring {
  readonly #secret: Secret;
  readonly #accepts: (identity: Identity) => boolean;
  readonly #context = newContext();
  /** A secret that nobody has, for the keys of identities that are not accepted here. */
  readonly #decoy = new Secret(makeSecret());

  /**
   * `accepts`: which identities callers may prove.
   *
   * @throws {FullmeshError} `SECRET_UNSUPPORTED`
   */
  constructor(secret: Secret, accepts: (identity: Identity) => boolean) {
    requirePreSharedKeys(process);
    this.#secret = secret;
    this.#accepts = accepts;
  }

  /** Proves the secret on a dialed connection. `proved` is called once both ends have. */
  proveDialed(
    raw: Socket,
    connection: NodeConnection,
    identity: Identity,
    events: ConnectionEvents,
    proved: (cipher: string) => void,
  ): void {
    let wasKeyRequested = false;
    const socket = tls().connect({
      socket: raw,
      secureContext: this.#context,
      pskCallback: () => {
        wasKeyRequested = true;
        return { psk: this.#secret.keyOf(identity), identity: formatIdentity(identity) };
      },
      rejectUnauthorized: true,
      // Called only when the other side presents a certificate.
      checkServerIdentity: () => new Error("a certificate is no proof of the secret"),
    });
    connection.prove(socket, {
      cutShort: "closed in the handshake, as happens where there is no secret",
      failed: (error) => reportFailure(events, dialedFailure(error, identity)),
    });
    socket.once("secureConnect", () => {
      const exchange = socket.getEphemeralKeyInfo();
      const isExchanged = exchange !== null && "name" in exchange && exchange.name === group;
      if (!wasKeyRequested || !isExchanged || !usesPreSharedKey(socket)) {
        socket.destroy(new Error("the handshake did not use the key"));
        return;
      }
      connection.open();
      proved(cipherOf(socket));
    });
  }

  /** Waits for the first byte of an accepted connection, and verifies the secret if it begins a handshake. */
  proveAccepted(raw: Socket, connection: NodeConnection, events: ConnectionEvents): void {
    raw.once("data", (first: Uint8Array) => {
      if (connection.stage === "silent" && first[0] === handshakeByte) {
        raw.pause();
        raw.unshift(first);
        this.#verify(raw, connection, events);
        events.proving();
      } else {
        connection.open();
        events.bytes(first);
      }
    });
  }

  #verify(raw: Socket, connection: NodeConnection, events: ConnectionEvents): void {
    const claim: IdentityClaim = { identity: undefined, problem: undefined };
    // Node's types have the callback only for a `tls.Server`, but a socket calls it as well.
    const options: TLSSocketOptions & Pick<TlsOptions, "pskCallback"> = {
      isServer: true,
      secureContext: this.#context,
      pskCallback: (_socket, text) => this.#keyFor(text, claim),
    };
    const socket = new (tls().TLSSocket)(raw, options);
    connection.prove(socket, { failed: (error) => reportFailure(events, acceptedFailure(error, claim)) });
    socket.once("secure", () => {
      if (claim.identity === undefined || !usesPreSharedKey(socket)) {
        socket.destroy(new Error("the handshake did not use the key"));
        return;
      }
      connection.open();
      events.secured(claim.identity, cipherOf(socket));
    });
  }

  /**
   * The key for the identity that a caller names. There is always one: a caller without the secret gets the same answer, after
   * the same work, for every identity, and so learns nothing about this end.
   */
  #keyFor(text: string, claim: IdentityClaim): Uint8Array {
    const identity = parseIdentity(text);
    const isAccepted = identity !== undefined && this.#accepts(identity);
    claim.identity = isAccepted ? identity : undefined;
    claim.problem = isAccepted ? undefined : problemOf(text, identity);
    return (isAccepted ? this.#secret : this.#decoy).keyFor(text);
  }
}

/** The properties of `process` that name a runtime and its TLS library. */
interface Runtime {
  readonly versions: Readonly<Record<string, string | undefined>>;
  readonly features: object;
}

/**
 * Throws where TLS has no external pre-shared keys, before anything is dialed. BoringSSL, with which Bun, Deno and Electron are
 * built, has none in TLS 1.3; there a handshake would only fail or hang.
 *
 * @throws {FullmeshError} `SECRET_UNSUPPORTED`
 */
export function requirePreSharedKeys({ versions, features }: Runtime): void {
  const name = ["bun", "deno", "electron"].find((runtime) => versions[runtime] !== undefined);
  if (name === undefined && !("openssl_is_boringssl" in features && features.openssl_is_boringssl)) return;
  const runtime = name === undefined ? "this runtime" : `${name} ${versions[name]}`;
  throw new FullmeshError("SECRET_UNSUPPORTED", `${runtime} has no pre-shared keys in TLS, so it cannot use a secret`);
}

/** The identity that the other side of a socket claims. */
interface IdentityClaim {
  /** The identity whose key was used. */
  identity: Identity | undefined;
  /** Why a key was used that nobody has. */
  problem: string | undefined;
}

function problemOf(text: string, identity: Identity | undefined): string {
  if (identity === undefined) return `it names "${escaped(text)}", which is no identity of ours`;
  return `it comes as ${describeIdentity(identity)}, which is not wanted here`;
}

/** An identity in a sentence. */
function describeIdentity({ mesh, role }: Identity): string {
  return `${role} of the mesh "${escaped(mesh)}"`;
}

/** Text of the other side, escaped and shortened. */
function escaped(text: string): string {
  return printable(new TextEncoder().encode(text), 96);
}

/** True if a finished handshake used a pre-shared key, which OpenSSL reports as a resumed session. */
function usesPreSharedKey(socket: TLSSocket): boolean {
  return socket.isSessionReused() && socket.getProtocol() === "TLSv1.3" && socket.getCipher().name === cipher;
}

function cipherOf(socket: TLSSocket): string {
  return `${socket.getProtocol()} ${socket.getCipher().name} ${group}`;
}

function reportFailure(events: ConnectionEvents, failure: ProofFailure | undefined): void {
  if (failure !== undefined) events.unproved(failure.code, failure.message);
}

/** True for a broken connection, which says nothing about the secret. */
function isBreak(error: NodeJS.ErrnoException): boolean {
  return error.syscall !== undefined || error.code === "ECONNRESET";
}

/**
 * What the listener's alerts and our own findings say, by the ends of OpenSSL's names: their beginnings differ from version
 * to version. Nobody vouches for an alert, so these are hints for people.
 */
const findings: readonly (readonly [name: RegExp, finding: Finding])[] = [
  [/ALERT_(HANDSHAKE_FAILURE|UNKNOWN_PSK_IDENTITY)$/, "unwanted"],
  [/ALERT_(ILLEGAL_PARAMETER|DECRYPT_ERROR|BAD_RECORD_MAC)$/, "another secret"],
  [/ALERT_INTERNAL_ERROR$/, "no room"],
  [/(DIGEST_CHECK_FAILED|BAD_RECORD_MAC)$/, "no key"],
  [/ALERT_PROTOCOL_VERSION$/, "no secret"],
  [/(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|RECORD_LAYER_FAILURE)$/, "no secret"],
];

type Finding = "unwanted" | "another secret" | "no room" | "no key" | "no secret";

function dialedFailure(error: NodeJS.ErrnoException, identity: Identity): ProofFailure | undefined {
  if (isBreak(error)) return undefined;
  const found = findings.find(([name]) => name.test(error.code ?? ""))?.[1];
  switch (found) {
    case "unwanted":
      return { code: "WRONG_IDENTITY", message: `it does not take us as ${describeIdentity(identity)}` };
    case "another secret":
      return {
        code: "SECRET_MISMATCH",
        message: `it has another secret, or does not take us as ${describeIdentity(identity)}`,
      };
    case "no room":
      return { code: "BUSY", message: "it has no room for another connection now" };
    case "no key":
      return { code: "SECRET_MISMATCH", message: `it answers ${describeIdentity(identity)} without having the key` };
    case "no secret":
      return { code: "SECRET_NOT_USED", message: "it takes no TLS handshake of ours: it uses no secret" };
    case undefined:
      return { code: "SECRET_UNPROVED", message: `it answers the handshake without the key: ${textOf(error)}` };
  }
}

/** What the caller's identity and our own findings say. */
function acceptedFailure(error: NodeJS.ErrnoException, { identity, problem }: IdentityClaim): ProofFailure | undefined {
  if (isBreak(error)) return undefined;
  if (problem !== undefined) return { code: "WRONG_IDENTITY", message: problem };
  if (identity === undefined) {
    return { code: "SECRET_UNPROVED", message: `it opens a handshake without naming a key of ours: ${textOf(error)}` };
  }
  if (error.code === "ERR_SSL_BINDER_DOES_NOT_VERIFY") {
    return { code: "SECRET_MISMATCH", message: `it comes as ${describeIdentity(identity)} with another key` };
  }
  const message = `what it says does not fit the handshake, as if it were recorded: ${textOf(error)}`;
  return { code: "SECRET_UNPROVED", message };
}

function textOf(error: NodeJS.ErrnoException): string {
  return error.code ?? error.message;
}
