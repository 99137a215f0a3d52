import type { Socket } from "node:net";
import type { SecureContext, TLSSocket, TLSSocketOptions, TlsOptions } from "node:tls";
import type { Identity } from "../core/connections.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import { printable } from "../core/escaping.js";
import type { ConnectionEvents } from "../runtime/ports.js";
import type { NodeConnection } from "./connection.js";
import { formatIdentity, makeSecret, parseIdentity, Secret } from "./secret.js";

/**
 * The proof of the secret: TLS 1.3 (RFC 8446) with an external pre-shared key and an ephemeral key exchange. Both ends
 * prove that they have the key, and who learns it later cannot read what was recorded.
 *
 * What Node does of its own accord does not suffice for a proof. A client that has a key to offer takes a certificate
 * instead, and a server takes a session ticket. So neither end has a certificate or an authority that it trusts, nor a
 * session to go back to, and each counts a connection only if its own key has been asked for on that very socket.
 */

/** A TLS record of type handshake begins so (RFC 8446 section 5.1). Nothing else that calls here does. */
const handshakeByte = 0x16;

/** Loaded when there is a secret: who has none does not wait for it. */
const tls = () => process.getBuiltinModule("node:tls");

const cipher = "TLS_AES_128_GCM_SHA256";
const group = "X25519";

/**
 * The one cipher suite is the one that OpenSSL binds a pre-shared key to. The one group makes known at both ends what the
 * key exchange was. A pre-shared key without a key exchange is what OpenSSL refuses unless it is told otherwise.
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
interface IdentityRejection {
  readonly code: ErrorCode;
  readonly message: string;
}

/** Proves the secret on connections, and has it proved. */
export class Keyring {
  readonly #secret: Secret;
  readonly #accepts: (identity: Identity) => boolean;
  readonly #context = newContext();
  /** Gives the keys of identities that are not wanted here: nobody has them. */
  readonly #decoy = new Secret(makeSecret());

  /**
   * `accepts`: which identities may be proved to us.
   *
   * @throws {FullmeshError} `SECRET_UNSUPPORTED`
   */
  constructor(secret: Secret, accepts: (identity: Identity) => boolean) {
    requirePreSharedKeys(process);
    this.#secret = secret;
    this.#accepts = accepts;
  }

  /** Proves the secret on a connection that we have dialed; `proved` is called once both ends have. */
  dialed(
    raw: Socket,
    connection: NodeConnection,
    identity: Identity,
    events: ConnectionEvents,
    proved: (cipher: string) => void,
  ): void {
    let isAsked = false;
    const socket = tls().connect({
      socket: raw,
      secureContext: this.#context,
      pskCallback: () => {
        isAsked = true;
        return { psk: this.#secret.keyOf(identity), identity: formatIdentity(identity) };
      },
      rejectUnauthorized: true,
      // Called exactly when the other side came with a certificate, which no authority's word can make good.
      checkServerIdentity: () => new Error("a certificate proves nothing here"),
    });
    connection.prove(socket, {
      cutShort: "closed in the handshake, as happens where there is no secret",
      failed: (error) => tell(events, dialedReason(error, identity)),
    });
    socket.once("secureConnect", () => {
      const exchange = socket.getEphemeralKeyInfo();
      const isExchanged = exchange !== null && "name" in exchange && exchange.name === group;
      if (!isAsked || !isExchanged || !isKeyed(socket)) {
        socket.destroy(new Error("the handshake did not use the key"));
        return;
      }
      connection.open();
      proved(cipherOf(socket));
    });
  }

  /** Waits for the first byte of an accepted connection, which says whether a proof begins, and has it proved. */
  accepted(raw: Socket, connection: NodeConnection, events: ConnectionEvents): void {
    raw.once("data", (first: Uint8Array) => {
      if (connection.stage === "silent" && first[0] === handshakeByte) {
        raw.pause();
        raw.unshift(first);
        this.#check(raw, connection, events);
        events.proving();
      } else {
        connection.open();
        events.bytes(first);
      }
    });
  }

  #check(raw: Socket, connection: NodeConnection, events: ConnectionEvents): void {
    const claim: IdentityClaim = { identity: undefined, fault: undefined };
    // Node's types know the callback of a `tls.Server` only, but it is the socket that asks it.
    const options: TLSSocketOptions & Pick<TlsOptions, "pskCallback"> = {
      isServer: true,
      secureContext: this.#context,
      pskCallback: (_socket, text) => this.#keyFor(text, claim),
    };
    const socket = new (tls().TLSSocket)(raw, options);
    connection.prove(socket, { failed: (error) => tell(events, acceptedReason(error, claim)) });
    socket.once("secure", () => {
      if (claim.identity === undefined || !isKeyed(socket)) {
        socket.destroy(new Error("the handshake did not use the key"));
        return;
      }
      connection.open();
      events.secured(claim.identity, cipherOf(socket));
    });
  }

