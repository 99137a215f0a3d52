// A mesh of five, one of which opens a loop over its messages and never takes any. The leader measures requests to the other
// three, fills the queue of the slow one, and measures them again, while it goes on trying to send to the slow one as well.
import { FullmeshError, type MeshNode } from "fullmesh";
import { enter } from "./member.js";
import { residentBytes } from "./memory.js";
import { followStarter, nowMs, parametersOf, pause, tell } from "./program.js";
import { askFor } from "./rate.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  /** The first receiver is the slow one. */
  readonly rank: number;
  readonly to: readonly [slow: string, ...others: string[]];
  readonly bytes: number;
  readonly warmMs: number;
  readonly ms: number;
  /** From the full queue on, how long the link with the slow one is watched. */
  readonly watchMs: number;
}>();

const topic = "news";
/** A program that goes on trying does so as often as a timer lets it. */
const tryEveryMs = 1;
/** What has arrived at the slow one is acknowledged in that time, which makes room for more. */
const settleMs = 500;

followStarter();
const node = await enter();
if (parameters.role === "lead") await lead(node);
else if (parameters.rank === 0) node.subscribe(topic);
else node.onRequest("echo", (payload) => payload);

async function lead(node: MeshNode): Promise<void> {
  const { to, bytes, warmMs, ms, watchMs } = parameters;
  const [slow, ...others] = to;
  await node.complete({ size: to.length + 1 });
  let isLinked = true;
  const lost = (): void => {
    isLinked = false;
  };
  node.on("peer:unreachable", ({ peer }) => peer.address === slow && lost());
  node.on("peer:down", ({ peer }) => peer.address === slow && lost());

  const question = Buffer.alloc(64);
  let asked = 0;
  const ask = (): Promise<unknown> => {
    asked += 1;
    return node.request(others[asked % others.length] ?? "", "echo", question);
  };
  await askFor(warmMs, 1, ask);
  const { p99: idle } = await askFor(ms, 1, ask);
  const before = await residentBytes();

  // Each message has bytes of its own, as those of a program have: they stay where they are until the slow one has them.
  const fill = (): { readonly softBytes: number; readonly hardBytes: number } => {
    let softBytes = 0;
    for (let sent = bytes; ; sent += bytes) {
      const answer = trySend(node, slow, Buffer.alloc(bytes, 1));
      if (answer === "full") return { softBytes, hardBytes: sent - bytes };
      if (answer === "slow" && softBytes === 0) softBytes = sent;
    }
  };
  const limits = fill();
  // What has been acknowledged meanwhile leaves room; from now on there is none.
  for (let more = limits.hardBytes; more > 0; more = fill().hardBytes) await pause(settleMs);

  const fullAt = nowMs();
  let resident = process.memoryUsage.rss();
  const message = Buffer.alloc(bytes, 1);
  let tries = 0;
  const trying = setInterval(() => {
    if (!isLinked) return;
    tries += 1;
    if (trySend(node, slow, message) !== "full") throw new Error("the full queue has taken a message");
  }, tryEveryMs);
  // As before the first measurement: the collection of garbage has thrown compiled code away.
  await askFor(warmMs, 1, ask);
  const { p99: beside } = await askFor(ms, 1, ask);
  if (tries === 0) throw new Error("nothing was tried while others were asked");
  resident = Math.max(resident, process.memoryUsage.rss());
  await pause(Math.max(0, fullAt + watchMs - nowMs()));
  clearInterval(trying);
  resident = Math.max(resident, process.memoryUsage.rss());
  const peer = node.peers.find(({ address }) => address === slow);
  const linked = isLinked && peer?.state === "up" ? 1 : 0;
  const growth = (resident - before) / 2 ** 20;
  tell({ result: { ...limits, idle, beside, slowdown: beside / idle, growth, linked } });
}

/** What `send` says: that more may follow, that it should not yet, or that it has taken nothing. */
function trySend(node: MeshNode, peer: string, message: Uint8Array): "taken" | "slow" | "full" {
  try {
    return node.send(peer, topic, message) ? "taken" : "slow";
  } catch (error) {
    if (error instanceof FullmeshError && error.code === "QUEUE_FULL") return "full";
    throw error;
  }
}
