import {
  broadcast,
  latency,
  oneWay,
  requestRate,
  slowConsumer,
  stream,
  streamBesideRequests,
  type Variation,
} from "./message-benchmarks.js";
import type { LibraryProgram } from "./other-libraries.js";
import { manyProcesses, oneProcess, start } from "./process-benchmarks.js";
import type { Benchmark } from "./types.js";

/** What the benchmarks depend on. */
export interface BenchmarkOptions {
  /** For the encrypted ones. */
  readonly secret: string;
  readonly isQuick: boolean;
  readonly libraries: readonly LibraryProgram[];
}

/**
 * The budgets: the most that fullmesh may cost over bare sockets, with a secret and without. For rates they are the least
 * ratio, for times and memory the greatest. `besideStream` and `slowConsumer` bound fullmesh itself. `local`: over local
 * sockets, against bare TCP.
 */
const budgets = {
  oneWay: { small: 0.7, medium: 0.85, large: 1.2 },
  latency: { p50: 1.1, p99: 2 },
  requestRate: 0.9,
  broadcast: { started: 0.4, later: 0.5 },
  local: { oneWayLarge: 1.5, latency: { p50: 0.85 } },
  stream: 0.6,
  /** The 99th percentile of requests during a stream, as a multiple of that without one, and the rate of the stream. */
  besideStream: { slowdown: 5, rate: 0.6 },
  slowConsumer: {
    /** The 99th percentile of requests to the others, as a multiple of that before. */
    slowdown: 2,
    /** Three times `queueHardBytes`, in MiB. */
    growthMib: 48,
  },
} as const;

/** All benchmarks, in the order in which they run. */
export function benchmarksFor({ secret, isQuick, libraries }: BenchmarkOptions): Benchmark[] {
  const plain: Variation = { prefix: "", suffix: "", libraries };
  const encrypted: Variation = { prefix: "secret-", suffix: ", with a secret", secret };
  const local: Variation = { prefix: "local-", suffix: ", over local sockets", isLocal: true };
  const path = { delayMs: 25, seed: 1 };
  const relayed: Variation = { prefix: "relay-", suffix: `, over a path of ${path.delayMs} ms each way`, path };
  return [
    ...[plain, encrypted].flatMap((variation) => [
      oneWay(64, variation, budgets.oneWay.small),
      oneWay(1_024, variation, budgets.oneWay.medium),
      oneWay(65_536, variation, budgets.oneWay.large),
      latency(variation, budgets.latency),
      requestRate(variation, budgets.requestRate),
      broadcast(variation, budgets.broadcast, isQuick),
    ]),
    oneWay(65_536, local, budgets.local.oneWayLarge),
    latency(local, budgets.local.latency),
    ...(isQuick ? [4] : [8, 32, 64]).flatMap((size) => [manyProcesses(size), manyProcesses(size, { isLocal: true })]),
    manyProcesses(isQuick ? 3 : 32, { secret }),
    oneProcess(isQuick ? 12 : 120),
    start(),
    stream(plain, budgets.stream),
    streamBesideRequests(plain, budgets.besideStream),
    stream(encrypted, budgets.stream),
    oneWay(1_024, relayed),
    stream(relayed),
    slowConsumer(budgets.slowConsumer, isQuick),
  ];
}

/** The names of all benchmarks outside a quick run. */
export const benchmarkNames: readonly string[] = benchmarksFor({ secret: "", isQuick: false, libraries: [] }).map(
  ({ name }) => name,
);
