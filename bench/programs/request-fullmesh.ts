// Requests over a mesh of two: an echo.
import { joinMesh } from "./member.js";
import { exitWithParent, parametersOf, report } from "./program.js";
import { measureRequests, type Stretches } from "./rate.js";

const parameters = parametersOf<
  Stretches & { readonly role: "receive" | "lead"; readonly bytes: number; readonly inFlight: number }
>();

const topic = "quote-lookup";

exitWithParent();
const node = await joinMesh();
if (parameters.role === "receive") node.onRequest(topic, (payload) => payload);
else await lead();

async function lead(): Promise<void> {
  await node.complete({ size: 2 });
  const [peer] = node.peers;
  if (peer === undefined) throw new Error("nobody to send to");
  const payload = Buffer.alloc(parameters.bytes);
  const request = (): Promise<unknown> => node.request(peer, topic, payload);
  report({ result: await measureRequests(parameters, request) });
}
