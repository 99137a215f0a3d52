// One way, over a mesh of two: `send` until it says to wait, and on at `drain`.
import type { MeshNode } from "fullmesh";
import { enter } from "./member.js";
import { followStarter, nowMs, parametersOf, tell } from "./program.js";
import { sendFor } from "./rate.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly bytes: number;
  readonly warmMs: number;
  readonly ms: number;
}>();

followStarter();
const node = await enter();
if (parameters.role === "receive") receive(node);
else await lead(node);

function receive(node: MeshNode): void {
  // Each message begins with a 1, which is read, so that no program gets away with not looking at what it receives.
  let received = 0;
  node.on("message", ({ peer, topic, payload }) => {
    received += (payload as Uint8Array)[0] ?? 0;
    if (topic !== "") node.send(peer, "", Buffer.from(`${received}`));
  });
}

async function lead(node: MeshNode): Promise<void> {
  await node.complete({ size: 2 });
  const peer = node.members[0] ?? "";
  const message = Buffer.alloc(parameters.bytes, 1);
  const way = {
    send: () => node.send(peer, "", message),
    whenFree: (resume: () => void) => void node.once("drain", resume),
    // `false` asks the sender to wait with the next one.
    isTaken: true,
  };
  const ask = (): Promise<number> =>
    new Promise((resolve) => {
      node.once("message", ({ payload }) => resolve(Number(Buffer.from(payload as Uint8Array))));
      node.send(peer, "?", Buffer.alloc(1));
    });
  const warm = await sendFor(parameters.warmMs, parameters.bytes, way);
  await ask();
  const startedAt = nowMs();
  const sent = await sendFor(parameters.ms, parameters.bytes, way);
  const received = (await ask()) - warm;
  if (received !== sent) throw new Error(`sent ${sent}, received ${received}`);
  tell({ result: { rate: sent / ((nowMs() - startedAt) / 1000) } });
}
