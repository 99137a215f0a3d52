import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import type { Figures } from "./figures.js";
import { LoadedMesh } from "./loaded-mesh.js";

/** A way to a server that can be closed: then every connection through it is reset, and so is each new one. */
class Gate implements Disposable {
  isOpen = true;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, target: string) {
    this.#server = server;
    const [host, port] = target.split(":");
    server.on("connection", (caller) => {
      const called = connect({ host: host as string, port: Number(port), noDelay: true });
      for (const [socket, other] of [
        [caller, called],
        [called, caller],
      ] as const) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
      if (!this.isOpen) caller.resetAndDestroy();
    });
  }

  static async before(target: string): Promise<Gate> {
    const server = createServer({ noDelay: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Gate(server, target);
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.isOpen = false;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  [Symbol.dispose](): void {
    this.close();
    this.#server.close();
  }
}

/** A member is cut off from the server only, while that is killed and started empty, and for longer than a lease after it. */
export async function cutOffInRestart(figures: Figures, cutOffMs: number): Promise<void> {
  await using mesh = await LoadedMesh.start();
  using gate = await Gate.before(mesh.address);
  for (let index = 0; index < 5; index += 1) mesh.add({}, index === 2 ? gate.address : mesh.address);
  await Promise.all(mesh.members.map((member) => member.complete(5)));
  const before = await Promise.all(mesh.members.map((member) => member.report()));
  gate.close();
  await mesh.members[2]?.nth("server:lost");
  await mesh.killServer();
  await mesh.startServer();
  await pause(cutOffMs);
  gate.isOpen = true;
  const openedAt = Date.now();
  const whole = await Promise.all(mesh.members.map((member) => member.complete(5)));
  figures.time("whole again", Math.max(...whole.map(({ at }) => at)) - openedAt, 3_000);
  const counts = await mesh.settle();
  figures.none(
    "messages lost or repeated",
    counts.flatMap(({ faults }) => faults),
  );
  figures.none(
    "ids changed",
    counts.filter(({ id }, index) => id !== before[index]?.id).map(({ id }) => id),
  );
  const happened = mesh.members.flatMap(({ happenings }) => happenings);
  for (const unwanted of ["peer:down", "peer:unreachable", "fenced", "closed"]) {
    figures.none(
      unwanted,
      happened.filter(({ type }) => type === unwanted),
    );
  }
}
