import { join } from "fullmesh";

const name = process.argv[2];
const cache = new Map([["user:7", "Ada"]]);
const node = await join(process.env.MESH ?? "127.0.0.1:4000", {
  name,
  setup(node) {
    node.onMessage("drop", ({ peer, payload }) => {
      cache.delete(payload.key);
      console.log(`${name} has ${cache.size} entries, because ${peer.name} changed ${payload.key}`);
    });
    // This process was cut off for so long that the others went on without it.
    node.on("fenced", () => cache.clear());
  },
});
process.once("SIGTERM", () => node.leave());

await node.complete({ size: 3 });
if (name === "api-1") node.broadcast("drop", { key: "user:7" });
