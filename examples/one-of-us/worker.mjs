// One of several workers, of which exactly one does the job: node worker.mjs [SERVER] [RESOURCE]
import { setTimeout as pause } from "node:timers/promises";
import { join } from "fullmesh";

const [server = "127.0.0.1:4000", resource = "http://127.0.0.1:4080"] = process.argv.slice(2);
const node = await join(server);
process.once("SIGTERM", () => node.leave());

/** Does the job over and over, until the claim ends. Each time it shows its token. */
async function work(claim) {
  const { token, signal } = claim;
  while (claim.isHeld) {
    const { ok } = await fetch(`${resource}/?token=${token}&by=${process.pid}`, { method: "POST", signal });
    if (!ok) throw new Error("somebody else does the job by now");
    await pause(100, undefined, { signal });
  }
}

for (;;) {
  const claim = await node.claim("job").catch(({ code }) => console.log("ends:", code));
  if (claim === undefined) break;
  console.log("begins with token", claim.token);
  await work(claim).catch(() => {});
  console.log("stops:", claim.signal.reason?.code ?? "the resource or its token");
  claim.release();
}
