// A bulk stream over a mesh of two: piped into what `openStream` returns, on the same link as the requests, if there are any.
import { isTransferEnd, measureStream, sourceOf } from "./bulk.js";
import { joinMesh } from "./member.js";
import { exitWithParent, parametersOf, report } from "./program.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly streamBytes: number;
  readonly hasRequests: boolean;
  readonly warmMs: number;
  readonly ms: number;
}>();

exitWithParent();
const node = await joinMesh();
if (parameters.role === "receive") receive();
else await lead();

function receive(): void {
  node.onRequest("quote-lookup", (payload) => payload);
  node.onStream("price-history", (stream) => {
    let received = 0;
    stream.on("data", (chunk: Uint8Array) => {
      received += chunk.length;
      if (isTransferEnd(received, parameters.streamBytes)) stream.write("*");
    });
  });
}

async function lead(): Promise<void> {
  await node.complete({ size: 2 });
  const [peer] = node.peers;
  if (peer === undefined) throw new Error("nobody to send to");
  const payload = Buffer.alloc(64);
  const request = (): Promise<unknown> => node.request(peer, "quote-lookup", payload);
  const stream = node.openStream(peer, "price-history");
  const transfer = (bytes: number): Promise<void> =>
    new Promise((resolve) => {
      stream.once("data", () => resolve());
      sourceOf(bytes).pipe(stream, { end: false });
    });
  report({ result: await measureStream(parameters, request, transfer) });
}
