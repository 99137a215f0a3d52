import type { PeerPrograms } from "./other-libraries.js";
import { type Path, type Programs, play, programOf, rendezvous } from "./roles.js";
import { ours } from "./statistics.js";
import type { BenchContext, Benchmark, Contestant, Measured, Metric } from "./types.js";

/** What is measured between two processes, and from one to many. */

/** How the same work is varied: encrypted, or over a path with a delay. */
export interface Variation {
  readonly prefix: string;
  readonly suffix: string;
  readonly secret?: string;
  readonly path?: Path;
  /** Further programs that can do the work. */
  readonly peers?: PeerPrograms;
}

/** The bytes of a message where its size is not what is looked at. */
const smallBytes = 64;
/** Receivers of a broadcast; with the sender, 16 processes. */
const receivers = 15;
const inFlight = 64;
/** A message that is written whole. */
const largeBytes = 65_536;
/** Longer than a link lives whose other end is silent (`silentMs`), with probes every `probeMs`. */
const watchMs = 20_000;

/** One way, so many bytes a message, as fast as the other end takes them. `wanted`: the ratio to the bare program, if any. */
export function oneWay(bytes: number, variation: Variation, wanted?: number): Benchmark {
  const isLarge = bytes >= largeBytes;
  const title = `one way, ${bytes.toLocaleString("en-US")} bytes${variation.suffix}`;
  const bare = (variant: string): Contestant => player(`raw-${variant}`, "one-way-bare", variation, { bytes, variant });
  const baseline = isLarge ? "raw-whole" : "raw-batched";
  return {
    name: `${variation.prefix}one-way-${bytes < 1_024 ? bytes : `${bytes / 1_024}k`}`,
    title,
    rounds: "few",
    contestants: [
      player(ours, "one-way-fullmesh", variation, { bytes }),
      bare("batched"),
      ...(isLarge ? [bare("whole")] : []),
      // Over a long path one write a message says nothing that it has not said over a short one.
      ...(variation.path === undefined ? [bare("naive")] : []),
      ...peersFor("one-way", { bytes }, variation),
    ],
    metrics: [{ name: "rate", title, unit: "messages/s", better: "more", baseline, ...ratioOf(wanted) }],
  };
}

/** One request at a time, and how long it takes. */
export function latency(variation: Variation, wanted?: { readonly p50: number; readonly p99: number }): Benchmark {
  const title = `request and reply, one at a time${variation.suffix}`;
  const metric = (name: "p50" | "p99", shown: string): Metric => ({
    ...{ name, title: `${title}, ${shown}`, unit: "µs", better: "less", baseline: "raw-batched" },
    ...ratioOf(wanted?.[name]),
  });
  return {
    name: `${variation.prefix}request-latency`,
    title,
    rounds: variation.path === undefined ? "many" : "few",
    contestants: asking({ bytes: smallBytes, inFlight: 1 }, variation),
    metrics: [metric("p50", "median"), metric("p99", "slowest hundredth")],
  };
}

/** 64 requests in flight all the time. */
export function requestRate(variation: Variation, wanted: number): Benchmark {
  const title = `requests, ${inFlight} in flight${variation.suffix}`;
  return {
    name: `${variation.prefix}request-rate`,
    title,
    rounds: "few",
    contestants: asking({ bytes: smallBytes, inFlight }, variation),
    metrics: [{ name: "rate", title, unit: "replies/s", better: "more", baseline: "raw-batched", wanted }],
  };
}

/** One sender, 15 receivers. */
export function broadcast(variation: Variation, wanted: number): Benchmark {
  const title = `broadcast of ${smallBytes} bytes to ${receivers} receivers${variation.suffix}`;
  const parameters = { bytes: smallBytes, receivers };
  return {
    name: `${variation.prefix}broadcast`,
    title,
    rounds: "few",
    contestants: [
      player(ours, "broadcast-fullmesh", variation, parameters),
      player("raw-batched", "broadcast-bare", variation, parameters),
      ...peersFor("broadcast", parameters, variation),
    ],
    metrics: [{ name: "rate", title, unit: "deliveries/s", better: "more", baseline: "raw-batched", wanted }],
  };
}

/** A bulk stream by itself. */
export function stream(variation: Variation, wanted?: number): Benchmark {
  const title = `bulk stream${variation.suffix}`;
  return {
    name: `${variation.prefix}stream`,
    title,
    rounds: "few",
    contestants: streaming(false, variation),
    metrics: [{ name: "rate", title, unit: "MiB/s", better: "more", baseline: "raw-pipe", ...ratioOf(wanted) }],
  };
}

