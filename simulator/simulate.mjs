// Plays many seeds of the simulator on all cores and says what it found: npm run simulate -- --seeds 100000 [--from 1]
// For so long instead of so many: npm run simulate -- --minutes 30
// One seed with its whole history: npm run simulate -- --seed 17 --kind native
// Violations come on stderr as they are found. At the end it says how many plays of each kind came across which situation; after 10,000 plays of a kind or more it fails if
// they have missed one that they must come across (labels.ts).
// Who plays is said by --kind: classic, native, mixed, claims, restarts, oneway or released; any, which is the default, plays each seed with all of them.
// With --kind shared, which is not among these, several servers share their logs through a store; --kind logs plays those logs alone.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { fewestHits, wantedLabels } from "../dist/simulator/labels.js";
import { runLogs } from "../dist/simulator/logs/simulation.js";
import { run } from "../dist/simulator/run.js";
import { runShared } from "../dist/simulator/shared/simulation.js";

/** Seeds that a worker plays before it reports. */
const portion = 250;

/** Fewer plays than these may miss what is rare. */
const fewPlays = 10_000;

const everyKind = ["classic", "native", "mixed", "claims", "restarts", "oneway", "released"];

/** Plays a seed. */
function play(seed, kind, keepsTrace = false) {
  if (kind === "logs") return runLogs(seed);
  return kind === "shared" ? runShared(seed, { keepsTrace }) : run(seed, { kind, keepsTrace });
}

function playPortion({ from, count, kinds }) {
  const labels = Object.fromEntries(kinds.map((kind) => [kind, {}]));
  const broken = [];
  let steps = 0;
  for (let seed = from; seed < from + count; seed += 1) {
    for (const kind of kinds) {
      const outcome = play(seed, kind);
      steps += outcome.steps;
      for (const label of outcome.labels.keys()) labels[kind][label] = (labels[kind][label] ?? 0) + 1;
      if (outcome.violations.length > 0) broken.push({ seed, kind, violation: outcome.violations[0] });
    }
  }
  return { labels, broken, steps, count };
}

function showOne(seed, kind) {
  const { history, violations } = play(seed, kind, true);
  process.stdout.write(`${history.join("\n")}\n`);
  process.stdout.write(`seed ${seed}, ${kind}: ${violations.length} violations\n`);
  for (const violation of violations) process.stdout.write(`${JSON.stringify(violation)}\n`);
  if (violations.length > 0) process.exitCode = 1;
}

async function playAll(from, seeds, kinds, minutes) {
  const startedAt = performance.now();
  const total = { steps: 0, seeds: 0, labels: Object.fromEntries(kinds.map((kind) => [kind, {}])), broken: [] };
  let next = from;
  const portionOrNone = () => {
    const isOver = (performance.now() - startedAt) / 60_000 >= minutes;
    if (isOver || next >= from + seeds) return undefined;
    const order = { from: next, count: Math.min(portion, from + seeds - next), kinds };
    next += order.count;
    return order;
  };
  const workers = Array.from({ length: availableParallelism() }, () => new Worker(new URL(import.meta.url)));
  await Promise.all(
    workers.map(
      (worker) =>
        new Promise((resolve, reject) => {
          const give = () => {
            const order = portionOrNone();
            if (order === undefined) resolve(worker.terminate());
            else worker.postMessage(order);
          };
          worker.on("error", reject);
          worker.on("message", ({ labels, broken, steps, count }) => {
            total.steps += steps;
            total.seeds += count;
            for (const kind of kinds) addTo(total.labels[kind], labels[kind]);
            total.broken.push(...broken);
            for (const each of broken) process.stderr.write(`${lineOf(each)}\n`);
            give();
          });
          give();
        }),
    ),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  for (const each of total.broken.slice(0, 20)) process.stdout.write(`${lineOf(each)}\n`);
  for (const kind of kinds) {
    for (const [label, hits] of Object.entries(total.labels[kind]).sort((a, b) => a[1] - b[1])) {
      process.stdout.write(`${String(hits).padStart(8)} ${kind} plays with ${label}\n`);
    }
  }
  const missed = kinds.flatMap((kind) => missedBy(kind, total.labels[kind], total.seeds));
  for (const line of missed) process.stdout.write(`${line}\n`);
  const plays = total.seeds * kinds.length;
  process.stdout.write(
    `${plays} plays, ${total.broken.length} with a violation, ${total.steps} steps; ` +
      `${Math.round(plays / seconds)} plays/s, ${Math.round(total.steps / seconds)} steps/s on ${workers.length} cores\n`,
  );
  process.exitCode = total.broken.length + missed.length === 0 ? 0 : 1;
}

function lineOf({ seed, kind, violation }) {
  return `SEED=${seed} KIND=${kind}: ${JSON.stringify(violation)}`;
}

function addTo(totals, labels) {
  for (const [label, hits] of Object.entries(labels)) totals[label] = (totals[label] ?? 0) + hits;
}

/** What plays of a kind should have come across more often; nothing as long as they are few. */
function missedBy(kind, labels, plays) {
  const fewest = (fewestHits * plays) / fewPlays;
  if (plays < fewPlays) return [];
  return wantedLabels[kind]
    .filter((label) => (labels[label] ?? 0) < fewest)
    .map(
      (label) => `Too few: ${labels[label] ?? 0} of ${plays} ${kind} plays with ${label}; expected ${fewest} or more`,
    );
}

if (isMainThread) {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string" },
      minutes: { type: "string" },
      from: { type: "string", default: "1" },
      seed: { type: "string" },
      kind: { type: "string", default: "any" },
    },
  });
  const known = [...everyKind, "shared", "logs"];
  const kinds = values.kind === "any" ? everyKind : known.filter((kind) => kind === values.kind);
  if (kinds.length === 0) throw new Error(`Expected --kind to be any, ${known.join(", ")}, got ${values.kind}`);
  const seeds = Number(values.seeds ?? (values.minutes === undefined ? 100_000 : Number.POSITIVE_INFINITY));
  const minutes = Number(values.minutes ?? Number.POSITIVE_INFINITY);
  if (values.seed === undefined) await playAll(Number(values.from), seeds, kinds, minutes);
  else for (const kind of kinds) showOne(Number(values.seed), kind);
} else {
  parentPort.on("message", (order) => parentPort.postMessage(playPortion(order)));
}
