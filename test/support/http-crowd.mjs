// Very many connections to a server's HTTP port, in a process of their own, for tests. First come readers that ask for `/events`,
// `/metrics` and `/`, some of them a thousand times at once, and read nothing; then so many others that ask for nothing, a few
// at a time. Prints "done first" when every one has been opened, and "done" with each line on stdin, for which it opens as many
// once more.
// Arguments: the HTTP address, how many connections.
import { connect } from "node:net";
import { createInterface } from "node:readline";

const [, , http, count] = process.argv;
const [host, port] = http.split(":");
const readers = 60;
const atOnce = 50;

/** Resolves when it is connected, or is not. */
async function open(request) {
  const socket = connect(port, host);
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
  // Reading is how it learns that it was closed.
  if (request === undefined) socket.resume();
  else socket.pause().write(request);
}

async function openAll(most, requestOf) {
  for (let from = 0; from < most; from += atOnce) {
    const some = Array.from({ length: Math.min(atOnce, most - from) }, (_, index) => open(requestOf(from + index)));
    await Promise.all(some);
  }
}

const [events, ...others] = ["/events", "/metrics", "/"].map((path) => `GET ${path} HTTP/1.1\r\nHost: ${http}\r\n\r\n`);
const requests = [events, ...others, ...others.map((request) => request.repeat(1_000))];
await openAll(readers, (index) => requests[index % requests.length]);
await openAll(Number(count) - readers, () => undefined);
console.log("done first");
for await (const line of createInterface(process.stdin)) {
  await openAll(Number(count), () => undefined);
  console.log(`done ${line}`);
}
