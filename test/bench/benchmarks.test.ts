import { describe, expect, it } from "vitest";
import { benchmarkNames, benchmarksFor } from "../../bench/benchmarks.js";
import { ours } from "../../bench/statistics.js";
import type { Metric } from "../../bench/types.js";

const benchmarks = benchmarksFor({ secret: "", isQuick: false, libraries: [] });

/** The budget of a metric as text; empty if it has none. */
function budgetOf({ better, wanted, bound, kind, baseline, unit }: Metric): string {
  const sign = better === "more" ? ">=" : "<=";
  if (wanted !== undefined) return `${sign} ${wanted} x ${baseline}`;
  if (bound === undefined) return "";
  return kind === "difference" ? `${sign} ${bound} ${unit} more than ${baseline}` : `${sign} ${bound} ${unit}`;
}

describe("the budgets of the project", () => {
  const messages = {
    "one-way-64.started": ">= 0.7 x raw-batched",
    "one-way-64.rate": ">= 0.7 x raw-batched",
    "one-way-1k.started": ">= 0.85 x raw-batched",
    "one-way-1k.rate": ">= 0.85 x raw-batched",
    "one-way-64k.started": ">= 1.2 x raw-whole",
    "one-way-64k.rate": ">= 1.2 x raw-whole",
    "request-latency.startedP50": "<= 1.1 x raw-batched",
    "request-latency.p50": "<= 1.1 x raw-batched",
    "request-latency.p99": "<= 2 x raw-batched",
    "request-rate.started": ">= 0.9 x raw-batched",
    "request-rate.rate": ">= 0.9 x raw-batched",
    "broadcast.started": ">= 0.4 x raw-batched",
    "broadcast.rate": ">= 0.5 x raw-batched",
    "stream.rate": ">= 0.6 x raw-pipe",
  };

  it("are these, with a secret as without, and no others", () => {
    const found = benchmarks.flatMap(({ name, metrics }) =>
      metrics
        .map((metric) => [`${name}.${metric.name}`, budgetOf(metric)] as const)
        .filter(([, budget]) => budget !== ""),
    );
    expect(Object.fromEntries(found)).toEqual({
      ...messages,
      ...Object.fromEntries(Object.entries(messages).map(([name, budget]) => [`secret-${name}`, budget])),
      "local-one-way-64k.started": ">= 1.5 x raw-whole",
      "local-one-way-64k.rate": ">= 1.5 x raw-whole",
      "local-request-latency.startedP50": "<= 0.85 x raw-batched",
      "local-request-latency.p50": "<= 0.85 x raw-batched",
      "local-wire-up-8.launched": "<= 1.15 x raw-barrier",
      "local-wire-up-32.launched": "<= 1.15 x raw-barrier",
      "local-wire-up-64.launched": "<= 1.15 x raw-barrier",
      "beside-stream.rate": ">= 0.6 x raw-pipe",
      "beside-stream.slowdown": "<= 5 times",
      "slow-consumer.slowdown": "<= 2 times",
      "slow-consumer.growth": "<= 48 MiB",
      "slow-consumer.linked": ">= 1 1 or 0",
      "wire-up-8.launched": "<= 1.3 x raw-barrier",
      "wire-up-32.launched": "<= 1.3 x raw-barrier",
      "wire-up-64.launched": "<= 1.4 x raw-barrier",
      "wire-up-64.ready": "<= 1 x raw-barrier",
      "wire-up-64.cpu": "<= 30 ms more than raw-barrier",
      "start-up.start": "<= 15 ms more than raw-connect",
      "one-process.rate": ">= 0.65 x raw-sockets",
      "one-process.bytesPerEnd": "<= 2 x raw-sockets",
    });
  });

  it("leave out of a quick run what it does not wait for", () => {
    const quick = benchmarksFor({ secret: "", isQuick: true, libraries: [] });
    const names = quick.flatMap(({ name, metrics }) => metrics.map((metric) => `${name}.${metric.name}`));
    expect(names).toContain("slow-consumer.growth");
    expect(names).not.toContain("slow-consumer.linked");
  });

  it("compare programs that run", () => {
    for (const { candidates, metrics } of benchmarks) {
      const names = candidates.map(({ name }) => name);
      expect(names).toContain(ours);
      for (const { baseline = ours } of metrics) expect(names).toContain(baseline);
    }
  });
});

describe("the names of the benchmarks", () => {
  it("differ", () => {
    expect(new Set(benchmarkNames).size).toBe(benchmarks.length);
  });
});
