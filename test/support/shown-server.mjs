// A server with its HTTP pages, in a process of its own that reports what it holds, for tests; run with --expose-gc. It prints its
// addresses. To each line on stdin it answers with the bytes of its memory, and how many sockets it has.
// Arguments: the folder of the build.
import { createInterface } from "node:readline";

const [, , build] = process.argv;
const { serve } = await import(`${build}/src/index.js`);
const server = await serve({ listen: "127.0.0.1:0", http: "127.0.0.1:0", logger: false });
console.log(JSON.stringify({ address: server.address, http: server.httpAddress }));

for await (const when of createInterface(process.stdin)) {
  for (let count = 0; count < 4; count += 1) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    globalThis.gc();
  }
  const { heapUsed, external } = process.memoryUsage();
  const sockets = process.getActiveResourcesInfo().filter((type) => type === "TCPSocketWrap").length;
  console.log(JSON.stringify({ when, bytes: heapUsed + external, sockets }));
}
