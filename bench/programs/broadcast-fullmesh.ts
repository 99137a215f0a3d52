// Broadcast over a mesh: `broadcast`, at the pace of the slowest receiver, who says from time to time how many it has.
import type { MeshNode } from "fullmesh";
import { enter } from "./member.js";
import { followStarter, nowMs, parametersOf, tell } from "./program.js";
import { sendFor } from "./rate.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly receivers: number;
  readonly bytes: number;
  readonly warmMs: number;
  readonly ms: number;
}>();

/** How many messages may be on their way to a receiver, and after how many it says that it has them. */
const [window, wordEvery] = [16_384, 2_048];

followStarter();
const node = await enter();
if (parameters.role === "receive") receive(node);
else await lead(node);

function receive(node: MeshNode): void {
  let received = 0;
  node.on("message", ({ peer, topic, payload }) => {
    received += (payload as Uint8Array)[0] ?? 0;
    if (topic === "?" || received % wordEvery === 0) node.send(peer, topic, Buffer.from(`${received}`));
  });
}

async function lead(node: MeshNode): Promise<void> {
  const { receivers, bytes, warmMs, ms } = parameters;
  await node.complete({ size: receivers + 1 });
  const message = Buffer.alloc(bytes, 1);
  const received = new Map(node.members.filter((member) => member !== node.address).map((member) => [member, 0]));
  let sent = 0;
  let answers = 0;
  let proceed = (): void => {};
  const hasRoom = (): boolean => sent - Math.min(...received.values()) < window;
  // The slowest is looked for only when words come, and not for each message.
  let left = window;
  node.on("message", ({ peer, topic, payload }) => {
    received.set(peer.address, Number(Buffer.from(payload as Uint8Array)));
    if (topic === "?") answers += 1;
    left = window - (sent - Math.min(...received.values()));
    if (hasRoom()) proceed();
  });
  const way = {
    send: () => {
      if (left <= 0) return false;
      if (node.broadcast("", message).length > 0) throw new Error("a receiver was skipped");
      left -= 1;
      sent += 1;
      return true;
    },
    whenFree: (resume: () => void) => {
      proceed = () => {
        proceed = () => {};
        resume();
      };
    },
    isTaken: false,
  };
  const ask = (): Promise<void> =>
    new Promise((resolve) => {
      answers = 0;
      proceed = () => (answers === receivers ? resolve() : undefined);
      node.broadcast("?", Buffer.alloc(1));
    });
  await sendFor(warmMs, bytes, way);
  await ask();
  const startedAt = nowMs();
  const count = await sendFor(ms, bytes, way);
  await ask();
  const deliveries = Array.from(received.values()).reduce((sum, each) => sum + each, 0);
  if (deliveries !== sent * receivers) throw new Error(`sent ${sent}, delivered ${deliveries}`);
  tell({ result: { rate: (count * receivers) / ((nowMs() - startedAt) / 1000) } });
}
