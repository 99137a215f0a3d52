// A network path with a delay: relays connections to the address on stdin, each byte later by the delay, in both directions.
// Bytes in flight are bounded by the kernel's largest receive window, as on a network with that delay.
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { SeededRandom } from "../../src/core/random.js";
import { exitWithParent, nowMs, parametersOf, report } from "./program.js";

/** Linux gives a connection 6 MiB at most (the last number of net.ipv4.tcp_rmem). */
const windowBytes = 6 * 1024 * 1024;
/** The most by which a read is late beyond the delay, in milliseconds. */
const jitterMs = 0.5;

const { delayMs, seed } = parametersOf<{ readonly delayMs: number; readonly seed: number }>();
const random = new SeededRandom(seed);
let target: string | undefined;
const waiting: Socket[] = [];

exitWithParent((text) => {
  target = text.trim();
  for (const socket of waiting.splice(0)) relay(socket, target);
});
const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
  if (target === undefined) waiting.push(socket);
  else relay(socket, target);
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  report({ ready: `127.0.0.1:${(server.address() as AddressInfo).port}` });
});

function relay(socket: Socket, to: string): void {
  const [host = "", port] = to.split(":");
  const other = connect({ host, port: Number(port), noDelay: true, allowHalfOpen: true });
  delay(socket, other);
  delay(other, socket);
  socket.resume();
}

/** Relays one direction; its end is delayed as well. */
function delay(from: Socket, to: Socket): void {
  /** Reads in flight, and reads whose arrival the sender does not know yet: a window is used for a whole round trip. */
  const inFlight: { readonly dueMs: number; readonly bytes: Buffer | null }[] = [];
  const arrived: { readonly dueMs: number; readonly length: number }[] = [];
  let usedBytes = 0;
  let isTimed = false;
  const advance = (): void => {
    // Timers count whole milliseconds, so what is due within half of one counts as due.
    const now = nowMs() + 0.5;
    for (let first = inFlight[0]; first !== undefined && first.dueMs <= now; first = inFlight[0]) {
      inFlight.shift();
      if (first.bytes === null) to.end();
      else to.write(first.bytes);
      arrived.push({ dueMs: first.dueMs + delayMs, length: first.bytes?.length ?? 0 });
    }
    for (let first = arrived[0]; first !== undefined && first.dueMs <= now; first = arrived[0]) {
      arrived.shift();
      usedBytes -= first.length;
    }
    if (usedBytes < windowBytes && to.writableLength < windowBytes) from.resume();
    const next = Math.min(
      inFlight[0]?.dueMs ?? Number.POSITIVE_INFINITY,
      arrived[0]?.dueMs ?? Number.POSITIVE_INFINITY,
    );
    isTimed = next !== Number.POSITIVE_INFINITY;
    if (isTimed) setTimeout(advance, next - now);
  };
  const put = (bytes: Buffer | null): void => {
    const jitter = random.integer(0, jitterMs * 1_000) / 1_000;
    inFlight.push({ dueMs: Math.max(inFlight.at(-1)?.dueMs ?? 0, nowMs() + delayMs + jitter), bytes });
    usedBytes += bytes?.length ?? 0;
    if (usedBytes >= windowBytes) from.pause();
    if (isTimed) return;
    isTimed = true;
    setTimeout(advance, delayMs);
  };
  from.on("data", put).on("end", () => put(null));
  from.on("error", () => to.destroy());
  to.on("drain", () => usedBytes < windowBytes && from.resume());
}
