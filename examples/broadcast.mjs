// A message to all peers, encoded once. Those that did not take it come back, with the reason.
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const nodes = [await join(server.address), await join(server.address), await join(server.address)];
  nodes.push(await join(server.address, { dialect: "classic" }));
  await Promise.all(nodes.map((node) => node.complete({ size: 4 })));
  const heard = [nodes[1], nodes[2]].map((node) => new Promise((resolve) => node.once("message", resolve)));

  const skipped = nodes[0].broadcast("drop", { key: "user:7" });
  const rankOf = (peer) => nodes[0].members.findIndex(({ id }) => id === peer.id);
  for (const { peer, code } of skipped) console.log(`rank ${rankOf(peer)} was left out: ${code}`);
  for (const { topic, payload } of await Promise.all(heard)) console.log(topic, payload);
} finally {
  await server.teardown();
}

// Prints:
// rank 3 was left out: CLASSIC_PEER
// drop { key: 'user:7' }
// drop { key: 'user:7' }
