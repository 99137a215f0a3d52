import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const nodes = [await join(server.address), await join(server.address), await join(server.address)];
  await Promise.all(nodes.map((node) => node.complete({ size: 3 })));
  console.log(nodes.map((node) => `rank ${node.rank} has ${node.peers.length} links`).join(", "));
  const heard = new Promise((resolve) => nodes[2].once("message", resolve));
  nodes[0].broadcast("greeting", Buffer.from("hello"));
  const { peer, payload } = await heard;
  console.log(`rank 2 heard "${Buffer.from(payload)}" from rank ${nodes[2].members.indexOf(peer.address)}`);
} finally {
  await server.teardown();
}
