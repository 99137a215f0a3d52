// Requests over a mesh of two: an echo.
import { enter } from "./member.js";
import { followStarter, parametersOf, tell } from "./program.js";
import { askFor } from "./rate.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly bytes: number;
  readonly inFlight: number;
  readonly warmMs: number;
  readonly ms: number;
}>();

followStarter();
const node = await enter();
if (parameters.role === "receive") node.onRequest("echo", (payload) => payload);
else await lead();

async function lead(): Promise<void> {
  const { bytes, inFlight, warmMs, ms } = parameters;
  await node.complete({ size: 2 });
  const peer = node.members[0] ?? "";
  const question = Buffer.alloc(bytes);
  const ask = (): Promise<unknown> => node.request(peer, "echo", question);
  await askFor(warmMs, inFlight, ask);
  tell({ result: await askFor(ms, inFlight, ask) });
}
