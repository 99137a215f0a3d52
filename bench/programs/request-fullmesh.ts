// Requests over a mesh of two: an echo.
import { joinMesh } from "./member.js";
import { exitWithParent, parametersOf, report } from "./program.js";
import { requestFor } from "./rate.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly bytes: number;
  readonly inFlight: number;
  readonly warmMs: number;
  readonly ms: number;
}>();

const topic = "quote-lookup";

exitWithParent();
const node = await joinMesh();
if (parameters.role === "receive") node.onRequest(topic, (payload) => payload);
else await lead();

async function lead(): Promise<void> {
  const { bytes, inFlight, warmMs, ms } = parameters;
  await node.complete({ size: 2 });
  const [peer] = node.peers;
  if (peer === undefined) throw new Error("nobody to send to");
  const payload = Buffer.alloc(bytes);
  const request = (): Promise<unknown> => node.request(peer, topic, payload);
  await requestFor(warmMs, inFlight, request);
  report({ result: await requestFor(ms, inFlight, request) });
}
