// A member under load, in a process of its own, for tests: sends every peer numbered messages for as long as it lives, and
// checks that those of its peers come in order, each once. Arguments: the package's entry, the server,
// the options of `join` as JSON. Writes what happens as lines of JSON; a line on stdin is a command: `pause`, `resume`,
// `report`, `complete SIZE` or `leave`.
import { createInterface } from "node:readline";

const [, , entry, server, options] = process.argv;
const { join } = await import(entry);
const say = (type, fields = {}) => console.log(JSON.stringify({ type, at: Date.now(), ...fields }));

/** Messages sent and received by peer id, and what was wrong with those received. */
const sent = new Map();
const received = new Map();
const faults = [];
const told = [
  "peer:up",
  "peer:down",
  "peer:unreachable",
  "peer:back",
  "fenced",
  "server:lost",
  "server:back",
  "leader",
];
let isPaused = false;

const node = await join(server, {
  timeoutMs: 120_000,
  ...JSON.parse(options),
  setup(self) {
    self.onMessage("counted", ({ peer, payload }) => {
      const last = received.get(peer.id) ?? 0;
      if (payload !== last + 1) faults.push(`${payload} of ${peer.id} behind ${last}`);
      received.set(peer.id, payload);
    });
    // Numbers belong to two incarnations, and this one is over.
    self.on("fenced", () => {
      sent.clear();
      received.clear();
    });
    self.on("degraded", ({ count, missing }) => say("degraded", { count, missing }));
    for (const type of told) {
      self.on(type, ({ peer, reason, leader }) =>
        say(type, { peer: peer?.id, address: peer?.address, reason, leader }),
      );
    }
  },
});
say("registered", { id: node.id, address: node.address, order: node.order, rank: node.rank });

setInterval(() => {
  if (isPaused) return;
  for (const peer of node.peers) {
    const number = (sent.get(peer.id) ?? 0) + 1;
    try {
      node.send(peer, "counted", number);
      sent.set(peer.id, number);
    } catch (error) {
      if (error.code !== "NOT_LINKED" && error.code !== "ENDED") faults.push(`${error.code} ${error.message}`);
    }
  }
}, 20);

createInterface({ input: process.stdin }).on("line", async (line) => {
  const [command, size] = line.split(" ");
  if (command === "pause") isPaused = true;
  else if (command === "resume") isPaused = false;
  else if (command === "leave") await node.leave();
  else if (command === "complete") {
    await node.complete({ size: Number(size), timeoutMs: 120_000 });
    say("complete", { size: Number(size) });
  } else {
    const { id, order, rank, leader } = node;
    say("report", {
      id,
      order,
      rank,
      leader,
      reconnects: node.stats().reconnects,
      sent: [...sent],
      received: [...received],
      faults,
    });
  }
});
const reason = await node.closed;
say("closed", { reason });
process.exit(0);
