import type { Socket } from "node:net";
import type { Endpoint } from "../core/connections.js";
import { canonicalIp } from "../protocol/ip.js";
import type { ConnectionEvents, ConnectionPort } from "../runtime/ports.js";

/**
 * How far a connection is. `silent`: accepted, and the first byte decides how it goes on. `proving`: the handshake is
 * under way, and nothing of ours may go out. `open`: bytes pass.
 */
type SocketStage = "silent" | "proving" | "open";

/**
 * A TLS record with the fatal alert `internal_error` (RFC 8446 section 6.2): what a TLS server says that cannot take a
 * connection for reasons of its own, such as too little room.
 */
const noRoom = Uint8Array.of(0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x50);

/** A handshake under way. */
export interface PskProof {
  /** What it means if the other side ends before it is through. */
  readonly cutShort?: string;
  /** Hears at most once why it has failed. */
  readonly failed: (error: NodeJS.ErrnoException) => void;
}

/** By this a socket knows its connection: listeners that all sockets share cost none of them any memory. */
const connectionOf = Symbol("connection");

interface FollowedSocket extends Socket {
  [connectionOf]?: NodeConnection;
}

/** One connection over a socket, and over the socket that encrypts it once the first one carries that. */
export class NodeConnection implements ConnectionPort {
  #socket: Socket;
  #stage: SocketStage;
  #events: ConnectionEvents | undefined;
  #failure: string | undefined;
  #proof: PskProof | undefined;
  /** True while what is sent is gathered. */
  #isCorked = false;
  /** True once it has been told that everything has gone out. */
  #isFlushed = true;

  constructor(socket: Socket, stage: SocketStage) {
    this.#socket = socket;
    this.#stage = stage;
    this.#follow(socket);
  }

  get stage(): SocketStage {
    return this.#stage;
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  /** Nothing is said before it is known whether it has to be encrypted, and to whom. */
  send(bytes: Uint8Array): void {
    if (this.#stage !== "open") return;
    const socket = this.#socket;
    this.#isFlushed = false;
    // What is sent in one turn goes out in one system call.
    if (!this.#isCorked) {
      this.#isCorked = true;
      socket.cork();
      process.nextTick(NodeConnection.#uncork, this);
    }
    socket.write(bytes, this.#written);
  }

  static #uncork(connection: NodeConnection): void {
    connection.#isCorked = false;
    connection.#socket.uncork();
  }

  /** Some of it has been handed to the kernel. A failed write is told once, by `closed`. */
  readonly #written = (error: Error | null | undefined): void => {
    if (error || this.#isFlushed || this.#socket.writableLength > 0) return;
    this.#isFlushed = true;
    this.#events?.flushed();
  };

  /**
   * Half a handshake is of no use to anybody, and without our half there can be none. Where none has begun, whoever is about
   * to begin one is told that there is no room.
   */
  halfClose(): void {
    if (this.#stage === "proving") {
      this.abort();
    } else {
      if (this.#stage === "silent") this.#socket.write(noRoom);
      this.#stage = "open";
      this.#socket.end();
    }
  }

  abort(): void {
    this.#socket.destroy();
  }

  /** Says who hears of it. The machine may have acted on an accepted connection before. */
  hear(events: ConnectionEvents): void {
    this.#events = events;
  }

  /** Goes on over a socket that the last one carries, and that proves the secret until it is `open`. */
  prove(socket: Socket, proof: PskProof): void {
    this.#stage = "proving";
    this.#proof = proof;
    this.#socket = socket;
    this.#follow(socket);
    socket.on("end", () => {
      if (this.#stage !== "proving") return;
      this.#failure ??= proof.cutShort;
      this.abort();
    });
    // Once the handshake is done Node tells of an attack on what is encrypted by this event, and at an accepting end by no
    // other, and closes nothing.
    socket.on("_tlsError", (error: NodeJS.ErrnoException) => this.#fail(error));
  }

  /** From now on bytes pass; the first are reported in a later turn of the loop. */
  open(): void {
    this.#stage = "open";
    this.#socket.on("data", onBytes);
  }

  // What its sockets say.

  heardBytes(bytes: Uint8Array): void {
    this.#events?.bytes(bytes);
  }

  heardEnd(socket: Socket): void {
    if (socket === this.#socket && this.#stage !== "proving") this.#events?.ended();
  }

  heardError(error: NodeJS.ErrnoException): void {
    this.#fail(error);
  }

  heardClose(socket: Socket): void {
    if (socket === this.#socket) this.#events?.closed(this.#failure);
  }

  #follow(socket: FollowedSocket): void {
    socket[connectionOf] = this;
    socket.on("end", onEnd).on("error", onError).on("close", onClose);
  }

  #fail(error: NodeJS.ErrnoException): void {
    if (this.#failure !== undefined) return;
    this.#failure = error.code ?? error.message;
    if (this.#stage === "proving") this.#proof?.failed(error);
    this.abort();
  }
}

function onBytes(this: FollowedSocket, bytes: Uint8Array): void {
  this[connectionOf]?.heardBytes(bytes);
}

function onEnd(this: FollowedSocket): void {
  this[connectionOf]?.heardEnd(this);
}

function onError(this: FollowedSocket, error: NodeJS.ErrnoException): void {
  this[connectionOf]?.heardError(error);
}

function onClose(this: FollowedSocket): void {
  this[connectionOf]?.heardClose(this);
}

/** This end of a socket in canonical form; undefined if it is closed already. */
export function localEnd({ localAddress, localPort }: Socket): Endpoint | undefined {
  return endOf(localAddress, localPort);
}

/** The other end. */
export function remoteEnd({ remoteAddress, remotePort }: Socket): Endpoint | undefined {
  return endOf(remoteAddress, remotePort);
}

function endOf(address: string | undefined, port: number | undefined): Endpoint | undefined {
  return address === undefined || port === undefined ? undefined : { host: canonicalIp(address) ?? address, port };
}
