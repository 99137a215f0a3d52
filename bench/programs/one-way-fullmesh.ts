// One way, over a mesh of two: `send` until it returns false, then on at `drain`.
import { once } from "node:events";
import type { MeshNode } from "fullmesh";
import { joinMesh } from "./member.js";
import { exitWithParent, parametersOf, report } from "./program.js";
import { measureSending, type Stretches } from "./rate.js";

const parameters = parametersOf<Stretches & { readonly role: "receive" | "lead"; readonly bytes: number }>();

const topic = "price-change";

exitWithParent();
const node = await joinMesh();
if (parameters.role === "receive") receive(node);
else await lead(node);

function receive(node: MeshNode): void {
  // The first byte of each message is a 1. Adding it up makes every program read what it receives.
  let received = 0;
  node.onMessage(topic, ({ payload }) => {
    received += (payload as Uint8Array)[0] ?? 0;
  });
  node.onMessage("count", ({ peer }) => node.send(peer, "count", received));
}

async function lead(node: MeshNode): Promise<void> {
  await node.complete({ size: 2 });
  const [peer] = node.peers;
  if (peer === undefined) throw new Error("nobody to send to");
  const message = Buffer.alloc(parameters.bytes, 1);
  const send = (): boolean => node.send(peer, topic, message);
  const drained = (): Promise<unknown> => once(node, "drain");
  const received = (): Promise<number> =>
    new Promise((resolve) => {
      const stopListening = node.onMessage("count", ({ payload }) => {
        stopListening();
        resolve(payload as number);
      });
      node.send(peer, "count");
    });
  report({ result: await measureSending(parameters, { receivers: 1, send, drained, received }) });
}
