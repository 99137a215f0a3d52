// A path with a delay: carries connections to where it is told, each byte a while later, in both directions. What is on its
// way is bounded by the kernel's largest receive window, so that the path behaves like a network of that length.
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { SeededRandom } from "../../src/core/random.js";
import { followStarter, nowMs, parametersOf, tell } from "./program.js";

/** Linux gives a connection 6 MiB at most (the last number of net.ipv4.tcp_rmem). */
const windowBytes = 6 * 1024 * 1024;
/** How much longer than the delay a read may take, in milliseconds: no path is quite even. */
const jitterMs = 0.5;

const { delayMs, seed } = parametersOf<{ readonly delayMs: number; readonly seed: number }>();
const random = new SeededRandom(seed);
let target: string | undefined;
const waiting: Socket[] = [];

followStarter((text) => {
  target = text.trim();
  for (const socket of waiting.splice(0)) carry(socket, target);
});
const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
  if (target === undefined) waiting.push(socket);
  else carry(socket, target);
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  tell({ ready: `127.0.0.1:${(server.address() as AddressInfo).port}` });
});

function carry(socket: Socket, to: string): void {
  const [host = "", port] = to.split(":");
  const other = connect({ host, port: Number(port), noDelay: true, allowHalfOpen: true });
  delay(socket, other);
  delay(other, socket);
  socket.resume();
}

/** Carries one direction; the end of it is late as well. */
function delay(from: Socket, to: Socket): void {
  /** On their way, and, behind them, arrived but not yet known to have: the window is taken for a whole round trip. */
  const moving: { readonly dueMs: number; readonly bytes: Buffer | null }[] = [];
  const arrived: { readonly dueMs: number; readonly length: number }[] = [];
  let taken = 0;
  let isTimed = false;
  const advance = (): void => {
    // Timers count whole milliseconds; what is due within half of one is due now.
    const now = nowMs() + 0.5;
    for (let first = moving[0]; first !== undefined && first.dueMs <= now; first = moving[0]) {
      moving.shift();
      if (first.bytes === null) to.end();
      else to.write(first.bytes);
      arrived.push({ dueMs: first.dueMs + delayMs, length: first.bytes?.length ?? 0 });
    }
    for (let first = arrived[0]; first !== undefined && first.dueMs <= now; first = arrived[0]) {
      arrived.shift();
      taken -= first.length;
    }
    if (taken < windowBytes && to.writableLength < windowBytes) from.resume();
    const next = Math.min(moving[0]?.dueMs ?? Number.POSITIVE_INFINITY, arrived[0]?.dueMs ?? Number.POSITIVE_INFINITY);
    isTimed = next !== Number.POSITIVE_INFINITY;
    if (isTimed) setTimeout(advance, next - now);
  };
  const put = (bytes: Buffer | null): void => {
    const jitter = random.integer(0, jitterMs * 1_000) / 1_000;
    moving.push({ dueMs: Math.max(moving.at(-1)?.dueMs ?? 0, nowMs() + delayMs + jitter), bytes });
    taken += bytes?.length ?? 0;
    if (taken >= windowBytes) from.pause();
    if (isTimed) return;
    isTimed = true;
    setTimeout(advance, delayMs);
  };
  from.on("data", put).on("end", () => put(null));
  from.on("error", () => to.destroy());
  to.on("drain", () => taken < windowBytes && from.resume());
}
