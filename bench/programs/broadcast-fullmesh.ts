// Broadcast over a mesh: `broadcast`, which says only at a full queue that a receiver is behind. So receivers report how many
// messages they have, and the sender waits for the slowest of them.
import type { MeshNode } from "fullmesh";
import { joinMesh } from "./member.js";
import { exitWithParent, parametersOf, report } from "./program.js";
import { measureSending, type Stretches } from "./rate.js";

const parameters = parametersOf<
  Stretches & { readonly role: "receive" | "lead"; readonly receivers: number; readonly bytes: number }
>();

const topic = "price-change";
/** Messages that may be on their way to a receiver, and after how many a receiver reports. */
const [windowSize, reportEvery] = [16_384, 2_048];

exitWithParent();
const node = await joinMesh();
if (parameters.role === "receive") receive(node);
else await lead(node);

function receive(node: MeshNode): void {
  let received = 0;
  node.onMessage(topic, ({ peer, payload }) => {
    received += (payload as Uint8Array)[0] ?? 0;
    if (received % reportEvery === 0) node.send(peer, "received", received);
  });
  node.onMessage("count", ({ peer }) => node.send(peer, "received", received));
}

async function lead(node: MeshNode): Promise<void> {
  const { receivers, bytes } = parameters;
  await node.complete({ size: receivers + 1 });
  const message = Buffer.alloc(bytes, 1);
  const counts = new Map(node.peers.map(({ address }) => [address, 0]));
  let sent = 0;
  /** What the slowest receiver has reported; looked for only when a report arrives, and not for each message. */
  let slowest = 0;
  let onReport = (): void => {};
  node.onMessage("received", ({ peer, payload }) => {
    counts.set(peer.address, payload as number);
    slowest = Math.min(...counts.values());
    onReport();
  });
  const send = (): boolean => {
    if (node.broadcast(topic, message).length > 0) throw new Error("a receiver was left out");
    sent += 1;
    return sent - slowest < windowSize;
  };
  /** Resolves when every receiver has reported all but `behind` of what was sent. */
  const reported = (behind: number): Promise<void> =>
    new Promise((resolve) => {
      onReport = () => sent - slowest <= behind && resolve();
      onReport();
    });
  const drained = (): Promise<void> => reported(windowSize - 1);
  const received = async (): Promise<number> => {
    node.broadcast("count");
    await reported(0);
    return Array.from(counts.values()).reduce((sum, count) => sum + count, 0);
  };
  report({ result: await measureSending(parameters, { receivers, send, drained, received }) });
}
