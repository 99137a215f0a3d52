// A mesh of five, one of which subscribes to its messages and never takes any. The leader measures requests to the other
// three, fills the queue of the slow one, and measures them again while it keeps trying to send to the slow one.
import { FullmeshError, type MeshNode } from "fullmesh";
import { joinMesh } from "./member.js";
import { residentBytes } from "./memory.js";
import { exitWithParent, nowMs, parametersOf, pause, report } from "./program.js";
import { requestFor } from "./rate.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  /** The first receiver is the slow one. */
  readonly rank: number;
  readonly to: readonly [slow: string, ...others: string[]];
  readonly bytes: number;
  readonly warmMs: number;
  readonly ms: number;
  /** For how long after the queue is full the link with the slow one is watched. */
  readonly watchMs: number;
}>();

const topic = "price-change";
/** As often as a timer allows. */
const tryEveryMs = 1;
/** Within this time the slow one acknowledges what has arrived, which makes room for more. */
const settleMs = 500;

exitWithParent();
const node = await joinMesh();
if (parameters.role === "lead") await lead(node);
else if (parameters.rank === 0) node.subscribe(topic);
else node.onRequest("quote-lookup", (payload) => payload);

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

  const payload = Buffer.alloc(64);
  let requests = 0;
  const request = (): Promise<unknown> => {
    requests += 1;
    return node.request(others[requests % others.length] ?? "", "quote-lookup", payload);
  };
  await requestFor(warmMs, 1, request);
  const { p99: idle } = await requestFor(ms, 1, request);
  const before = await residentBytes();

  // Each message has a buffer of its own, as in an application: it stays in memory until the slow one has acknowledged it.
  const fill = (): { readonly softBytes: number; readonly hardBytes: number } => {
    let softBytes = 0;
    for (let sent = bytes; ; sent += bytes) {
      const answer = trySend(node, slow, Buffer.alloc(bytes, 1));
      if (answer === "full") return { softBytes, hardBytes: sent - bytes };
      if (answer === "slow" && softBytes === 0) softBytes = sent;
    }
  };
  const limits = fill();
  // Acknowledgements have made room meanwhile; after this loop there is none.
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
  // Garbage collection has discarded compiled code, so warm up again.
  await requestFor(warmMs, 1, request);
  const { p99: beside } = await requestFor(ms, 1, request);
  if (tries === 0) throw new Error("nothing was tried during the requests");
  resident = Math.max(resident, process.memoryUsage.rss());
  await pause(Math.max(0, fullAt + watchMs - nowMs()));
  clearInterval(trying);
  resident = Math.max(resident, process.memoryUsage.rss());
  const peer = node.peers.find(({ address }) => address === slow);
  const linked = isLinked && peer?.state === "up" ? 1 : 0;
  const growth = (resident - before) / 2 ** 20;
  report({ result: { ...limits, idle, beside, slowdown: beside / idle, growth, linked } });
}

/** The result of `send`: `taken`, more may follow; `slow`, taken, but wait for `drain`; `full`, nothing was taken. */
function trySend(node: MeshNode, peer: string, message: Uint8Array): "taken" | "slow" | "full" {
  try {
    return node.send(peer, topic, message) ? "taken" : "slow";
  } catch (error) {
    if (error instanceof FullmeshError && error.code === "QUEUE_FULL") return "full";
    throw error;
  }
}
