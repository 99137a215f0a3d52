import { parseArgs } from "node:util";
import { runOnce, scenarios } from "./failure-scenarios.js";
import { FailureTable } from "./failure-table.js";
import { WatchedMesh } from "./watched-mesh.js";

/** Measures who notices what when something dies, and prints the table of docs/deploy.md. See CONTRIBUTING.md. */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "3" },
    "at-once": { type: "string", default: "4" },
    help: { type: "boolean" },
  },
});
if (values.help === true) {
  const usage = "npm run failures [-- [--rounds 3] [--at-once 4] SCENARIO ...]";
  const all = Object.keys(scenarios).join(", ");
  process.stdout.write(`${usage}\n\nWithout a name all run, each so many times, so many at once: ${all}\n`);
  process.exit(0);
}
const names = positionals.length > 0 ? positionals : Object.keys(scenarios);
for (const name of names) {
  if (Object.hasOwn(scenarios, name)) continue;
  process.stderr.write(`no scenario ${name}; there are ${Object.keys(scenarios).join(", ")}\n`);
  process.exit(2);
}

const table = new FailureTable();
const runs = Array.from({ length: Number(values.rounds) }, () => names).flat();

/** One after the other, as long as there are any. */
async function work(): Promise<void> {
  for (let name = runs.shift(); name !== undefined; name = runs.shift()) {
    const scenario = scenarios[name];
    if (scenario === undefined) return;
    const startedAt = performance.now();
    try {
      await runOnce(scenario, table);
    } catch (error) {
      table.faults.push(`${name}: ${error instanceof Error ? error.message.slice(0, 4_000) : String(error)}`);
    }
    process.stderr.write(`${name}: ${Math.round((performance.now() - startedAt) / 1_000)} s\n`);
  }
}

// Whoever stops it early leaves nothing behind either.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void WatchedMesh.removeAll().then(() => end(1)));
}
await Promise.all(Array.from({ length: Number(values["at-once"]) }, work));
end(table.faults.length > 0 ? 1 : 0);

/** Prints what has been measured so far, and ends. */
function end(exitCode: number): void {
  process.stdout.write(`${table.markdown(names.flatMap((name) => scenarios[name]?.failure ?? []))}\n`);
  for (const fault of table.faults) process.stderr.write(`${fault}\n`);
  process.exit(exitCode);
}
