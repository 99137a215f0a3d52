import { programOf } from "./roles.js";
import { ours } from "./statistics.js";
import type { Benchmark, Metric } from "./types.js";
import { house, startUp, wireUp } from "./wire-up.js";

/** What is measured of many members, and of the start of one. */

/** The budgets of the project for these; `benchmarks.ts` has the others, and says how to read them. */
const budgets = {
  /** For so many processes. Fewer take so little time that a ratio would say more about the machine than about us. */
  wireUp: { size: 64, launched: 1.3, ready: 1 },
  /** Milliseconds more than the bare program takes. */
  startUpMs: 15,
  oneProcess: { rate: 0.75, bytesPerEnd: 2 },
} as const;

/** So many processes, from their launch until every pair is linked. */
export function processes(size: number, secret?: string): Benchmark {
  const title = `wire-up of ${size} processes${secret === undefined ? "" : ", with a secret"}`;
  const baseline = "raw-barrier";
  const keyed = secret === undefined ? {} : { secret };
  const mesh = { member: programOf("wire-up-fullmesh"), meeting: programOf("rendezvous"), size, ...keyed };
  const barrier = { member: programOf("wire-up-bare"), meeting: programOf("wire-up-bare"), size, ...keyed };
  const isBudgeted = size === budgets.wireUp.size && secret === undefined;
  const metric = (name: "launched" | "ready", shown: string): Metric => ({
    ...{ name, title: `${title}, ${shown}`, unit: "ms", better: "less", baseline },
    ...(isBudgeted ? { wanted: budgets.wireUp[name] } : {}),
  });
  return {
    name: `${secret === undefined ? "" : "secret-"}wire-up-${size}`,
    title,
    rounds: "few",
    contestants: [
      { name: ours, measure: (stage) => wireUp(stage, mesh) },
      { name: baseline, measure: (stage) => wireUp(stage, barrier) },
    ],
    metrics: [
      metric("launched", "from launch until complete"),
      metric("ready", "from the last one registered until complete"),
    ],
  };
}

/** What a program pays for importing the package and joining, instead of connecting a bare socket. */
export function startUps(): Benchmark {
  const title = "import and join, from the start of the process";
  const baseline = "raw-connect";
  return {
    name: "start-up",
    title,
    rounds: "many",
    contestants: [
      { name: ours, measure: (stage) => startUp(stage, programOf("start-fullmesh")) },
      { name: baseline, measure: (stage) => startUp(stage, programOf("start-bare")) },
    ],
    metrics: [
      { name: "start", title, unit: "ms", better: "less", baseline, bound: budgets.startUpMs, kind: "difference" },
    ],
  };
}

/**
 * Many members in one process: how fast they are linked, and what a link costs that nobody uses. The rate counts until every
 * link is up at both ends; until the server has said so it takes longer, which only a mesh has (`complete`).
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
    contestants: [
      { name: ours, measure: (stage) => house(stage, programOf("house-fullmesh"), true) },
      { name: baseline, measure: (stage) => house(stage, programOf("house-bare"), false) },
    ],
    metrics: [
      { ...metric("rate", "making links", "links/s"), better: "more", wanted: budgets.oneProcess.rate },
      { name: "complete", title: `${title}, until the server says that all are linked`, unit: "ms", better: "less" },
      { ...metric("bytesPerEnd", "memory of an idle end of a link", "bytes"), wanted: budgets.oneProcess.bytesPerEnd },
      metric("idle", "CPU while idle", "ms/s a member"),
    ],
  };
}
