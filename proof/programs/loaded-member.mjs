// A member under load, in a process of its own: sends every peer numbered messages for as long as it lives, and checks that
// those of its peers come in order, each once. Arguments: the server, or `siblings:` and a name, the options of `join` and what else it does as JSON.
// Writes what happens as lines of JSON; a line on stdin is a command: `pause`, `resume`, `report`, `complete SIZE` or `leave`.
import { createInterface } from "node:readline";
import { join, siblings } from "fullmesh";

const [, , server, parameters] = process.argv;
/** `everyMs`: the pause between two messages to each peer; `claim`: a key that it claims again and again. */
const { everyMs = 50, claim: key, ...options } = JSON.parse(parameters);
const say = (type, fields = {}) => console.log(JSON.stringify({ type, at: Date.now(), ...fields }));

/** Messages sent and received by peer id, and what was wrong with those received. */
const sent = new Map();
const received = new Map();
const faults = [];
const reported = [
  "peer:up",
  "peer:down",
  "peer:unreachable",
  "peer:back",
  "fenced",
  "server:lost",
  "server:back",
  "leader",
  "claimed",
  "degraded",
];
let isPaused = false;

say("started");
const [, application] = /^siblings:(.*)$/.exec(server) ?? [];
const enter = application === undefined ? join : siblings;
const node = await enter(application ?? server, {
  timeoutMs: 120_000,
  ...options,
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
    self.on("directory", ({ members }) => say("directory", { members: members.length }));
    for (const type of reported) {
      self.on(type, ({ peer, reason, leader, key: of, token, count, missing }) =>
        say(type, {
          peer: peer?.id,
          address: peer?.address,
          reason,
          leader: leader?.address,
          key: of,
          token,
          count,
          missing,
        }),
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
}, everyMs);

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
      leader: leader?.address,
      reconnects: node.stats().reconnects,
      claims: node.claims.length,
      sent: [...sent],
      received: [...received],
      faults,
    });
  }
});

async function holdAgainAndAgain() {
  for (;;) {
    const { token, signal } = await node.claim(key);
    say("holds", { key, token });
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    say("holds no more", { key, token, reason: signal.reason.message });
  }
}
if (key !== undefined) holdAgainAndAgain().catch(({ code }) => say("claims no more", { code }));

const reason = await node.closed;
say("closed", { reason });
process.exit(0);
