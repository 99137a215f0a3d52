// A member in a process of its own, for tests: answers requests of the topic "who" with its rank, at once, and
// requests of the topic "stall" never. Prints its address once the mesh is complete, and then each link that has ended, with its
// reason. Arguments: the package's entry, the server, the size of the mesh, and options of `join` as JSON, if there are any.
const [, , entry, server, size, options = "{}"] = process.argv;
const { join } = await import(entry);

const node = await join(server, JSON.parse(options));
node.onRequest("who", () => node.rank);
node.onRequest("stall", () => new Promise(() => {}));
await node.complete({ size: Number(size) });
console.log(node.address);
node.on("peer:down", ({ peer, reason }) => console.log(`${peer.address} ${reason}`));
