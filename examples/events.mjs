// Everything that happens to a node, one thing after the other, in one loop.
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
const node = await join(server.address);
const loop = (async () => {
  for await (const event of node.events()) {
    if (event.type === "peer:up") console.log(`${event.peer.name} is here`);
    else if (event.type === "peer:down") console.log(`somebody has gone: ${event.reason}`);
    else if (event.type === "ended") console.log(`the end: ${event.reason}`);
  }
  console.log("nothing more happens");
})();

const other = await join(server.address, { name: "Bob" });
await other.complete({ size: 2 });
console.log(`links: ${JSON.stringify(node.stats().links)}`);
console.log(node.metrics().match(/^fullmesh_node_links.*up.*$/m)[0]);
const isDown = new Promise((resolve) => node.once("peer:down", resolve));
await other.leave();
await isDown;
await server.teardown();
await loop;
console.log(`closed: ${await node.closed}`);

// Prints:
// Bob is here
// links: {"waiting":0,"up":1,"broken":0}
// fullmesh_node_links{mesh="default",state="up"} 1
// somebody has gone: left
// the end: teardown
// nothing more happens
// closed: teardown
