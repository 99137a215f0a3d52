// One copy of a gang, for tests: joins as the environment says, waits for all others, and says in a line of JSON which rank it
// has, and in which place each rank is listed. Arguments: the package's entry, and what it does besides:
//   late     it comes the later the lower its rank is
//   failing  rank 1 fails when it is started for the first time, once all are there, and the others wait for it to come back
import { closeSync, openSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

const [, , entry, what, marker] = process.argv;
const { join } = await import(entry);
const size = Number(process.env.FULLMESH_SIZE);

if (what === "late") await setTimeout(150 * (size - Number(process.env.FULLMESH_RANK)));
const isBack = Promise.withResolvers === undefined ? deferred() : Promise.withResolvers();
const node = await join({
  name: `copy-${process.env.FULLMESH_RANK}`,
  setup: (setUp) => {
    setUp.once("peer:down", () => setUp.once("peer:up", isBack.resolve));
  },
});
await node.complete({ size });
if (what === "failing") {
  if (node.rank !== 1) {
    await isBack.promise;
  } else if (isFirst()) {
    process.exit(3);
  }
  await node.complete({ size });
}
const places = node.members.map(({ meta }) => meta.rank);
console.log(JSON.stringify({ rank: node.rank, places, name: node.members[places.indexOf(node.rank)].name }));
// Whoever has seen all may go; the others have seen it as well then.
await node.requestAll("seen", undefined, { timeoutMs: 5_000 });
await node.leave();

function isFirst() {
  try {
    closeSync(openSync(marker, "wx"));
    return true;
  } catch {
    return false;
  }
}

function deferred() {
  const both = {};
  both.promise = new Promise((resolve) => {
    both.resolve = resolve;
  });
  return both;
}
