import { siblings } from "fullmesh";

const name = process.argv[2];
const load = async (key) => `${key} as the database has it`;
// Promises: what is dropped while it loads is not kept either. It is empty until this process is a member.
const cache = new Map();
const get = (key) => cache.get(key) ?? cache.set(key, load(key)).get(key);

const node = await siblings("cache", {
  name,
  setup(node) {
    node.onMessage("drop", ({ peer, payload }) => {
      cache.delete(payload.key);
      console.log(`${name} drops ${payload.key}, because ${peer.name} changed it`);
    });
    // Until this link was up, this process may have missed what that peer changed.
    node.on("peer:up", () => cache.clear());
    // The others went on without this process for a while; it joins again by itself.
    node.on("fenced", () => cache.clear());
    // For this demonstration only. A service does not wait for copies that may be down.
    node.on("complete", ({ members }) => {
      if (name === "api-1" && members === 3) node.broadcast("drop", { key: "user:7" });
    });
  },
});
const stop = () => node.leave().then(() => process.exit());
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, stop);

await get("user:7");
