import { type AddressInfo, connect, createServer, type NetConnectOpts, type Server, type Socket } from "node:net";
import type { Endpoint } from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import { formatAddress } from "../protocol/address.js";
import { canonicalIp } from "../protocol/ip.js";
import type { Accept, ConnectionEvents, ConnectionPort, Listening, TransportPort } from "../runtime/ports.js";

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

/** A host name may have a slow first address: Node's default of 250 ms gives up on healthy paths. */
const addressAttemptMs = 5_000;

/** Connections over node:net. `keepAliveMs`: after how long a silence the kernel asks whether the other end lives. */
export function nodeTransport(keepAliveMs: number): TransportPort {
  const options = { ...socketOptions, keepAliveInitialDelay: keepAliveMs };
  return {
    dial: (to, events) => dial({ ...options, ...to, autoSelectFamilyAttemptTimeout: addressAttemptMs }, events),
    listen: (on, accept, done) => listen(on, createServer(options), accept, done),
  };
}

function dial(options: NetConnectOpts, events: ConnectionEvents): ConnectionPort {
  const socket = connect(options);
  const port = attach(socket, events);
  socket.once("connect", () => {
    const ends = endsOf(socket);
    // A socket that was reset in the same turn of the loop has no ends any more; its `close` follows.
    if (ends !== undefined) events.connected(ends.local, ends.remote);
  });
  return port;
}

function listen(on: Endpoint, server: Server, accept: Accept, done: Listening): void {
  server.on("connection", (socket) => {
    const ends = endsOf(socket);
    if (ends === undefined) {
      socket.destroy();
      return;
    }
    // The machine may act on the connection before it has told who hears of it.
    const port = new NodeConnection(socket);
    listenTo(socket, port, accept(port, ends.local, ends.remote));
  });
  server.once("error", (error) => done(listenError(error, on)));
  server.listen({ ...on, backlog }, () => {
    // From now on an error is one failed accept; the other side learns of it by its own closing.
    server.removeAllListeners("error").on("error", () => {});
    const { address, port } = server.address() as AddressInfo;
    done({ address: { host: canonicalIp(address) ?? address, port }, close: () => void server.close() });
  });
}

class NodeConnection implements ConnectionPort {
  readonly #socket: Socket;
  onFlushed: () => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes, (error) => {
      // A failed write is told once, by `closed`.
      if (!error && this.#socket.writableLength === 0) this.onFlushed();
    });
  }

  halfClose(): void {
    this.#socket.end();
  }

  abort(): void {
    this.#socket.destroy();
  }
}

function attach(socket: Socket, events: ConnectionEvents): NodeConnection {
  const port = new NodeConnection(socket);
  listenTo(socket, port, events);
  return port;
}

function listenTo(socket: Socket, port: NodeConnection, events: ConnectionEvents): void {
  let failure: string | undefined;
  port.onFlushed = () => events.flushed();
  socket.on("data", (bytes) => events.bytes(bytes as Uint8Array));
  socket.on("end", () => events.ended());
  socket.on("error", (error: NodeJS.ErrnoException) => {
    failure = error.code ?? error.message;
  });
  socket.on("close", () => events.closed(failure));
}

/** Both ends of a socket in canonical form; undefined if it is closed already. */
function endsOf(socket: Socket): { readonly local: Endpoint; readonly remote: Endpoint } | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (
    localAddress === undefined ||
    localPort === undefined ||
    remoteAddress === undefined ||
    remotePort === undefined
  ) {
    return undefined;
  }
  return {
    local: { host: canonicalIp(localAddress) ?? localAddress, port: localPort },
    remote: { host: canonicalIp(remoteAddress) ?? remoteAddress, port: remotePort },
  };
}

function listenError(error: NodeJS.ErrnoException, on: Endpoint): FullmeshError {
  const codes = { EADDRINUSE: "PORT_IN_USE", EADDRNOTAVAIL: "NOT_OUR_ADDRESS" } as const;
  const code = codes[error.code as keyof typeof codes] ?? "LISTEN_FAILED";
  return new FullmeshError(code, `cannot listen on ${formatAddress(on)}: ${error.code ?? error.message}`, {
    cause: error,
  });
}
