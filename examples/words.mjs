// Counts the words of a text in four processes, each a part of the lines, and checks the sum against a count in one.
// Started by itself it starts the four: fullmesh run -n 4 -- node words.mjs
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "fullmesh";

const lines = readFileSync(new URL("../LICENSE", import.meta.url), "utf8").split("\n");

function count(part) {
  const counts = {};
  for (const [word] of part
    .join("\n")
    .toLowerCase()
    .matchAll(/[a-z]+/g))
    counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

function sum(parts) {
  const counts = {};
  for (const part of parts) for (const [word, n] of Object.entries(part)) counts[word] = (counts[word] ?? 0) + n;
  return counts;
}

function frequent(counts) {
  const words = Object.entries(counts).sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  return words.map(([word, n]) => `${word} ${n}`);
}

if (process.env.FULLMESH_RANK === undefined) {
  const command = fileURLToPath(new URL("../dist/bundle/main.js", import.meta.url));
  const again = [process.execPath, fileURLToPath(import.meta.url)];
  const { status } = spawnSync(process.execPath, [command, "run", "-n", "4", "--", ...again], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} else {
  const node = await join();
  const size = Number(process.env.FULLMESH_SIZE);
  const parts = await node.allGather(count(lines.filter((_, index) => index % size === node.rank)));
  if (node.rank === 0) {
    const words = frequent(sum(parts));
    console.log(words.slice(0, 3).join(", "));
    console.log("the same as in one process:", words.join() === frequent(count(lines)).join());
  }
  // Whoever has its result waits until all have theirs.
  await node.barrier("counted");
  await node.leave();
}

// Prints:
// [0] the 14, or 9, software 9
// [0] the same as in one process: true