/** A bulk stream with requests beside it: what either costs the other. `slowdown`: of the requests; `rate`: the stream's. */
export function streamBesideRequests(
  variation: Variation,
  budget: { readonly slowdown: number; readonly rate: number },
): Benchmark {
  const title = `bulk stream with requests beside it${variation.suffix}`;
  const baseline = "raw-pipe";
  const metric = (name: string, shown: string, unit: string): Metric => ({
    ...{ name, title: `${title}, ${shown}`, unit, better: "less", baseline },
  });
  return {
    name: `${variation.prefix}beside-stream`,
    title,
    rounds: "few",
    contestants: streaming(true, variation),
    metrics: [
      { ...metric("rate", "the stream", "MiB/s"), better: "more", wanted: budget.rate },
      metric("idle", "slowest hundredth of requests before it", "µs"),
      metric("beside", "slowest hundredth of requests beside it", "µs"),
      { ...metric("slowdown", "how much slower these requests are", "times"), bound: budget.slowdown },
    ],
  };
}

/**
 * A member that never takes what it is sent, and what that costs the others: nothing to compare with, but bounds. A quick run
 * does not watch the link, and says nothing of it.
 */
export function slowConsumer(
  most: { readonly slowdown: number; readonly growthMib: number },
  isQuick: boolean,
): Benchmark {
  const title = "a member that takes nothing, among five";
  const metric = (name: string, shown: string, unit: string): Metric => ({
    ...{ name, title: `${title}, ${shown}`, unit, better: "less" },
  });
  const linked: Metric = {
    ...metric("linked", `still linked with it ${watchMs / 1_000} s later, and all the time`, "1 or 0"),
    better: "more",
    bound: 1,
  };
  const measure = (stage: BenchContext): Promise<Measured> =>
    play(stage, {
      program: programOf("slow-consumer"),
      meeting: rendezvous,
      receivers: 4,
      parameters: { bytes: largeBytes, watchMs: isQuick ? 0 : watchMs },
      flags: ["--expose-gc"],
    });
  return {
    name: "slow-consumer",
    title,
    rounds: "few",
    contestants: [{ name: ours, measure }],
    metrics: [
      metric("softBytes", "taken for it when `send` returns false", "bytes"),
      metric("hardBytes", "taken for it when `send` throws QUEUE_FULL", "bytes"),
      metric("idle", "slowest hundredth of requests to the others before", "µs"),
      metric("beside", "slowest hundredth of requests to the others while its queue is full", "µs"),
      { ...metric("slowdown", "how much slower these requests are", "times"), bound: most.slowdown },
      { ...metric("growth", "memory that the sender has more", "MiB"), bound: most.growthMib },
      ...(isQuick ? [] : [linked]),
    ],
  };
}

function asking(parameters: { readonly bytes: number; readonly inFlight: number }, variation: Variation): Contestant[] {
  return [
    player(ours, "request-fullmesh", variation, parameters),
    player("raw-batched", "request-bare", variation, parameters),
    ...peersFor("request", parameters, variation),
  ];
}

function streaming(hasRequests: boolean, variation: Variation): Contestant[] {
  return [
    player(ours, "stream-fullmesh", variation, { hasRequests }),
    player("raw-pipe", "stream-bare", variation, { hasRequests }),
  ];
}

function ratioOf(wanted: number | undefined): Pick<Metric, "wanted"> {
  return wanted === undefined ? {} : { wanted };
}

/** What a program is told, and how many receive; one if nothing is said. */
interface Work {
  readonly receivers?: number;
  readonly [parameter: string]: unknown;
}

/** A contestant that plays one of the programs. */
function player(name: string, program: string, { secret, path }: Variation, work: Work): Contestant {
  const cast: Programs = {
    program: programOf(program),
    ...(name === ours ? { meeting: rendezvous } : {}),
    receivers: work.receivers ?? 1,
    parameters: secret === undefined ? work : { ...work, secret },
    ...(path === undefined ? {} : { path }),
  };
  return { name, measure: (stage) => play(stage, cast) };
}

/** The peers, at this job. */
function peersFor(job: string, work: Work, { peers = [] }: Variation): Contestant[] {
  return peers.map(({ name, program, meeting }) => {
    const parameters = { ...work, job };
    const cast = { program, ...(meeting === undefined ? {} : { meeting }), receivers: work.receivers ?? 1, parameters };
    return { name, measure: (stage) => play(stage, cast) };
  });
}
