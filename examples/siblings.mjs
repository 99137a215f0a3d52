// Four processes that find one another: each calls `siblings` with the same name, and nothing is started. One of them is
// killed; were it the one that serves the others, another one would serve from then on.
import cluster from "node:cluster";
import { siblings } from "fullmesh";

if (cluster.isPrimary) {
  const workers = [1, 2, 3, 4].map(() => cluster.fork());
  const heard = (text, times) =>
    new Promise((resolve) => {
      const texts = [];
      cluster.on("message", (_, message) => {
        if (message === text && texts.push(message) === times) resolve();
      });
    });
  await heard("linked", 4);
  console.log("4 processes are linked");
  const threeAreLeft = heard("2 peers are left", 3);
  workers[0].process.kill("SIGKILL");
  await threeAreLeft;
  console.log("3 are left");
  for (const worker of workers) worker.kill();
} else {
  const node = await siblings(`example-${process.ppid}`, { logger: false });
  node.on("peer:down", () => process.send(`${node.peers.length} peers are left`));
  await node.complete({ size: 4 });
  process.send("linked");
}

// Prints:
// 4 processes are linked
// 3 are left
