// A server or a member in a process of its own, for tests: prints its events as lines of JSON. Arguments: the
// package's entry, "serve" or the server's address, and the options as JSON.
const [, , entry, role, options] = process.argv;
const { join, serve } = await import(entry);
const print = (event) => console.log(JSON.stringify(event));

if (role === "serve") {
  const server = await serve(JSON.parse(options));
  for (const type of ["lost", "degraded", "complete"]) server.on(type, (event) => print({ ...event, type }));
  print({ type: "listening", address: server.address });
} else {
  try {
    const { size, ...rest } = JSON.parse(options);
    const write = ({ code, message }) => print({ type: "note", code, message });
    const node = await join(role, { ...rest, logger: { info: write, warn: write, error: write } });
    node.on("registered", ({ address }) => print({ type: "registered", address }));
    node.on("fenced", ({ reason }) => print({ type: "fenced", reason }));
    print({ type: "registered", address: node.address });
    await node.complete({ size });
    print({ type: "complete", peers: node.peers.map(({ address }) => address) });
    await node.start();
  } catch ({ code, message }) {
    print({ type: "failed", code, message });
  }
}
