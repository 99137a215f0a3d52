// The same question to all peers. It comes back with a reply or an error of each, in the order of joining.
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const nodes = [];
  for (const name of ["a", "b", "c", "d"]) nodes.push(await join(server.address, { name }));
  await Promise.all(nodes.map((node) => node.complete({ size: 4 })));
  nodes[1].onRequest("free", () => 7);
  nodes[2].onRequest("free", () => new Promise(() => {}));

  const outcomes = await nodes[0].requestAll("free", undefined, { timeoutMs: 200 });
  for (const { peer, reply, error } of outcomes) console.log(peer.name, error?.code ?? reply);
} finally {
  await server.teardown();
}

// Prints:
// b 7
// c TIMED_OUT
// d NO_HANDLER
