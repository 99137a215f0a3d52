// A key that one node of the mesh holds at a time: who asks first, who is next, and who does not want to wait.
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
const [a, b] = [await join(server.address, { name: "a" }), await join(server.address, { name: "b" })];
b.on("claimed", ({ key, holder }) => console.log(`${holder.name} holds "${key}"`));
b.on("unclaimed", ({ key, holder, reason }) => console.log(`${holder.name} holds "${key}" no more: ${reason}`));

// A server that has just started grants nothing for 10 s: earlier holders may be on their way back.
const first = await a.claim("report");
const refused = await b.claim("report", { wait: false }).catch((error) => error);
console.log(
  refused.code,
  b.claims.map(({ key, holder }) => `${key}: ${holder.name}`),
);

const next = b.claim("report");
first.signal.addEventListener("abort", () => console.log("a stops"));
first.release();
const second = await next;
console.log("the token has risen:", second.token > first.token);
second.release();
await server.teardown();

// Prints:
// a holds "report"
// CLAIMED [ 'report: a' ]
// a stops
// a holds "report" no more: given up
// b holds "report"
// the token has risen: true
