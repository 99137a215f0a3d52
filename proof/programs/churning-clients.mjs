// Clients that come and go: each joins a mesh, holds a key for a while if it is its turn, and leaves again; so many at once in
// this process, so many in all. Arguments: the servers, separated by commas, and the options as JSON. Writes what each has done,
// and what came of it, as lines of JSON for `proof/mesh-history.ts`. A line on stdin ends it: those that are in leave.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { join } from "fullmesh";

const [, , serverList, parameters] = process.argv;
const { joins, atOnce, stayMs, key, listen, ...options } = JSON.parse(parameters);
const servers = serverList.split(",");
const now = () => performance.timeOrigin + performance.now();
const say = (act) => console.log(JSON.stringify(act));

let begun = 0;
let isOver = false;
createInterface({ input: process.stdin }).on("line", () => {
  isOver = true;
});

/** One client after the other, as long as there are any, each with the same server first: one that hangs holds up only its own. */
async function work(first) {
  while (begun < joins && !isOver) {
    begun += 1;
    await come(begun, first);
  }
}

async function come(number, first) {
  const client = randomUUID();
  const begunAt = now();
  let node;
  try {
    node = await join([...servers.slice(first), ...servers.slice(0, first)], { listen, logger: false, ...options });
  } catch (error) {
    const { code, message } = error.cause ?? error;
    say({ act: "join", id: client, begunAt, endedAt: now(), refused: code, message });
    return;
  }
  const { id, order } = node;
  say({ act: "join", id, begunAt, endedAt: now(), order });
  let fencedAt;
  node.on("fenced", ({ reason }) => {
    fencedAt = now();
    say({ act: "fenced", id, at: fencedAt, reason });
    // It was removed at some moment before.
    say({ act: "die", id, begunAt });
  });
  // Few: when a holder dies, all that wait for its key keep their slots until the lease of the claim is over.
  if (key !== undefined && number % 16 === 0) await hold(node, id);
  await pause(stayMs * (0.5 + Math.random()));
  if (fencedAt !== undefined && node.id !== id) {
    say({ act: "join", id: node.id, begunAt: fencedAt, endedAt: now(), order: node.order });
  }
  // Nobody says when the server has read it.
  if (fencedAt === undefined || node.id !== id) say({ act: "leave", id: node.id, begunAt: now() });
  await node.leave();
}

async function hold(node, id) {
  const begunAt = now();
  try {
    const claim = await node.claim(key, { signal: AbortSignal.timeout(15_000) });
    const { token } = claim;
    say({ act: "claim", id, key, begunAt, endedAt: now(), token });
    await pause(stayMs / 2);
    const releasesAt = now();
    claim.release();
    say({ act: "release", id, key, begunAt: releasesAt, token });
  } catch {
    say({ act: "claim", id, key, begunAt });
  }
}

say({ act: "started", at: now() });
await Promise.all(Array.from({ length: atOnce }, (_, worker) => work(worker % servers.length)));
say({ act: "over", at: now() });
process.exit(0);
