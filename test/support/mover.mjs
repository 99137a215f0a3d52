// A server or a member in a process of its own, for tests: writes what happens to it as lines of JSON. Arguments: the
// package's entry, "serve" or the server's address, and the options as JSON.
const [, , entry, role, options] = process.argv;
const { join, serve } = await import(entry);
const say = (happening) => console.log(JSON.stringify(happening));

if (role === "serve") {
  const server = await serve(JSON.parse(options));
  say({ type: "listening", address: server.address });
} else {
  try {
    const { size, ...rest } = JSON.parse(options);
    const write = ({ code, message }) => say({ type: "note", code, message });
    const node = await join(role, { ...rest, logger: { info: write, warn: write, error: write } });
    node.on("registered", ({ address }) => say({ type: "registered", address }));
    node.on("fenced", ({ reason }) => say({ type: "fenced", reason }));
    say({ type: "registered", address: node.address });
    await node.complete({ size });
    say({ type: "complete", peers: node.peers.map(({ address }) => address) });
    await node.start();
  } catch ({ code, message }) {
    say({ type: "failed", code, message });
  }
}
