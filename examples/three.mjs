import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const nodes = [await join(server.address), await join(server.address), await join(server.address)];
  await Promise.all(nodes.map((node) => node.complete({ size: 3 })));
  console.log(nodes.map((node) => `rank ${node.rank} has ${node.peers.length} links`).join(", "));
  nodes[2].once("message", ({ topic, payload }) => console.log(`rank 2 has heard ${topic}:`, payload));
  nodes[2].onRequest("add", ([a, b]) => a + b);
  nodes[0].broadcast("greeting", { text: "hello" });
  console.log("rank 0 was told:", await nodes[0].request(nodes[2].address, "add", [20, 22]));
} finally {
  await server.teardown();
}
