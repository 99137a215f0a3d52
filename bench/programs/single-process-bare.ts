// Many members in one process, bare: each a `net.Server`, and one connection a pair, on which the dialer sends its address as a
// line and the other end answers with one. Measures links a second, memory, and CPU while idle, with a ping and a pong on each
// connection every five seconds.
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { residentBytes } from "./memory.js";
import { exitWithParent, nowMs, parametersOf, pause, report } from "./program.js";

const { members, idleMs } = parametersOf<{ readonly members: number; readonly idleMs: number }>();

const pingMs = 5_000;
/** Dials of one member that are under way at once, as in a mesh. */
const dialsInFlight = 8;

exitWithParent();
const before = await residentBytes();
const startedAt = nowMs();
const dialed: Socket[] = [];
const accepted: Socket[] = [];
const ports = await Promise.all(Array.from({ length: members }, listen));
await Promise.all(ports.map(dialThoseAfter));
// Every dialer has its answer, so every link is known at both ends.
const links = (members * (members - 1)) / 2;
if (dialed.length !== links || accepted.length !== links) throw new Error("some links are missing");
const rate = links / ((nowMs() - startedAt) / 1000);
const bytesPerEnd = ((await residentBytes()) - before) / (2 * links);
setInterval(() => {
  for (const socket of dialed) socket.write("ping\n");
}, pingMs);
const cpu = process.cpuUsage();
await pause(idleMs);
const { user, system } = process.cpuUsage(cpu);
const idle = (user + system) / 1000 / (idleMs / 1000) / members;
report({ result: { rate, bytesPerEnd, idle } });

async function listen(): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    // The link counts at this end once the dialer has sent its address.
    socket.once("data", () => accepted.push(socket));
    socket.on("data", (bytes) => socket.write(bytes));
  });
  server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 });
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function dialThoseAfter(own: number, rank: number): Promise<void> {
  const others = ports.slice(rank + 1);
  const dialInTurn = async (): Promise<void> => {
    for (let port = others.shift(); port !== undefined; port = others.shift()) {
      const socket = connect({ host: "127.0.0.1", port, noDelay: true });
      await once(socket, "connect");
      socket.write(`127.0.0.1:${own}\n`);
      await once(socket, "data");
      socket.on("data", () => {});
      dialed.push(socket);
    }
  };
  await Promise.all(Array.from({ length: dialsInFlight }, dialInTurn));
}
