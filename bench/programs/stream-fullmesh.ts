// A bulk stream over a mesh of two: piped into what `open` returns, on the same link as the requests, if there are any.

import { isMark, measureStream, sourceOf } from "./bulk.js";
import { enter } from "./member.js";
import { followStarter, parametersOf, tell } from "./program.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly streamBytes: number;
  readonly hasRequests: boolean;
  readonly warmMs: number;
  readonly ms: number;
}>();

followStarter();
const node = await enter();
if (parameters.role === "receive") receive();
else await lead();

function receive(): void {
  node.onRequest("echo", (payload) => payload);
  node.onStream("bulk", (stream) => {
    let received = 0;
    stream.on("data", (chunk: Uint8Array) => {
      received += chunk.length;
      if (isMark(received, parameters.streamBytes)) stream.write("*");
    });
  });
}

async function lead(): Promise<void> {
  await node.complete({ size: 2 });
  const peer = node.members[0] ?? "";
  const question = Buffer.alloc(64);
  const ask = (): Promise<unknown> => node.request(peer, "echo", question);
  const stream = node.openStream(peer, "bulk");
  const transfer = (bytes: number): Promise<void> =>
    new Promise((resolve) => {
      stream.once("data", () => resolve());
      sourceOf(bytes).pipe(stream, { end: false });
    });
  tell({ result: await measureStream(parameters, ask, transfer) });
}