  /**
   * Asked for the first identity that a caller names. There is always a key: whoever has not the secret is answered in the
   * same way, and after the same work, whether it has named us or nobody, and so does not learn who we are.
   */
  #keyFor(text: string, claim: IdentityClaim): Uint8Array {
    const identity = parseIdentity(text);
    const isWanted = identity !== undefined && this.#accepts(identity);
    claim.identity = isWanted ? identity : undefined;
    claim.fault = isWanted ? undefined : faultOf(text, identity);
    return (isWanted ? this.#secret : this.#decoy).keyFor(text);
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

/** What the other side of one socket has claimed to be. */
interface IdentityClaim {
  /** The identity that it was given the key for. */
  identity: Identity | undefined;
  /** Why it was given one that nobody has. */
  fault: string | undefined;
}

function faultOf(text: string, identity: Identity | undefined): string {
  if (identity === undefined) return `it names "${shown(text)}", which is no identity of ours`;
  return `it comes as ${named(identity)}, which is not wanted here`;
}

/** An identity in a sentence. */
function named({ mesh, role }: Identity): string {
  return `${role} of the mesh "${shown(mesh)}"`;
}

/** Foreign text, in part and without anything that could steer a terminal. */
function shown(text: string): string {
  return printable(new TextEncoder().encode(text), 96);
}

/** True if a finished handshake rests on a pre-shared key: OpenSSL counts that as the resumption of a session. */
function isKeyed(socket: TLSSocket): boolean {
  return socket.isSessionReused() && socket.getProtocol() === "TLSv1.3" && socket.getCipher().name === cipher;
}

function cipherOf(socket: TLSSocket): string {
  return `${socket.getProtocol()} ${socket.getCipher().name} ${group}`;
}

function tell(events: ConnectionEvents, reason: IdentityRejection | undefined): void {
  if (reason !== undefined) events.unproved(reason.code, reason.message);
}

/** A connection that broke says nothing about the secret. */
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

function dialedReason(error: NodeJS.ErrnoException, identity: Identity): IdentityRejection | undefined {
  if (isBreak(error)) return undefined;
  const found = findings.find(([name]) => name.test(error.code ?? ""))?.[1];
  switch (found) {
    case "unwanted":
      return { code: "WRONG_IDENTITY", message: `it does not take us as ${named(identity)}` };
    case "another secret":
      return { code: "SECRET_MISMATCH", message: `it has another secret, or does not take us as ${named(identity)}` };
    case "no room":
      return { code: "BUSY", message: "it has no room for another connection now" };
    case "no key":
      return { code: "SECRET_MISMATCH", message: `it answers ${named(identity)} without having the key` };
    case "no secret":
      return { code: "SECRET_NOT_USED", message: "it takes no TLS handshake of ours: it uses no secret" };
    case undefined:
      return { code: "SECRET_UNPROVED", message: `it answers the handshake without the key: ${textOf(error)}` };
  }
}

/** What the caller's identity and our own findings say. */
function acceptedReason(
  error: NodeJS.ErrnoException,
  { identity, fault }: IdentityClaim,
): IdentityRejection | undefined {
  if (isBreak(error)) return undefined;
  if (fault !== undefined) return { code: "WRONG_IDENTITY", message: fault };
  if (identity === undefined) {
    return { code: "SECRET_UNPROVED", message: `it opens a handshake without naming a key of ours: ${textOf(error)}` };
  }
  if (error.code === "ERR_SSL_BINDER_DOES_NOT_VERIFY") {
    return { code: "SECRET_MISMATCH", message: `it comes as ${named(identity)} with another key` };
  }
  const message = `what it says does not fit the handshake, as if it were recorded: ${textOf(error)}`;
  return { code: "SECRET_UNPROVED", message };
}

function textOf(error: NodeJS.ErrnoException): string {
  return error.code ?? error.message;
}
