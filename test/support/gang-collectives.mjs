// One copy of a gang, for tests of barriers and gatherings. Arguments: the package's entry, and what to do:
//   rounds   100 gatherings under one name, each after a pause of its own, and a barrier after each; says what came out
//   restart  rank 1 fails when it is started for the first time, while the others wait for it; says what they were told, and
//            what came out when it was back
import { closeSync, openSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

const [, , entry, what, marker] = process.argv;
const { join } = await import(entry);
const node = await join();
const said = [];

if (what === "rounds") {
  for (let round = 0; round < 100; round += 1) {
    if ((round * 7 + node.rank) % 5 === 0) await setTimeout((node.rank + round) % 3);
    const values = await node.allGather({ round, rank: node.rank });
    if (values.some((value, rank) => value.round !== round || value.rank !== rank)) said.push({ round, values });
    await node.barrier("step");
  }
} else {
  // The others wait for it before it goes, so that it is lost meanwhile.
  const work = node.rank === 1 ? undefined : node.barrier("work");
  const told = work?.catch(({ code, message }) => said.push({ code, message }));
  const isToFail = node.rank === 1 && isFirst();
  if (node.rank !== 1 || isToFail) await node.barrier("all are there");
  if (isToFail) process.exit(3);
  await told;
  said.push(await node.allGather(node.rank, { name: "again" }));
}
console.log(JSON.stringify(said));
await node.leave();

function isFirst() {
  try {
    closeSync(openSync(marker, "wx"));
    return true;
  } catch {
    return false;
  }
}
