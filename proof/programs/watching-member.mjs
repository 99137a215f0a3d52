// A member in a process of its own: prints what happens to it as lines of JSON, with the time in milliseconds since the
// epoch. Arguments: the server, and the options of `join` as JSON. A line on stdin is a command: `complete SIZE`, `claim KEY`
// or `leave`.
import { createInterface } from "node:readline";
import { join } from "fullmesh";

const [, , server, options] = process.argv;
const print = (type, fields = {}) => process.stdout.write(`${JSON.stringify({ type, at: Date.now(), ...fields })}\n`);

const node = await join(server, {
  timeoutMs: 120_000,
  logger: false,
  ...JSON.parse(options),
  setup(self) {
    for (const type of ["peer:up", "peer:unreachable", "peer:back", "peer:down"]) {
      self.on(type, ({ peer, reason }) => print(type, { peer: peer.name, reason }));
    }
    for (const type of ["fenced", "server:lost", "server:back"]) {
      self.on(type, ({ reason, awayMs }) => print(type, { reason, awayMs }));
    }
    self.on("leader", ({ leader }) => print("leader", { leader: leader?.address ?? leader ?? null }));
    self.on("degraded", ({ count, missing }) => print("degraded", { count, missing }));
  },
});
print("registered", { address: node.address });

createInterface({ input: process.stdin }).on("line", async (line) => {
  const [command, argument] = line.split(" ");
  if (command === "complete") {
    await node.complete({ size: Number(argument), timeoutMs: 180_000 });
    print("complete", { size: Number(argument) });
  } else if (command === "claim") {
    const { token, signal } = await node.claim(argument);
    print("claim", { token });
    signal.addEventListener("abort", () => print("claim:lost", { token }));
  } else {
    await node.leave();
  }
});
await node.closed;
process.exit();
