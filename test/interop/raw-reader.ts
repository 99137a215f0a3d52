import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { Condition } from "../support/processes.js";
import { endpointOf } from "./observed-node.js";

/** How long a simple program works between two reads. What arrives meanwhile comes in one read. */
const busyMs = 30;

/**
 * The simplest member there can be: registers, takes each read for one message, and keeps it. It has other work to do
 * between two reads, so it gets messages glued that are close together. It dials and sends only what the test asks for.
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
  readonly #changed = new Condition();
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
      reader.#changed.notify();
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
    const explain = (): string => `the raw reader ${missing}; from the server: ${JSON.stringify(this.fromServer)}`;
    await this.#changed.until(() => condition() || undefined, explain);
  }

  /** Dials a peer, and sends all of this in one write. Returns what each read gives. */
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

  /** Sends this to every peer. */
  send(text: string): void {
    for (const socket of this.#sockets) if (socket !== this.#server) socket.write(text, "latin1");
  }

  /** Sends this to every peer that it has dialed. */
  sendToDialed(text: string): void {
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
    // Nodes that end may close their connections with a reset.
    socket.on("error", () => {});
  }

  #readFrom(socket: Socket, reads: string[]): void {
    let isBusy = false;
    const read = (): void => {
      isBusy = false;
      const text: string | null = socket.read();
      if (text === null) return;
      reads.push(text);
      this.#changed.notify();
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
