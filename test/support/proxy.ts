import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** One connection through a proxy: two sockets, one to either side. */
interface Passage {
  readonly caller: Socket;
  readonly called: Socket;
}

/** A proxy in front of a listener on loopback, which can reset all its connections. */
export class CuttingProxy {
  readonly address: string;
  readonly #passages = new Set<Passage>();
  #accepted = 0;
  /** It resets every new connection. */
  isShut = false;

  constructor(address: string) {
    this.address = address;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#passages.size;
  }

  /** Connections there have ever been. */
  get accepted(): number {
    return this.#accepted;
  }

  add(passage: Passage): void {
    this.#accepted += 1;
    this.#passages.add(passage);
    for (const [socket, other] of [
      [passage.caller, passage.called],
      [passage.called, passage.caller],
    ] as const) {
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#passages.delete(passage);
        other.destroy();
      });
      socket.on("end", () => other.end());
      socket.pipe(other, { end: false });
    }
  }

  /** Resets every connection, on both sides. */
  cut(): void {
    for (const { caller, called } of this.#passages) {
      caller.resetAndDestroy();
      called.resetAndDestroy();
    }
    this.#passages.clear();
  }
}

/**
 * A proxy in front of `127.0.0.1:target()`; the target may be known only later. After `most`
 * connections it resets every further one.
 */
export async function proxyBefore(target: () => number, most = Number.POSITIVE_INFINITY): Promise<CuttingProxy> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy = new CuttingProxy(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  server.on("connection", (caller) => {
    if (proxy.isShut || proxy.accepted >= most) {
      caller.on("error", () => {}).resetAndDestroy();
      return;
    }
    const called = connect({ host: "127.0.0.1", port: target(), allowHalfOpen: true, noDelay: true });
    proxy.add({ caller, called });
  });
  onTestFinished(() => {
    proxy.cut();
    server.close();
  });
  return proxy;
}
