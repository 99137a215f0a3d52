import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A proxy in front of a listener on loopback, which resets every connection after a drawn number of bytes. */
export class ResettingProxy {
  address = "";
  /** Connections that were reset. */
  resets = 0;
  readonly #sockets = new Set<Socket>();
  readonly #draw: () => number | undefined;

  /** `draw`: after how many bytes, of both directions together, the next connection is reset; undefined for never. */
  constructor(draw: () => number | undefined) {
    this.#draw = draw;
  }

  pass(caller: Socket, called: Socket): void {
    let left = this.#draw() ?? Number.POSITIVE_INFINITY;
    const reset = (): void => {
      if (caller.destroyed || called.destroyed) return;
      this.resets += 1;
      caller.resetAndDestroy();
      called.resetAndDestroy();
    };
    for (const [from, to] of [
      [caller, called],
      [called, caller],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on("end", () => to.end());
      from.on("drain", () => to.resume());
      from.on("data", (bytes: Buffer) => {
        if (left <= 0) return;
        const part = bytes.subarray(0, left);
        left -= part.length;
        if (left > 0) {
          if (!to.write(part)) from.pause();
        } else to.write(part, reset);
      });
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Such a proxy in front of `127.0.0.1:target()`; the target may be known only later. */
export async function resettingProxy(target: () => number, draw: () => number | undefined): Promise<ResettingProxy> {
  const proxy = new ResettingProxy(draw);
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  server.on("connection", (caller) => {
    proxy.pass(caller, connect({ host: "127.0.0.1", port: target(), allowHalfOpen: true, noDelay: true }));
  });
  onTestFinished(() => {
    proxy.close();
    server.close();
  });
  return proxy;
}
