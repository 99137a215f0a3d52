import { parseArgs } from "node:util";
import { StartedProcess } from "../test/support/processes.js";
import { Figures } from "./figures.js";
import { longScenarios, scenarios } from "./scenarios.js";

const { positionals, values } = parseArgs({ allowPositionals: true, options: { help: { type: "boolean" } } });
if (values.help === true) {
  const names = Object.keys(scenarios).join(", ");
  const longNames = Object.keys(longScenarios).join(", ");
  process.stdout.write(
    `npm run proof [-- SCENARIO ...]\n\nWithout a name these run, one after the other: ${names}\nOnly by name, an hour each: ${longNames}\n`,
  );
  process.exit(0);
}
const known = { ...scenarios, ...longScenarios };
const unknown = positionals.filter((name) => !Object.hasOwn(known, name));
if (unknown.length > 0) {
  process.stderr.write(`no scenario ${unknown.join(", ")}; there are ${Object.keys(known).join(", ")}\n`);
  process.exit(2);
}

// Whoever stops it early leaves nothing behind either.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    StartedProcess.killAll();
    process.exit(1);
  });
}

process.stdout.write("| scenario | figure | times | median | highest | allowed |\n|---|---|--:|--:|--:|--:|\n");
for (const [name, run] of Object.entries(positionals.length === 0 ? scenarios : known)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const figures = new Figures();
  const startedAt = performance.now();
  const failure = await run(figures).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  if (failure !== undefined) figures.faults.push(failure.slice(0, 4_000));
  for (const row of figures.rows()) process.stdout.write(`| ${[name, ...row].join(" | ")} |\n`);
  const faults = [...figures.faults, ...figures.late];
  const isKept = faults.length === 0;
  const seconds = Math.round((performance.now() - startedAt) / 1_000);
  process.stdout.write(`| ${name} | **${isKept ? "holds" : "is broken"}**, ${seconds} s | | | | |\n`);
  for (const fault of faults.slice(0, 20)) process.stderr.write(`${name}: ${fault}\n`);
  if (!isKept) process.exitCode = 1;
}
