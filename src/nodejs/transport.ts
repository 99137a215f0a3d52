import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Endpoint, Identity } from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import { formatAddress } from "../protocol/address.js";
import { canonicalIp, isUnspecified } from "../protocol/ip.js";
import type { Accept, ConnectionEvents, Listening, TransportPort } from "../runtime/ports.js";
import { localEnd, NodeConnection, remoteEnd } from "./connection.js";
import type { Keyring } from "./keyring.js";
import { type Lookup, NameDial, systemLookup } from "./name-dial.js";

/**
 * How every socket is opened. Half-open is allowed, because a simple program half-closes after its last word and still
 * reads. Nagle's delay is off, because one write is one message. Keepalive finds peers that vanished without a word.
 */
const socketOptions = { allowHalfOpen: true, noDelay: true, keepAlive: true } as const;

/**
 * Connections that the kernel completes while we are busy. A burst of dials at a newcomer overflows Node's default of 511,
 * and each dial lost there costs a second. The kernel caps this at net.core.somaxconn.
 */
const backlog = 4096;

/**
 * Connections over node:net. `keepAliveMs`: after how long a silence the kernel asks whether the other end lives. With a
 * keyring the secret is proved on whatever is dialed, and has to be proved on whatever is accepted. A host name is looked up
 * here and not by Node, which tries one address after the other: the first dead ones would take all the time that there is.
 */
export function nodeTransport(keepAliveMs: number, keyring?: Keyring, lookup: Lookup = systemLookup): TransportPort {
  const options = { ...socketOptions, keepAliveInitialDelay: keepAliveMs };
  return {
    dial: (to, identity, events) => {
      const dialAddress = (at: Endpoint, hears: ConnectionEvents): NodeConnection =>
        dial(connect({ ...options, ...at }), keyring, at, identity, hears);
      const host = canonicalIp(to.host);
      if (host === undefined) return new NameDial(to, lookup, dialAddress, events);
      return dialAddress({ host, port: to.port }, events);
    },
    listen: (on, accept, done) => listen(on, createServer(options), keyring, accept, done),
  };
}

function dial(
  socket: Socket,
  keyring: Keyring | undefined,
  to: Endpoint,
  identity: Identity,
  events: ConnectionEvents,
): NodeConnection {
  const connection = new NodeConnection(socket, keyring === undefined ? "open" : "proving");
  connection.hear(events);
  socket.once("connect", () => {
    // Each end that is asked for is a system call. The other one is where it was dialed.
    const local = localEnd(socket);
    // A socket that was reset in the same turn of the loop has no ends any more; its `close` follows.
    if (local === undefined) return;
    const connected = (cipher?: string): void => events.connected(local, to, cipher);
    if (keyring !== undefined) {
      keyring.dialed(socket, connection, identity, events, connected);
    } else {
      connection.open();
      connected();
    }
  });
  return connection;
}

function listen(on: Endpoint, server: Server, keyring: Keyring | undefined, accept: Accept, done: Listening): void {
  /** Where this listens, unless it listens everywhere: then each socket knows where it was reached. */
  let bound: Endpoint | undefined;
  server.on("connection", (socket) => {
    const local = bound ?? localEnd(socket);
    const remote = remoteEnd(socket);
    if (local === undefined || remote === undefined) {
      socket.destroy();
      return;
    }
    const connection = new NodeConnection(socket, keyring === undefined ? "open" : "silent");
    const events = accept(connection, local, remote);
    connection.hear(events);
    if (keyring === undefined) connection.open();
    else keyring.accepted(socket, connection, events);
  });
  server.once("error", (error) => done(listenError(error, on)));
  // A worker of node:cluster would otherwise share the port with all other workers, and a member must be reached at its own.
  server.listen({ ...on, backlog, exclusive: true }, () => {
    // From now on an error is one failed accept; the other side learns of it by its own closing.
    server.removeAllListeners("error").on("error", () => {});
    const { address, port } = server.address() as AddressInfo;
    const host = canonicalIp(address) ?? address;
    if (!isUnspecified(host)) bound = { host, port };
    done({ address: { host, port }, close: () => void server.close() });
  });
}

function listenError(error: NodeJS.ErrnoException, on: Endpoint): FullmeshError {
  const codes = { EADDRINUSE: "PORT_IN_USE", EADDRNOTAVAIL: "NOT_OUR_ADDRESS" } as const;
  const code = codes[error.code as keyof typeof codes] ?? "LISTEN_FAILED";
  return new FullmeshError(code, `cannot listen on ${formatAddress(on)}: ${error.code ?? error.message}`, {
    cause: error,
  });
}
