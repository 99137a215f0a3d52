import { programOf } from "./program-run.js";
import { ours } from "./statistics.js";
import type { BenchContext, Benchmark, Metric } from "./types.js";
import { singleProcess, startUp, wireUp } from "./wire-up.js";

/** The benchmarks of many members, and of the start of one. */

/** The budgets of these benchmarks; `benchmarks.ts` has the others, and says how to read them. */
const budgets = {
  /** From launch until complete, by size. */
  wireUp: { 8: 1.3, 32: 1.3, 64: 1.4 } as Readonly<Record<number, number>>,
  localWireUp: { 8: 1.15, 32: 1.15, 64: 1.15 } as Readonly<Record<number, number>>,
  /** With fewer processes these would show the machine more than fullmesh. `cpuMs`: more than the bare program uses. */
  largeWireUp: { size: 64, ready: 1, cpuMs: 30 },
  /** Milliseconds more than the bare program takes. */
  startUpMs: 15,
  oneProcess: { rate: 0.65, bytesPerEnd: 2 },
} as const;

/** `size` processes, from their launch until every pair is linked: over TCP, with a secret, or over local sockets. */
export function manyProcesses(
  size: number,
  { secret, isLocal = false }: { readonly secret?: string; readonly isLocal?: boolean } = {},
): Benchmark {
  const [prefix, suffix] = isLocal
    ? ["local-", ", over local sockets"]
    : secret === undefined
      ? ["", ""]
      : ["secret-", ", with a secret"];
  const title = `wire-up of ${size} processes${suffix}`;
  const baseline = "raw-barrier";
  const common = secret === undefined ? { size } : { size, secret };
  const mesh = { ...common, member: programOf("wire-up-fullmesh"), server: programOf("rendezvous"), isLocal };
  const barrier = { ...common, member: programOf("wire-up-bare"), server: programOf("wire-up-bare"), isLocal: false };
  const wanted = secret === undefined ? (isLocal ? budgets.localWireUp : budgets.wireUp)[size] : undefined;
  const isLarge = prefix === "" && size === budgets.largeWireUp.size;
  const metric = (name: string, shown: string): Metric => ({
    ...{ name, title: `${title}, ${shown}`, unit: "ms", better: "less", baseline },
  });
  return {
    name: `${prefix}wire-up-${size}`,
    title,
    rounds: "few",
    candidates: [
      { name: ours, measure: (context) => wireUp(context, mesh) },
      { name: baseline, measure: (context) => wireUp(context, barrier) },
      ...(isLocal
        ? [{ name: "raw-local", measure: (context: BenchContext) => wireUp(context, { ...barrier, isLocal }) }]
        : []),
    ],
    metrics: [
      { ...metric("launched", "from launch until complete"), ...(wanted === undefined ? {} : { wanted }) },
      {
        ...metric("ready", "from the last one registered until complete"),
        ...(isLarge ? { wanted: budgets.largeWireUp.ready } : {}),
      },
      {
        ...metric("cpu", "CPU time a process"),
        ...(isLarge ? { bound: budgets.largeWireUp.cpuMs, kind: "difference" } : {}),
      },
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
