import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Endpoint, Identity, NetworkEndpoint } from "../core/connections.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import { formatAddress } from "../protocol/address.js";
import { canonicalIp, isUnspecified } from "../protocol/ip.js";
import type { Accept, ConnectionEvents, Listening, TransportPort } from "../runtime/ports.js";
import { localEnd, NodeConnection, remoteEnd } from "./connection.js";
import type { Keyring } from "./keyring.js";
import { listenLocally, requireSafeFolder } from "./local-socket.js";
import { type Lookup, NameDial, systemLookup } from "./name-dial.js";

/**
 * The options of every socket. Half-open is allowed, because simple programs half-close and go on reading. Nagle's algorithm is
 * off, because one write is one message. Keep-alive detects peers that vanished.
 */
const socketOptions = { allowHalfOpen: true, noDelay: true, keepAlive: true } as const;

/**
 * Connections that the kernel may complete before they are accepted. A burst of dials to a newcomer overflows the default of
 * 511, and each dial that is dropped there costs a second. The kernel caps this at net.core.somaxconn.
 */
export const backlog = 4096;

/**
 * Connections over node:net. `keepAliveMs`: the silence after which the kernel sends keep-alive probes. With a keyring, every
 * connection must prove the secret. Host names are looked up here, because Node tries one address after the other, and
 * unreachable ones would use up the time.
 */
export function nodeTransport(keepAliveMs: number, keyring?: Keyring, lookup: Lookup = systemLookup): TransportPort {
  const options = { ...socketOptions, keepAliveInitialDelay: keepAliveMs };
  return wrap({
    dial: (to, identity, events) => {
      if (to.path !== undefined) return dialLocally(to.path, keyring, identity, events);
      const dialAddress = (at: NetworkEndpoint, attempt: ConnectionEvents): NodeConnection =>
        dial(connect({ ...options, ...at }), keyring, at, identity, attempt);
      const host = canonicalIp(to.host);
      if (host === undefined) return new NameDial(to, lookup, dialAddress, events);
      return dialAddress({ host, port: to.port }, events);
    },
    listen: (on, accept, done) => {
      if (on.path === undefined) listen(on, createServer(options), keyring, accept, done);
      else void listenAtPath(on.path, keyring, accept, done);
    },
  });
}

let wrap = (transport: TransportPort): TransportPort => transport;

/** All transports that this process makes from now on are wrapped. For `fullmesh up`, which cuts connections and slows them down. */
export function wrapTransports(wrapper: (transport: TransportPort) => TransportPort): void {
  wrap = wrapper;
}

function dial(
  socket: Socket,
  keyring: Keyring | undefined,
  to: Endpoint,
  identity: Identity,
  events: ConnectionEvents,
): NodeConnection {
  const connection = new NodeConnection(socket, keyring === undefined ? "open" : "proving");
  connection.setEvents(events);
  socket.once("connect", () => {
    // Each address of a socket costs a system call. The remote one is known, and a local socket that has dialed has none.
    const local = to.path === undefined ? localEnd(socket) : unnamed;
    // A socket that was reset in the same turn of the event loop has no address any more; its `close` follows.
    if (local === undefined) return;
    const connected = (cipher?: string): void => events.connected(local, to, cipher);
    if (keyring !== undefined) {
      keyring.proveDialed(socket, connection, identity, events, connected);
    } else {
      connection.open();
      connected();
    }
  });
  return connection;
}

/** The end of a local socket that has dialed. */
const unnamed: Endpoint = { path: "" };

function dialLocally(
  path: string,
  keyring: Keyring | undefined,
  identity: Identity,
  events: ConnectionEvents,
): NodeConnection {
  // Delays, keep-alive and peers that vanish with their machine are matters of TCP.
  const connection = dial(connect({ path, allowHalfOpen: true }), keyring, { path }, identity, events);
  try {
    requireSafeFolder(path);
  } catch (error) {
    const { code, message } = error as FullmeshError;
    process.nextTick(() => {
      events.unproved(code as ErrorCode, message);
      connection.abort();
    });
  }
  return connection;
}

function accepted(
  socket: Socket,
  local: Endpoint,
  remote: Endpoint,
  keyring: Keyring | undefined,
  accept: Accept,
): void {
  const connection = new NodeConnection(socket, keyring === undefined ? "open" : "silent");
  const events = accept(connection, local, remote);
  connection.setEvents(events);
  if (keyring === undefined) connection.open();
  else keyring.proveAccepted(socket, connection, events);
}

/** Nobody can be reached at a path before it is published, and then the listener has been handed over. */
async function listenAtPath(
  path: string,
  keyring: Keyring | undefined,
  accept: Accept,
  done: Listening,
): Promise<void> {
  const address: Endpoint = { path };
  const server = createServer({ allowHalfOpen: true });
  server.on("connection", (socket) => accepted(socket, address, unnamed, keyring, accept));
  try {
    const close = await listenLocally(server, path, backlog);
    server.on("error", () => {});
    done({ address, close });
  } catch (error) {
    done(error instanceof FullmeshError ? error : listenError(error as NodeJS.ErrnoException, address));
  }
}

function listen(
  on: NetworkEndpoint,
  server: Server,
  keyring: Keyring | undefined,
  accept: Accept,
  done: Listening,
): void {
  /** The listening address, unless it is unspecified: then each socket has its own. */
  let bound: Endpoint | undefined;
  server.on("connection", (socket) => {
    const local = bound ?? localEnd(socket);
    const remote = remoteEnd(socket);
    if (local === undefined || remote === undefined) socket.destroy();
    else accepted(socket, local, remote, keyring, accept);
  });
  server.once("error", (error) => done(listenError(error, on)));
  // Workers of node:cluster would otherwise share the port, and a member must be reached at its own.
  server.listen({ ...on, backlog, exclusive: true }, () => {
    // Later errors are failed accepts, whose other side sees its connection close.
    server.removeAllListeners("error").on("error", () => {});
    const { address, port } = server.address() as AddressInfo;
    const host = canonicalIp(address) ?? address;
    if (!isUnspecified(host)) bound = { host, port };
    done({ address: { host, port }, close: () => void server.close() });
  });
}

/** Why it was not possible to listen there. */
export function listenError(error: NodeJS.ErrnoException, on: Endpoint): FullmeshError {
  const codes = { EADDRINUSE: "PORT_IN_USE", EADDRNOTAVAIL: "NOT_OUR_ADDRESS" } as const;
  const code = codes[error.code as keyof typeof codes] ?? "LISTEN_FAILED";
  return new FullmeshError(code, `cannot listen on ${formatAddress(on)}: ${error.code ?? error.message}`, {
    cause: error,
  });
}
