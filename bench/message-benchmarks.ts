import type { LibraryProgram } from "./other-libraries.js";
import { type NetworkPath, type Parameters, programOf, runProgram, startRendezvous } from "./program-run.js";
import { ours } from "./statistics.js";
import type { Benchmark, Candidate, Metric } from "./types.js";

/** The benchmarks between two processes, and from one process to many. */

/** A variation of all benchmarks: encrypted, over local sockets, or over a path with a delay. */
export interface Variation {
  readonly prefix: string;
  readonly suffix: string;
  readonly secret?: string;
  /** Fullmesh, and a bare program more, run over local sockets. The baseline is the bare one over TCP all the same. */
  readonly isLocal?: boolean;
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

/** When the second stretch of a broadcast begins; all other benchmarks begin it after 1.5 s. */
const broadcastWarmMs = 10_000;
const justStarted = "processes just started";

/** One way: messages of so many bytes, as fast as the receiver takes them. `wanted`: the ratio to the bare program, if any. */
export function oneWay(bytes: number, variation: Variation, wanted?: number): Benchmark {
  const isLarge = bytes >= largeBytes;
  const title = `one way, ${bytes.toLocaleString("en-US")} bytes${variation.suffix}`;
  const run = (variant: string) => ({ program: "one-way-bare", parameters: { bytes, variant } });
  const { best, baseline } = isLarge
    ? { best: run("whole"), baseline: "raw-whole" }
    : { best: run("batched"), baseline: "raw-batched" };
  const isPlain = variation.prefix === "";
  return {
    name: `${variation.prefix}one-way-${bytes < 1_024 ? bytes : `${bytes / 1_024}k`}`,
    title,
    rounds: "few",
    candidates: [
      candidate(ours, variation, { program: "one-way-fullmesh", parameters: { bytes } }),
      ...baselines(baseline, variation, best),
      ...(isPlain && isLarge ? [candidate("raw-batched", variation, run("batched"))] : []),
      // One write a message costs most where messages are small, and shows nothing new in the variations.
      ...(isPlain && bytes === smallBytes ? [candidate("raw-naive", variation, run("naive"))] : []),
      ...librariesFor("one-way", { bytes }, variation),
    ],
    metrics: rates(title, { unit: "messages/s", baseline }, variation, { started: wanted, later: wanted }),
  };
}

/** One request at a time: the time to its reply. */
export function latency(variation: Variation, wanted: { readonly p50: number; readonly p99?: number }): Benchmark {
  const title = `request and reply, one at a time${variation.suffix}`;
  const baseline = "raw-batched";
  const metric = (name: string, shown: string, limit: number | undefined): Metric => ({
    ...{ name, title: `${title}, ${shown}`, unit: "µs", better: "less", baseline },
    ...ratioOf(limit),
  });
  const parameters = { bytes: smallBytes, inFlight: 1 };
  return {
    name: `${variation.prefix}request-latency`,
    title,
    rounds: "many",
    candidates: [...requestCandidates(variation, parameters), ...librariesFor("request", parameters, variation)],
    metrics: [
      metric("startedP50", `median, ${justStarted}`, wanted.p50),
      metric("p50", "median, after 1.5 s", wanted.p50),
      metric("p99", "slowest hundredth, after 1.5 s", wanted.p99),
    ],
  };
}

/** 64 requests in flight all the time. */
export function requestRate(variation: Variation, wanted: number): Benchmark {
  const title = `requests, ${inFlight} in flight${variation.suffix}`;
  const baseline = "raw-batched";
  return {
    name: `${variation.prefix}request-rate`,
    title,
    rounds: "few",
    candidates: requestCandidates(variation, { bytes: smallBytes, inFlight }),
    metrics: rates(title, { unit: "replies/s", baseline }, variation, { started: wanted, later: wanted }),
  };
}

/** One sender, 15 receivers. */
export function broadcast(
  variation: Variation,
  wanted: { readonly started: number; readonly later: number },
  isQuick: boolean,
): Benchmark {
  const title = `broadcast of ${smallBytes} bytes to ${receivers} receivers${variation.suffix}`;
  const baseline = "raw-batched";
  const parameters = { bytes: smallBytes, ...(isQuick ? {} : { warmMs: broadcastWarmMs }) };
  return {
    name: `${variation.prefix}broadcast`,
    title,
    rounds: "few",
    candidates: [
      candidate(ours, variation, { program: "broadcast-fullmesh", parameters, receivers }),
      ...baselines(baseline, variation, { program: "broadcast-bare", parameters, receivers }),
    ],
    metrics: rates(title, { unit: "deliveries/s", baseline }, variation, wanted, "10 s"),
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

function requestCandidates(variation: Variation, parameters: Parameters): Candidate[] {
  return [
    candidate(ours, variation, { program: "request-fullmesh", parameters }),
    ...baselines("raw-batched", variation, { program: "request-bare", parameters }),
  ];
}

function streamCandidates(hasRequests: boolean, variation: Variation): Candidate[] {
  return [
    candidate(ours, variation, { program: "stream-fullmesh", parameters: { hasRequests } }),
    ...baselines("raw-pipe", variation, { program: "stream-bare", parameters: { hasRequests } }),
  ];
}

/** The rates of both stretches; over a path with a delay the first one is not measured. */
function rates(
  title: string,
  of: { readonly unit: string; readonly baseline: string },
  { path }: Variation,
  wanted: { readonly started: number | undefined; readonly later: number | undefined },
  after = path === undefined ? "1.5 s" : "1 s",
): Metric[] {
  const metric = (name: string, shown: string, limit: number | undefined): Metric => ({
    ...{ name, title: `${title}, ${shown}`, better: "more", ...of },
    ...ratioOf(limit),
  });
  return [
    ...(path === undefined ? [metric("started", justStarted, wanted.started)] : []),
    metric("rate", `after ${after}`, wanted.later),
  ];
}

function ratioOf(wanted: number | undefined): Pick<Metric, "wanted"> {
  return wanted === undefined ? {} : { wanted };
}

/** One of our own programs, and what it is to do. */
interface Job {
  readonly program: string;
  readonly parameters: Parameters;
  /** 1 if it is left out. */
  readonly receivers?: number;
}

function candidate(name: string, { secret, path, isLocal = false }: Variation, job: Job): Candidate {
  const run = {
    program: programOf(job.program),
    ...(name === ours ? { startServer: startRendezvous } : {}),
    receivers: job.receivers ?? 1,
    parameters: secret === undefined ? job.parameters : { ...job.parameters, secret },
    ...(path === undefined ? {} : { path }),
    isLocal,
  };
  return { name, measure: (context) => runProgram(context, run) };
}

/** A bare program, and where fullmesh runs over local sockets, the same over these too. */
function baselines(name: string, variation: Variation, job: Job): Candidate[] {
  const { isLocal, ...overTcp } = variation;
  const baseline = candidate(name, overTcp, job);
  return isLocal ? [baseline, candidate("raw-local", variation, job)] : [baseline];
}

/** The other libraries, at one of the jobs `one-way` and `request`. */
function librariesFor(job: string, parameters: Parameters, { libraries = [] }: Variation): Candidate[] {
  return libraries.map(({ name, ...library }) => {
    const run = { ...library, receivers: 1, parameters: { ...parameters, job } };
    return { name, measure: (context) => runProgram(context, run) };
  });
}
