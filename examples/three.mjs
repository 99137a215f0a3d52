import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const nodes = [await join(server.address), await join(server.address), await join(server.address)];
  await Promise.all(nodes.map((node) => node.complete({ size: 3 })));
  console.log(nodes.map((node) => `rank ${node.rank} has ${node.peers.length} links`).join(", "));
  nodes[0].writeAll(Buffer.from("hello"));
  const { peer, bytes } = await new Promise((resolve) => nodes[2].once("bytes", resolve));
  console.log(`rank 2 heard "${Buffer.from(bytes)}" from rank ${nodes[2].members.indexOf(peer)}`);
} finally {
  await server.teardown();
}
