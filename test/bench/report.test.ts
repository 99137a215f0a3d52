import { describe, expect, it } from "vitest";
import { amount, reportOf, sentenceOf, wireUpPlot } from "../../bench/report.js";
import { figuresOf } from "../../bench/statistics.js";
import type { BenchmarkResult } from "../../bench/types.js";
import { metric, metricAlone, resultOf } from "./results.js";

const machine = {
  cpu: "a processor",
  cores: 2,
  memoryGiB: 24,
  system: "Linux 6",
  versions: { "Node.js": "20.20.2", fullmesh: "0.1.0" },
};

function report(of: readonly BenchmarkResult[], notes: readonly string[] = []): string {
  return reportOf({ machine, date: "2026-01-02", results: of, notes });
}

const values = { fullmesh: [1_000_000, 1_200_000], "raw-batched": [4_000_000, 4_000_000] };

describe("the report", () => {
  it("names the machine, the versions, the loopback interface, and the command that makes it", () => {
    const text = report([], ["NATS is left out"]);
    for (const part of [
      "a processor, 2 cores, 24 GiB, Linux 6",
      "- machine: a processor",
      "- versions: Node.js 20.20.2, fullmesh 0.1.0",
      "- date: 2026-01-02",
      "**loopback**",
      "`npm run bench -- --write --other-libraries`",
      "- NATS is left out",
    ]) {
      expect(text).toContain(part);
    }
  });

  it("says what a figure means before any table, and how many rounds there were", () => {
    const [one, more] = [resultOf([metric()], { fullmesh: [1] }), resultOf([metric()], values)];
    const text = report([one, more]);
    expect(text.indexOf("## What a figure means")).toBeLessThan(text.indexOf("|---|"));
    expect(text).toContain("- rounds: 1 to 2 of each benchmark;");
    expect(report([more])).toContain("- rounds: 2 of each benchmark;");
  });

  it("describes the baselines", () => {
    const text = report([]).replace(/\s+/g, " ");
    for (const part of [
      "two buffers of 64 KiB and 4 bytes, allocated once",
      "One `write` a turn of the event loop",
      "one `subarray` and one callback a message",
      "one buffer for all receivers",
    ]) {
      expect(text).toContain(part);
    }
  });

  it("shows each budget of a ratio as met or not met", () => {
    const [close, far] = [metric({ wanted: 0.25 }), metric({ wanted: 0.5 })];
    const text = report([resultOf([close], values), resultOf([far], values)]);
    expect(text).toContain("| one way, 64 bytes | x raw-batched | >= 0.25 | 0.275 [0.25 to 0.3] | met |");
    expect(text).toContain("| one way, 64 bytes | x raw-batched | >= 0.5 | 0.275 [0.25 to 0.3] | **not met** |");
  });

  it("shows bounds on fullmesh itself, and on its difference from the baseline", () => {
    const [itself, more] = [
      metricAlone({ title: "slower", unit: "times", better: "less", bound: 2 }),
      metric({ title: "start", unit: "ms", better: "less", bound: 15, kind: "difference" }),
    ];
    const text = report([
      resultOf([itself], { fullmesh: [1, 3, 2] }),
      resultOf([more], { fullmesh: [56], "raw-batched": [40] }),
      resultOf([more], { fullmesh: [56], "raw-batched": [undefined] }),
    ]);
    expect(text).toContain("| slower | times | <= 2 | 2 [1 to 3] | met |");
    expect(text).toContain("| start | ms more than raw-batched | <= 15 | 16 [16 to 16] | **not met** |");
    expect(text).toContain("| start | ms more than raw-batched | <= 15 | not measured | **not known** |");
  });

  it("lists no metric without a budget among the budgets", () => {
    const text = report([resultOf([metric()], values)]);
    const budgets = text.slice(text.indexOf("## Budgets"), text.indexOf("## How strong"));
    expect(budgets).not.toContain("one way");
  });

  it("has no columns for ratios without a baseline", () => {
    const rows = report([resultOf([metricAlone()], { fullmesh: [1] })]).split("\n");
    expect(rows).toContain("| figure | unit | program | value |");
    expect(rows).toContain("|---|---|---|---|");
    expect(rows).toContain("| one way, 64 bytes | messages/s | fullmesh | 1 [1 to 1] |");
  });

  it("leaves the ratios empty of a metric without a baseline beside one with a baseline", () => {
    const metrics = [metricAlone({ title: "alone" }), metric()];
    const rows = report([resultOf(metrics, { fullmesh: [1], "raw-batched": [2] })]).split("\n");
    expect(rows).toContain("| figure | unit | program | value | x raw-batched | less raw-batched |");
    expect(rows).toContain("| alone | messages/s | fullmesh | 1 [1 to 1] |  |  |");
  });

  it("has a row for each program, and ratios for all but the baseline", () => {
    const rows = report([resultOf([metric()], { ...values, ws: [100_000] })]).split("\n");
    expect(rows).toContain(
      "| one way, 64 bytes | messages/s | raw-batched | 4,000,000 [4,000,000 to 4,000,000] |  |  |",
    );
    expect(rows).toContain(
      "| one way, 64 bytes | messages/s | ws | 100,000 [100,000 to 100,000] | 0.025 [0.025 to 0.025] | -3,900,000 [-3,900,000 to -3,900,000] |",
    );
  });

  it("lists rounds in which other processes used much of the CPU, and failed runs", () => {
    const noisy = { ...resultOf([metric()], values, { othersShare: 0.31 }), repeated: 5, failures: ["ws: gone\n"] };
    const text = report([noisy]);
    expect(text).toContain("in 2 of 2 rounds other processes used up to 31 % of the CPU, after 5 rounds were repeated");
    expect(text).toContain("a run failed, ws: gone");
    expect(report([resultOf([metric()], values, { othersShare: 0.15 })])).not.toContain("other processes used");
  });

  it("has a one-line form for each figure", () => {
    const [figure] = figuresOf(resultOf([metric({ wanted: 0.5 })], values));
    expect(figure && sentenceOf(figure)).toBe(
      "one-way-64, messages/s: fullmesh 1,100,000 (x 0.275), raw-batched 4,000,000 - wanted >= 0.5: not met",
    );
  });

  it.each([
    [metricAlone({ unit: "times", better: "less", bound: 5 }), "times: fullmesh 4, raw-batched 1 - wanted <= 5: met"],
    [
      metric({ unit: "ms", better: "less", bound: 2, kind: "difference" }),
      "ms: fullmesh 4 (x 4), raw-batched 1 - wanted <= 2 more than raw-batched, is 3: not met",
    ],
    [metricAlone({ unit: "ms" }), "ms: fullmesh 4, raw-batched 1"],
  ])("shows the budget beside the values: case %#", (of, sentence) => {
    const [figure] = figuresOf(resultOf([of], { fullmesh: [4], "raw-batched": [1] }));
    expect(figure && sentenceOf(figure)).toBe(`one-way-64, ${sentence}`);
  });
});

