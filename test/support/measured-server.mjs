// A server in a process of its own that reports its memory, for tests; run with --expose-gc. It prints its address. To each
// line on stdin it answers, once its machine keeps no more than when it began, with the bytes of its heap and the process.
// Arguments: the folder of the build, the lease in milliseconds.
import { EventEmitter } from "node:events";
import { createInterface } from "node:readline";

const [, , build, leaseMs] = process.argv;
const { ServerRuntime } = await import(`${build}/src/server/server-runtime.js`);
const { serverConfig } = await import(`${build}/src/server/options.js`);
const { listen } = await import(`${build}/src/api/listen.js`);
const { formatAddress } = await import(`${build}/src/protocol/address.js`);

const limits = { leaseMs: Number(leaseMs), silentMs: leaseMs / 2, probeMs: leaseMs / 8, handshakeMs: Number(leaseMs) };
const { driver, machine } = new ServerRuntime(new EventEmitter(), serverConfig({ limits }));
console.log(formatAddress(await listen(driver, { host: "127.0.0.1", port: 0 })));

const first = machine.size;
let most = first;
const sample = () => {
  most = Math.max(most, machine.size);
  setTimeout(sample, 10);
};
sample();

for await (const line of createInterface(process.stdin)) {
  while (machine.size > first) await new Promise((resolve) => setTimeout(resolve, 10));
  for (let count = 0; count < 4; count += 1) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    globalThis.gc();
  }
  const { heapUsed, rss } = process.memoryUsage();
  console.log(JSON.stringify({ line, most, heapUsed, rss, members: machine.members.length }));
  most = first;
}
