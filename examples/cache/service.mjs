import { join } from "fullmesh";

const name = process.argv[2];
const cache = new Map([["user:7", "Ada"]]);
const node = await join(process.env.MESH ?? "127.0.0.1:4000", { name });
node.onMessage("drop", ({ peer, payload }) => {
  cache.delete(payload.key);
  console.log(`${name} has ${cache.size} entries, because ${peer.name} changed ${payload.key}`);
});
process.once("SIGTERM", () => node.leave());

await node.complete({ size: 3 });
if (name === "api-1") node.broadcast("drop", { key: "user:7" });
