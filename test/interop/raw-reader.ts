import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { Bell } from "../support/processes.js";
import { endpointOf } from "./witness.js";

/** What a simple program is busy with between two reads. Whatever arrives meanwhile comes glued together. */
const busyMs = 30;

/**
 * The simplest member there can be: registers, takes whatever one read gives for one message, and keeps it. It has other
 * work to do between two reads, so it gets glued what is not well apart. It dials nobody by itself, and says nothing to
 * those who greet it unless it is told to.
 */
export class RawReader {
  /** What each read of the server's connection has given. */
  readonly fromServer: string[] = [];
  /** What each read of an accepted connection has given, for each connection in the order of acceptance. */
  readonly fromPeers: string[][] = [];
  readonly #listener: Server;
  readonly #server: Socket;
  readonly #sockets = new Set<Socket>();
  readonly #dialed: Socket[] = [];
  readonly #bell = new Bell();
  #hasEnded = false;

  private constructor(listener: Server, server: Socket) {
    this.#listener = listener;
    this.#server = server;
    this.#sockets.add(server);
  }

  /** Connects and registers. Whoever does so calls `close` in the cleanup. */
  static async join(server: string): Promise<RawReader> {
    const listener = createServer().listen(0, "127.0.0.1");
    await once(listener, "listening");
    const reader = new RawReader(listener, dial(server));
    listener.on("connection", (socket) => reader.#accept(socket));
    reader.#readFrom(reader.#server, reader.fromServer);
    reader.#server.on("end", () => {
      reader.#hasEnded = true;
      reader.#bell.ring();
    });
    reader.#server.write(reader.address);
    return reader;
  }

  get address(): string {
    const { address, port } = this.#listener.address() as AddressInfo;
    return `${address}:${port}`;
  }

  /** Resolves when the server has closed. */
  async end(): Promise<void> {
    await this.until(() => this.#hasEnded, "has not seen the server close");
  }

  async until(condition: () => boolean, missing: string): Promise<void> {
    const tell = (): string => `the raw reader ${missing}; from the server: ${JSON.stringify(this.fromServer)}`;
    await this.#bell.until(() => condition() || undefined, tell);
  }

  /** Dials a peer, and says all of this in one write. Returns what each read gives. */
  dial(peer: string, text: string): string[] {
    const socket = dial(peer);
    const reads: string[] = [];
    this.#keep(socket, reads);
    this.#dialed.push(socket);
    socket.write(text, "latin1");
    return reads;
  }

  close(): void {
    this.#listener.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Says this to everyone who has dialed. */
  say(text: string): void {
    for (const socket of this.#sockets) if (socket !== this.#server) socket.write(text, "latin1");
  }

  /** Says this to everyone whom it has dialed. */
  sayToDialed(text: string): void {
    for (const socket of this.#dialed) socket.write(text, "latin1");
  }

  #accept(socket: Socket): void {
    const reads: string[] = [];
    this.fromPeers.push(reads);
    this.#keep(socket, reads);
  }

  #keep(socket: Socket, reads: string[]): void {
    this.#sockets.add(socket);
    this.#readFrom(socket, reads);
    // Nodes that end take their connections with them, each in its own way.
    socket.on("error", () => {});
  }

  #readFrom(socket: Socket, reads: string[]): void {
    let isBusy = false;
    const read = (): void => {
      isBusy = false;
      const text: string | null = socket.read();
      if (text === null) return;
      reads.push(text);
      this.#bell.ring();
    };
    socket.setEncoding("latin1").on("readable", () => {
      if (isBusy) return;
      isBusy = true;
      setTimeout(read, busyMs);
    });
  }
}

function dial(address: string): Socket {
  const { host, port } = endpointOf(address);
  return connect({ host, port: Number(port), noDelay: true });
}
