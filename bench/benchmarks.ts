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
import type { PeerPrograms } from "./other-libraries.js";
import { oneProcess, processes, startUps } from "./process-benchmarks.js";
import type { Benchmark } from "./types.js";

/** What the table is made for. */
export interface Choice {
  /** With it, everything is encrypted. */
  readonly secret: string;
  readonly isQuick: boolean;
  readonly peers: PeerPrograms;
}

/**
 * The budgets of the project: what whoever builds on fullmesh instead of on bare sockets pays at most. They hold with a secret
 * and without. Rates are ratios of which we want at least so much, times and memory are ratios of which we want at most so
 * much; `besideStream` and `slowConsumer` bound fullmesh itself. What is not here is measured, but nothing is wanted of it.
 */
const budgets = {
  oneWay: { small: 0.6, medium: 0.8, large: 0.9 },
  latency: { p50: 1.25, p99: 2 },
  requestRate: 0.7,
  broadcast: 0.7,
  stream: 0.6,
  /** How many times slower than before a stream the slowest hundredth of requests beside it is, and the stream's rate. */
  besideStream: { slowdown: 5, rate: 0.6 },
  slowConsumer: {
    /** How many times slower the slowest hundredth of requests to the others is. */
    slowdown: 2,
    /** Three times what may wait for one peer (`queueHardBytes`), in MiB. */
    growthMib: 48,
  },
} as const;

/** Everything that is measured, in the order in which it is played. Those of gangs have their budgets with them. */
export function benchmarksFor({ secret, isQuick, peers }: Choice): Benchmark[] {
  const plain: Variation = { prefix: "", suffix: "", peers };
  const keyed: Variation = { prefix: "secret-", suffix: ", with a secret", secret };
  const path = { delayMs: 25, seed: 1 };
  const relayed: Variation = { prefix: "relay-", suffix: `, over a path of ${path.delayMs} ms each way`, path };
  return [
    ...[plain, keyed].flatMap((variation) => [
      oneWay(64, variation, budgets.oneWay.small),
      oneWay(1_024, variation, budgets.oneWay.medium),
      oneWay(65_536, variation, budgets.oneWay.large),
      latency(variation, budgets.latency),
      requestRate(variation, budgets.requestRate),
      broadcast(variation, budgets.broadcast),
      stream(variation, budgets.stream),
      streamBesideRequests(variation, budgets.besideStream),
    ]),
    slowConsumer(budgets.slowConsumer, isQuick),
    oneWay(1_024, relayed),
    latency(relayed),
    stream(relayed),
    ...(isQuick ? [4] : [8, 16, 32, 64]).map((size) => processes(size)),
    processes(isQuick ? 3 : 32, secret),
    startUps(),
    oneProcess(isQuick ? 12 : 120),
  ];
}

/** The names of all of them, as they are outside a quick run. */
export const benchmarkNames: readonly string[] = benchmarksFor({ secret: "", isQuick: false, peers: [] }).map(
  ({ name }) => name,
);
