import type { LibraryProgram } from "./other-libraries.js";
import { type NetworkPath, programOf, runProgram, startRendezvous } from "./program-run.js";
import { ours } from "./statistics.js";
import type { Benchmark, Candidate, Metric } from "./types.js";

/** The benchmarks between two processes, and from one process to many. */

/** A variation of all benchmarks: encrypted, or over a path with a delay. */
export interface Variation {
  readonly prefix: string;
  readonly suffix: string;
  readonly secret?: string;
  readonly path?: NetworkPath;
  /** Other libraries to measure too. */
  readonly libraries?: readonly LibraryProgram[];
}

/** The bytes of a message in benchmarks that do not vary it. */
const smallBytes = 64;
/** The receivers of a broadcast: with the sender, 16 processes. */
const receivers = 15;
const inFlight = 64;
/** From this size on the baseline writes a message without copying it. */
const largeBytes = 65_536;
/** Longer than `silentMs`, after which a link to a silent peer is broken. */
const watchMs = 20_000;

/** One way: messages of so many bytes, as fast as the receiver takes them. `wanted`: the ratio to the bare program, if any. */
export function oneWay(bytes: number, variation: Variation, wanted?: number): Benchmark {
  const isLarge = bytes >= largeBytes;
  const title = `one way, ${bytes.toLocaleString("en-US")} bytes${variation.suffix}`;
  const bare = (variant: string): Candidate =>
    candidate(`raw-${variant}`, "one-way-bare", variation, { bytes, variant });
  const baseline = isLarge ? "raw-whole" : "raw-batched";
  return {
    name: `${variation.prefix}one-way-${bytes < 1_024 ? bytes : `${bytes / 1_024}k`}`,
    title,
    rounds: "few",
    candidates: [
      candidate(ours, "one-way-fullmesh", variation, { bytes }),
      bare("batched"),
      ...(isLarge ? [bare("whole")] : []),
      // Over a path with a delay, one write a message shows nothing new.
      ...(variation.path === undefined ? [bare("naive")] : []),
      ...librariesFor("one-way", { bytes }, variation),
    ],
    metrics: [{ name: "rate", title, unit: "messages/s", better: "more", baseline, ...ratioOf(wanted) }],
  };
}

/** One request at a time: the time to its reply. */
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
    candidates: requestCandidates({ bytes: smallBytes, inFlight: 1 }, variation),
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
    candidates: requestCandidates({ bytes: smallBytes, inFlight }, variation),
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
    candidates: [
      candidate(ours, "broadcast-fullmesh", variation, parameters),
      candidate("raw-batched", "broadcast-bare", variation, parameters),
      ...librariesFor("broadcast", parameters, variation),
    ],
    metrics: [{ name: "rate", title, unit: "deliveries/s", better: "more", baseline: "raw-batched", wanted }],
  };
}

/** A bulk stream alone. */
export function stream(variation: Variation, wanted?: number): Benchmark {
  const title = `bulk stream${variation.suffix}`;
  return {
    name: `${variation.prefix}stream`,
    title,
    rounds: "few",
    candidates: streamCandidates(false, variation),
    metrics: [{ name: "rate", title, unit: "MiB/s", better: "more", baseline: "raw-pipe", ...ratioOf(wanted) }],
  };
}

/** A bulk stream and requests at once, and how they slow each other. `slowdown`: of the requests; `rate`: of the stream. */
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
    candidates: streamCandidates(true, variation),
    metrics: [
      { ...metric("rate", "the stream", "MiB/s"), better: "more", wanted: budget.rate },
      metric("idle", "slowest hundredth of requests before it", "µs"),
      metric("beside", "slowest hundredth of requests beside it", "µs"),
      { ...metric("slowdown", "how much slower these requests are", "times"), bound: budget.slowdown },
    ],
  };
}

/**
 * A member that never takes its messages, and how that slows the others. It has bounds and no baseline. A quick run does not
 * watch the link, so it has no metric for it.
 */
export function slowConsumer(
  bounds: { readonly slowdown: number; readonly growthMib: number },
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
  const run = {
    program: programOf("slow-consumer"),
    startServer: startRendezvous,
    receivers: 4,
    parameters: { bytes: largeBytes, watchMs: isQuick ? 0 : watchMs },
    flags: ["--expose-gc"],
  };
  return {
    name: "slow-consumer",
    title,
    rounds: "few",
    candidates: [{ name: ours, measure: (context) => runProgram(context, run) }],
    metrics: [
      metric("softBytes", "taken for it when `send` returns false", "bytes"),
      metric("hardBytes", "taken for it when `send` throws QUEUE_FULL", "bytes"),
      metric("idle", "slowest hundredth of requests to the others before", "µs"),
      metric("beside", "slowest hundredth of requests to the others while its queue is full", "µs"),
      { ...metric("slowdown", "how much slower these requests are", "times"), bound: bounds.slowdown },
      { ...metric("growth", "memory that the sender has more", "MiB"), bound: bounds.growthMib },
      ...(isQuick ? [] : [linked]),
    ],
  };
}

function requestCandidates(
  parameters: { readonly bytes: number; readonly inFlight: number },
  variation: Variation,
): Candidate[] {
  return [
    candidate(ours, "request-fullmesh", variation, parameters),
    candidate("raw-batched", "request-bare", variation, parameters),
    ...librariesFor("request", parameters, variation),
  ];
}

function streamCandidates(hasRequests: boolean, variation: Variation): Candidate[] {
  return [
    candidate(ours, "stream-fullmesh", variation, { hasRequests }),
    candidate("raw-pipe", "stream-bare", variation, { hasRequests }),
  ];
}

function ratioOf(wanted: number | undefined): Pick<Metric, "wanted"> {
  return wanted === undefined ? {} : { wanted };
}

/** The parameters of a program. */
interface JobParameters {
  /** 1 if it is left out. */
  readonly receivers?: number;
  readonly [parameter: string]: unknown;
}

/** One of our own programs, as fullmesh or as a bare program. */
function candidate(name: string, program: string, { secret, path }: Variation, job: JobParameters): Candidate {
  const run = {
    program: programOf(program),
    ...(name === ours ? { startServer: startRendezvous } : {}),
    receivers: job.receivers ?? 1,
    parameters: secret === undefined ? job : { ...job, secret },
    ...(path === undefined ? {} : { path }),
  };
  return { name, measure: (context) => runProgram(context, run) };
}

/** The other libraries, at one of the jobs `one-way`, `request` and `broadcast`. */
function librariesFor(job: string, parameters: JobParameters, { libraries = [] }: Variation): Candidate[] {
  return libraries.map(({ name, ...library }) => {
    const run = { ...library, receivers: parameters.receivers ?? 1, parameters: { ...parameters, job } };
    return { name, measure: (context) => runProgram(context, run) };
  });
}
