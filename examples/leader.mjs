// The oldest member leads. A hint and no lock: for what must not be done twice, hand `order` to the resource.
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const nodes = [await join(server.address), await join(server.address), await join(server.address)];
  await Promise.all(nodes.map((node) => node.complete({ size: 3 })));
  const [first, second, third] = nodes;
  const isLed = nodes.every(({ leader }) => leader.id === first.id);
  console.log(`all agree: ${isLed}; ranks ${nodes.map(({ rank }) => rank).join(", ")}`);
  console.log(`orders grow: ${first.order < second.order && second.order < third.order}`);

  const moved = new Promise((resolve) => third.once("rank", resolve));
  const changed = new Promise((resolve) => third.once("leader", resolve));
  await first.leave();
  console.log(`the third one has rank ${(await moved).rank} now`);
  console.log(`the second one leads: ${(await changed).leader.id === second.id}`);
} finally {
  await server.teardown();
}

// Prints:
// all agree: true; ranks 0, 1, 2
// orders grow: true
// the third one has rank 1 now
// the second one leads: true
