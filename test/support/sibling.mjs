// A sibling in a process of its own: prints what happens to it as lines of JSON. Arguments: the package's entry, the name, the
// options as JSON, and what else it does: `cluster` forks four workers that do the same, `user` becomes the user nobody first,
// `signals` leaves at SIGINT and SIGTERM. A line on stdin is a command: `complete SIZE` or `leave`.
import cluster from "node:cluster";
import { createInterface } from "node:readline";

const [, , entry, application, options, ...extras] = process.argv;
const say = (type, fields = {}) => process.stdout.write(`${JSON.stringify({ type, pid: process.pid, ...fields })}\n`);

if (extras.includes("cluster") && cluster.isPrimary) {
  // When this process is killed, its workers end too: the channel to it is gone.
  for (let forked = 0; forked < 4; forked += 1) cluster.fork();
} else {
  const { siblings } = await import(entry);
  if (extras.includes("user")) {
    process.setgid(65_534);
    process.setuid(65_534);
  }
  const calledAt = performance.now();
  const node = await siblings(application, {
    logger: false,
    ...JSON.parse(options),
    setup(self) {
      for (const type of ["peer:up", "peer:down", "server:lost", "server:back", "fenced"]) {
        self.on(type, ({ peer, reason }) => say(type, { peer: peer?.address, reason }));
      }
    },
  }).catch(({ code, message }) => {
    say("failed", { code, message });
    process.exit(1);
  });
  say("joined", { address: node.address, name: node.members.find(({ id }) => id === node.id)?.name });
  const complete = async (size) => {
    await node.complete({ size });
    say("complete", { members: node.members.length, ms: Math.round(performance.now() - calledAt) });
  };
  const leave = async () => {
    await node.leave();
    say("left");
  };
  if (extras.includes("signals")) for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, leave);
  if (extras.includes("cluster")) await complete(4);
  // It ends by itself when it has left and nothing more can come on stdin.
  createInterface({ input: process.stdin }).on("line", async (line) => {
    const [command, size] = line.split(" ");
    if (command === "complete") await complete(Number(size));
    else await leave();
  });
}
