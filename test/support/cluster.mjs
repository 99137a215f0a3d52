// A primary of node:cluster and its workers, for tests. Each worker joins and prints a line of JSON: its address and its
// peers, or the code of the error. Arguments: the package's entry, the server, how many workers, and where
// all of them are to listen, if that is fixed.
import cluster from "node:cluster";

const [, , entry, server, count, listen] = process.argv;

if (cluster.isPrimary) {
  // When this process is killed, its workers end too: the channel to it is gone.
  for (let forked = 0; forked < Number(count); forked += 1) cluster.fork();
} else {
  const { join } = await import(entry);
  try {
    const node = await join(server, listen === undefined ? {} : { listen });
    // With a fixed port only one of them can get in.
    await node.complete({ size: listen === undefined ? Number(count) : 1 });
    console.log(JSON.stringify({ address: node.address, peers: node.peers.map(({ address }) => address) }));
  } catch (error) {
    console.log(JSON.stringify({ code: error.code }));
  }
}