describe("an amount", () => {
  it.each([
    [0, "0"],
    [0.004567, "0.00457"],
    [0.5, "0.5"],
    [12.345, "12.3"],
    [123.456, "123"],
    [1_234_567.8, "1,234,568"],
    [-0.0001, "-0.0001"],
    [-12.345, "-12.3"],
  ])("%f has three significant digits: %s", (value, text) => {
    expect(amount(value)).toBe(text);
  });
});

describe("the plot of wire-ups", () => {
  const wireUp = (size: number): BenchmarkResult => {
    const metrics = [metric({ name: "launched", baseline: "raw-barrier" }), metric({ name: "ready" })];
    return resultOf(metrics, { fullmesh: [size * 70], "raw-barrier": [size * 60] }, { name: `wire-up-${size}` });
  };

  it("draws fullmesh and the barrier, a point for each size", () => {
    const svg = wireUpPlot([8, 16, 32].map(wireUp)) ?? "";
    expect(svg.match(/<circle /g)).toHaveLength(6);
    expect(svg).toContain(">fullmesh: 2.24 s<");
    expect(svg).toContain(">raw-barrier: 1.92 s<");
  });

  it("needs two sizes, and leaves out meshes with a secret", () => {
    const encrypted = { ...wireUp(32), benchmark: { ...wireUp(32).benchmark, name: "secret-wire-up-32" } };
    expect(wireUpPlot([wireUp(8), encrypted])).toBeUndefined();
  });
});
