import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { onTestFinished } from "vitest";

export { freePort } from "./free-port.js";

/**
 * Raw sockets, for tests that send invalid input. Each one records what it reads and how it ends, and is closed when the
 * test is over. All waits are for events.
 */

/** Items in the order of their arrival, and waits for one that has arrived or will. */
export class Recorder<Item> {
  readonly items: Item[] = [];
  readonly #waiting = new Set<(item: Item) => void>();

  add(item: Item): void {
    this.items.push(item);
    for (const check of this.#waiting) check(item);
  }

  /** The first item, past or future, that fits. */
  first(fits: (item: Item) => boolean): Promise<Item> {
    return this.nth(1, fits);
  }

  /** The n-th item, past or future, that fits. */
  nth(n: number, fits: (item: Item) => boolean): Promise<Item> {
    const found = this.items.filter(fits);
    const item = found[n - 1];
    if (item !== undefined) return Promise.resolve(item);
    let missing = n - found.length;
    return new Promise((resolve) => {
      const check = (candidate: Item): void => {
        if (!fits(candidate)) return;
        missing -= 1;
        if (missing > 0) return;
        this.#waiting.delete(check);
        resolve(candidate);
      };
      this.#waiting.add(check);
    });
  }
}

/** One end of a TCP connection, held by the test. It stays half-open after the other side's FIN until the test ends it. */
export class RawConnection {
  readonly socket: Socket;
  /** How the other side ended it: `fin`, or the name of the error. */
  readonly ended: Promise<string>;
  readonly #growth = new Recorder<string>();
  #text = "";

  constructor(socket: Socket) {
    this.socket = socket;
    this.ended = new Promise((resolve) => {
      socket.once("end", () => resolve("fin"));
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.once("close", () => resolve("closed here"));
    });
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      this.#text += bytes.toString("latin1");
      this.#growth.add(this.#text);
    });
    onTestFinished(() => void socket.destroy());
  }

  /** Everything read so far, a character for each byte. */
  get text(): string {
    return this.#text;
  }

  /** The other end, as `host:port`. */
  get remote(): string {
    return `${this.socket.remoteAddress}:${this.socket.remotePort}`;
  }

  /** This end, as `host:port`. */
  get local(): string {
    return `${this.socket.localAddress}:${this.socket.localPort}`;
  }

  /** Resolves when the kernel has taken the bytes, or the write has failed. */
  write(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.socket.write(bytes, () => resolve());
    });
  }

  /** Resolves with everything read so far once that contains `wanted`. */
  received(wanted: string | RegExp): Promise<string> {
    const fits = (text: string): boolean => (typeof wanted === "string" ? text.includes(wanted) : wanted.test(text));
    return this.#growth.first(fits);
  }

  /** Half-closes. */
  end(): void {
    this.socket.end();
  }

  /** Ends with a reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }
}

/** A plain connection to `host:port`, once it is established. */
export async function rawClient(address: string): Promise<RawConnection> {
  const { host, port } = splitAddress(address);
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
  await once(socket, "connect");
  return new RawConnection(socket);
}

/** A plain listener on loopback, and what connects to it. */
export class RawListener {
  readonly address: string;
  readonly connections: Recorder<RawConnection>;
  readonly #server: Server;

  constructor(server: Server, connections: Recorder<RawConnection>) {
    const { port } = server.address() as AddressInfo;
    this.address = `127.0.0.1:${port}`;
    this.connections = connections;
    this.#server = server;
  }

  /** The n-th connection, counted from 1. */
  accepted(n: number): Promise<RawConnection> {
    return this.connections.nth(n, () => true);
  }

  /** Stops listening; accepted connections stay open. */
  close(): void {
    this.#server.close();
  }
}

interface RawListenerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0, any free one. */
  readonly port?: number;
  /** Accepted connections are not read until the test resumes their sockets. */
  readonly isPaused?: boolean;
}

export async function rawListener({
  host = "127.0.0.1",
  port = 0,
  isPaused = false,
}: RawListenerOptions = {}): Promise<RawListener> {
  const connections = new Recorder<RawConnection>();
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: isPaused }, (socket) => {
    const connection = new RawConnection(socket);
    if (isPaused) socket.pause();
    connections.add(connection);
  });
  server.listen(port, host);
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return new RawListener(server, connections);
}

/** `host:port` in its parts. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}
