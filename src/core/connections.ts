import type { ErrorCode } from "./errors.js";

/**
 * What machines and the driver tell one another about connections: the whole vocabulary between logic and sockets.
 */

/** Names a connection within one machine: `in:1` was accepted, `out:1` was dialed. Never reused. */
export type ConnectionId = `in:${number}` | `out:${number}`;

/** One end of a connection over TCP. `host` is an IP literal, except where a dial may name a host to be looked up. */
export interface NetworkEndpoint {
  readonly host: string;
  /** 0 to 65535; 0 only asks a listener for any free port. */
  readonly port: number;
  readonly path?: undefined;
}

/** One end of a connection over a local socket, which has a path. The end that has dialed has none, and its path is empty. */
export interface LocalEndpoint {
  readonly path: string;
  readonly host?: undefined;
  readonly port?: undefined;
}

/** One end of a connection. */
export type Endpoint = NetworkEndpoint | LocalEndpoint;

/** What a key that comes from the secret is for: speaking with the rendezvous, its dial-backs included, or with members. */
export type Role = "rendezvous" | "member";

/** What the proof of the secret says of a connection: for which mesh, and in which role. */
export interface Identity {
  readonly mesh: string;
  readonly role: Role;
}

/** What happened to a connection. */
export type ConnectionInput =
  | {
      readonly type: "accepted";
      readonly connection: ConnectionId;
      readonly local: Endpoint;
      readonly remote: Endpoint;
    }
  | {
      readonly type: "connected";
      readonly connection: ConnectionId;
      readonly local: Endpoint;
      readonly remote: Endpoint;
      /** How it is encrypted, such as `TLSv1.3 TLS_AES_128_GCM_SHA256 X25519`; absent in the open. */
      readonly cipher?: string;
    }
  /** The first byte of an accepted connection has come, and begins the proof of the secret. */
  | { readonly type: "proving"; readonly connection: ConnectionId }
  /** An accepted connection is encrypted now, and the other side has proved that it has the secret. */
  | {
      readonly type: "secured";
      readonly connection: ConnectionId;
      readonly identity: Identity;
      readonly cipher: string;
    }
  /** The proof of the secret has failed, as far as it is known why; `closed` follows. */
  | {
      readonly type: "unproved";
      readonly connection: ConnectionId;
      readonly code: ErrorCode;
      readonly message: string;
    }
  | { readonly type: "bytes"; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  /** Everything sent so far has been handed to the kernel. */
  | { readonly type: "flushed"; readonly connection: ConnectionId }
  /** The other side has half-closed: it sends nothing more, but may still read. */
  | { readonly type: "ended"; readonly connection: ConnectionId }
  /** The connection is gone, or never came to be; nothing more is said of it. `failure` is the system's errno name. */
  | { readonly type: "closed"; readonly connection: ConnectionId; readonly failure?: string }
  /** The time that `nextTimeout` asked for has come. */
  | { readonly type: "timeout" };

/** What happened to a connection that its machine knows already. */
export type ConnectionProgress = Exclude<ConnectionInput, { readonly type: "accepted" | "timeout" }>;

/** What a machine wants done with a connection. */
export type ConnectionOutput =
  | {
      readonly type: "dial";
      readonly connection: ConnectionId;
      readonly to: Endpoint;
      /** As whom, where there is a secret to prove it with. */
      readonly identity: Identity;
    }
  | { readonly type: "send"; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  | { readonly type: "halfClose"; readonly connection: ConnectionId }
  /** Close at once, whatever is unsent or unread. A `closed` input follows. */
  | { readonly type: "abort"; readonly connection: ConnectionId }
  /** Accept no more connections. */
  | { readonly type: "stopListening" };

/** True for the loopback hosts 127.0.0.0/8 and ::1; `host` is a canonical IP literal. */
export function isLoopback(host: string): boolean {
  return host === "::1" || (host.startsWith("127.") && !host.includes(":"));
}

/** True for an end that only processes on this machine can reach; a host is a canonical IP literal. */
export function isOnThisMachine(end: Endpoint): boolean {
  return end.path !== undefined || isLoopback(end.host);
}

/** True if a dial over TCP has met its own outgoing port, as happens on loopback where nobody listens. */
export function isSelfConnection(local: Endpoint, remote: Endpoint): boolean {
  return local.path === undefined && local.host === remote.host && local.port === remote.port;
}

/**
 * The host as bounds for each host count it; of an end with a canonical IP literal. Whoever has one IPv6 address has the 2^64 of
 * its network, so a /64 is one host. All local sockets are of one.
 */
export function networkOf({ host }: Endpoint): string {
  if (host === undefined) return "this machine";
  if (!host.includes(":") || isLoopback(host)) return host;
  const [head = "", tail] = host.split("::");
  const groups = head === "" ? [] : head.split(":");
  // What `::` stands for are zeros: as many as are missing of eight.
  const behind = tail === undefined || tail === "" ? [] : tail.split(":");
  while (groups.length + behind.length < 8) groups.push("0");
  return `${[...groups, ...behind].slice(0, 4).join(":")}::/64`;
}

/** True if a connection has failed because this computer has no room for it: no descriptors, or no memory for a socket. */
export function isOutOfResources(errno: string | undefined): boolean {
  return errno === "EMFILE" || errno === "ENFILE" || errno === "ENOBUFS";
}

/** True if a dial has failed because nobody listens there: no socket at the port, or none at the path, or a dead one. */
export function isNobodyThere(errno: string | undefined): boolean {
  return errno === "ECONNREFUSED" || errno === "ENOENT";
}
