import type { Socket } from "node:net";
import type { Endpoint } from "../core/connections.js";
import { canonicalIp } from "../protocol/ip.js";
import type { ConnectionEvents, ConnectionPort } from "../runtime/ports.js";

/**
 * The stage of a connection. `silent`: accepted, and nothing has arrived yet. `proving`: in the TLS handshake, in which nothing
 * may be sent. `open`: bytes can be sent.
 */
type SocketStage = "silent" | "proving" | "open";

/**
 * A TLS record with the fatal alert `internal_error` (RFC 8446 section 6.2), by which a TLS server refuses a connection for
 * reasons of its own, such as too many connections.
 */
const busyAlert = Uint8Array.of(0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x50);

/** So many bytes in one piece are worth a system call of their own. */
const atOnceBytes = 32_768;

/** A handshake in progress. */
export interface PskProof {
  /** The failure if the other side ends the connection in the handshake. */
  readonly cutShort?: string;
  /** Called at most once, with the error of the handshake. */
  readonly failed: (error: NodeJS.ErrnoException) => void;
}

/** The property of a socket that holds its connection, so that all sockets can share the same listeners. */
const connectionOf = Symbol("connection");

interface ConnectionSocket extends Socket {
  [connectionOf]?: NodeConnection;
}

/** One connection over a socket, or over a TLS socket on top of it. */
export class NodeConnection implements ConnectionPort {
  #socket: Socket;
  #stage: SocketStage;
  #events: ConnectionEvents | undefined;
  #failure: string | undefined;
  #proof: PskProof | undefined;
  /** True until the bytes of this turn of the event loop go out together. */
  #isCorked = false;
  /** True once `flushed` has been reported for everything that was sent. */
  #isFlushed = true;

  constructor(socket: Socket, stage: SocketStage) {
    this.#socket = socket;
    this.#stage = stage;
    this.#listenTo(socket);
  }

  get stage(): SocketStage {
    return this.#stage;
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  /** Sends nothing before the connection is open. */
  send(bytes: Uint8Array): void {
    if (this.#stage !== "open") return;
    const socket = this.#socket;
    this.#isFlushed = false;
    // Everything sent in one turn goes out in one system call.
    if (!this.#isCorked) {
      this.#isCorked = true;
      socket.cork();
      process.nextTick(NodeConnection.#uncork, this);
    }
    socket.write(bytes, this.#written);
    // What fills a buffer goes out at once: the wire is busy while the next one is written.
    if (bytes.length < atOnceBytes) return;
    socket.uncork();
    socket.cork();
  }

  static #uncork(connection: NodeConnection): void {
    connection.#isCorked = false;
    connection.#socket.uncork();
  }

  /** A write has been handed to the kernel. A failed one is reported by `closed`. */
  readonly #written = (error: Error | null | undefined): void => {
    if (error || this.#isFlushed || this.#socket.writableLength > 0) return;
    this.#isFlushed = true;
    this.#events?.flushed();
  };

  /** Ends the writing side. In a handshake that is an abort; before one the caller gets the alert that means `BUSY`. */
  halfClose(): void {
    if (this.#stage === "proving") {
      this.abort();
    } else {
      if (this.#stage === "silent") this.#socket.write(busyAlert);
      this.#stage = "open";
      this.#socket.end();
    }
  }

  abort(): void {
    this.#socket.destroy();
  }

  /** Sets who gets the events. The machine may have acted on an accepted connection before. */
  setEvents(events: ConnectionEvents): void {
    this.#events = events;
  }

  /** Continues over a TLS socket on top of the last one, in its handshake until `open` is called. */
  prove(socket: Socket, proof: PskProof): void {
    this.#stage = "proving";
    this.#proof = proof;
    this.#socket = socket;
    this.#listenTo(socket);
    socket.on("end", () => {
      if (this.#stage !== "proving") return;
      this.#failure ??= proof.cutShort;
      this.abort();
    });
    // After the handshake Node reports manipulated bytes by this event; at an accepting end by no other, without closing.
    socket.on("_tlsError", (error: NodeJS.ErrnoException) => this.#fail(error));
  }

  /** Opens the connection. The first bytes are reported in a later turn of the event loop. */
  open(): void {
    this.#stage = "open";
    this.#socket.on("data", NodeConnection.#onBytes);
  }

  #listenTo(socket: ConnectionSocket): void {
    socket[connectionOf] = this;
    socket.on("end", NodeConnection.#onEnd).on("error", NodeConnection.#onError).on("close", NodeConnection.#onClose);
  }

  #fail(error: NodeJS.ErrnoException): void {
    if (this.#failure !== undefined) return;
    this.#failure = error.code ?? error.message;
    if (this.#stage === "proving") this.#proof?.failed(error);
    this.abort();
  }

  // The events of its sockets, which name it: so no connection needs functions of its own for them.

  static readonly #onBytes = function (this: ConnectionSocket, bytes: Uint8Array): void {
    const connection = this[connectionOf];
    if (connection !== undefined) connection.#events?.bytes(bytes);
  };

  static readonly #onEnd = function (this: ConnectionSocket): void {
    const connection = this[connectionOf];
    if (connection !== undefined && connection.#socket === this && connection.#stage !== "proving")
      connection.#events?.ended();
  };

  static readonly #onError = function (this: ConnectionSocket, error: NodeJS.ErrnoException): void {
    const connection = this[connectionOf];
    if (connection !== undefined) connection.#fail(error);
  };

  static readonly #onClose = function (this: ConnectionSocket): void {
    const connection = this[connectionOf];
    if (connection !== undefined && connection.#socket === this) connection.#events?.closed(connection.#failure);
  };
}

/** The local address of a socket in canonical form; undefined if it is closed already. */
export function localEnd({ localAddress, localPort }: Socket): Endpoint | undefined {
  return endOf(localAddress, localPort);
}

/** The remote address. */
export function remoteEnd({ remoteAddress, remotePort }: Socket): Endpoint | undefined {
  return endOf(remoteAddress, remotePort);
}

function endOf(address: string | undefined, port: number | undefined): Endpoint | undefined {
  return address === undefined || port === undefined ? undefined : { host: canonicalIp(address) ?? address, port };
}
