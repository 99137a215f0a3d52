import { programOf } from "./program-run.js";
import { ours } from "./statistics.js";
import type { Benchmark, Metric } from "./types.js";
import { singleProcess, startUp, wireUp } from "./wire-up.js";

/** The benchmarks of many members, and of the start of one. */

/** The budgets of these benchmarks; `benchmarks.ts` has the others, and says how to read them. */
const budgets = {
  /** With fewer processes a wire-up takes so little time that a ratio would show the machine more than fullmesh. */
  wireUp: { size: 64, launched: 1.3, ready: 1 },
  /** Milliseconds more than the bare program takes. */
  startUpMs: 15,
  oneProcess: { rate: 0.75, bytesPerEnd: 2 },
} as const;

/** `size` processes, from their launch until every pair is linked. */
export function manyProcesses(size: number, secret?: string): Benchmark {
  const title = `wire-up of ${size} processes${secret === undefined ? "" : ", with a secret"}`;
  const baseline = "raw-barrier";
  const encrypted = secret === undefined ? {} : { secret };
  const mesh = { member: programOf("wire-up-fullmesh"), server: programOf("rendezvous"), size, ...encrypted };
  const barrier = { member: programOf("wire-up-bare"), server: programOf("wire-up-bare"), size, ...encrypted };
  const isBudgeted = size === budgets.wireUp.size && secret === undefined;
  const metric = (name: "launched" | "ready", shown: string): Metric => ({
    ...{ name, title: `${title}, ${shown}`, unit: "ms", better: "less", baseline },
    ...(isBudgeted ? { wanted: budgets.wireUp[name] } : {}),
  });
  return {
    name: `${secret === undefined ? "" : "secret-"}wire-up-${size}`,
    title,
    rounds: "few",
    candidates: [
      { name: ours, measure: (context) => wireUp(context, mesh) },
      { name: baseline, measure: (context) => wireUp(context, barrier) },
    ],
    metrics: [
      metric("launched", "from launch until complete"),
      metric("ready", "from the last one registered until complete"),
    ],
  };
}

/** The time to import the package and join, against that to connect a bare socket. */
export function start(): Benchmark {
  const title = "import and join, from the start of the process";
  const baseline = "raw-connect";
  return {
    name: "start-up",
    title,
    rounds: "many",
    candidates: [
      { name: ours, measure: (context) => startUp(context, programOf("start-fullmesh")) },
      { name: baseline, measure: (context) => startUp(context, programOf("start-bare")) },
    ],
    metrics: [
      { name: "start", title, unit: "ms", better: "less", baseline, bound: budgets.startUpMs, kind: "difference" },
    ],
  };
}

/**
 * Many members in one process: links a second, and the cost of an idle link. `rate` counts until every link is up at both
 * ends, and `complete` until the server has said so, which only a mesh has.
 */
export function oneProcess(members: number): Benchmark {
  const title = `${members} members in one process`;
  const baseline = "raw-sockets";
  const metric = (name: string, shown: string, unit: string): Metric => ({
    ...{ name, title: `${title}, ${shown}`, unit, better: "less", baseline },
  });
  return {
    name: "one-process",
    title,
    rounds: "few",
    candidates: [
      { name: ours, measure: (context) => singleProcess(context, programOf("single-process-fullmesh"), true) },
      { name: baseline, measure: (context) => singleProcess(context, programOf("single-process-bare"), false) },
    ],
    metrics: [
      { ...metric("rate", "making links", "links/s"), better: "more", wanted: budgets.oneProcess.rate },
      { name: "complete", title: `${title}, until the server says that all are linked`, unit: "ms", better: "less" },
      { ...metric("bytesPerEnd", "memory of an idle end of a link", "bytes"), wanted: budgets.oneProcess.bytesPerEnd },
      metric("idle", "CPU while idle", "ms/s a member"),
    ],
  };
}
