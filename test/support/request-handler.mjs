// A member in a process of its own, for tests: answers requests of the topic "who" with its rank, at once, and
// requests of the topic "stall" never. Prints its address once the mesh is complete. Arguments: the package's entry, the server, the size of the mesh.
const [, , entry, server, size] = process.argv;
const { join } = await import(entry);

const node = await join(server);
node.onRequest("who", () => node.rank);
node.onRequest("stall", () => new Promise(() => {}));
await node.complete({ size: Number(size) });
console.log(node.address);
