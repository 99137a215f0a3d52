import { describe, expect, it } from "vitest";
import { type BudgetVerdict, figuresOf, median, spreadOf, verdictOf } from "../../bench/statistics.js";
import type { Metric } from "../../bench/types.js";
import { metric, metricAlone, resultOf } from "./results.js";

/** The verdicts on fullmesh in one metric, with these values round by round. */
function verdicts(
  of: Metric,
  values: Readonly<Record<string, readonly (number | undefined)[]>> = { fullmesh: [50], "raw-batched": [100] },
): readonly BudgetVerdict[] {
  return figuresOf(resultOf([of], values))[0]?.verdicts ?? [];
}

describe("the median", () => {
  it("is the middle value, whatever the order", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([100, 20, 3])).toBe(20);
  });

  it("is between the two in the middle of an even number of values", () => {
    expect(median([1, 2, 10, 4])).toBe(3);
  });

  it("does not exist without values", () => {
    expect(() => median([])).toThrow(RangeError);
    expect(spreadOf([])).toBeUndefined();
  });
});

describe("a figure", () => {
  it("takes ratios and differences within a round, not between medians", () => {
    const [figure] = figuresOf(resultOf([metric()], { fullmesh: [50, 90, 10], "raw-batched": [100, 100, 40] }));
    const [ours, base] = figure?.scores ?? [];
    expect(ours).toEqual({
      candidate: "fullmesh",
      values: { median: 50, min: 10, max: 90 },
      ratios: { median: 0.5, min: 0.25, max: 0.9 },
      differences: { median: -30, min: -50, max: -10 },
    });
    expect(base?.ratios).toEqual({ median: 1, min: 1, max: 1 });
  });

  it.each([
    ["more", 0.5, true],
    ["more", 0.51, false],
    ["less", 0.5, true],
    ["less", 0.49, false],
  ] as const)("meets a ratio: %s is better, %f is wanted: %s", (better, wanted, isMet) => {
    const measured = { median: 0.5, min: 0.5, max: 0.5 };
    expect(verdicts(metric({ better, wanted }))).toEqual([{ of: "ratio", limit: wanted, measured, isMet }]);
  });

  it.each([
    ["more", 50, true],
    ["more", 51, false],
    ["less", 50, true],
    ["less", 49, false],
  ] as const)("keeps a bound by itself: %s is better, the bound is %f: %s", (better, bound, isMet) => {
    const measured = { median: 50, min: 50, max: 50 };
    const expected = [{ of: "value", limit: bound, measured, isMet }];
    expect(verdicts(metric({ better, bound }))).toEqual(expected);
    expect(verdicts(metricAlone({ better, bound }), { fullmesh: [50] })).toEqual(expected);
  });

  it.each([
    [15, true],
    [14, false],
  ])("keeps a bound on differences, of which the median within rounds counts: %f: %s", (bound, isMet) => {
    // Medians of 120 and 100 would be 20 apart.
    const values = { fullmesh: [105, 120, 215], "raw-batched": [100, 90, 200] };
    const measured = { median: 15, min: 5, max: 30 };
    const of = metric({ better: "less", bound, kind: "difference" });
    expect(verdicts(of, values)).toEqual([{ of: "difference", limit: bound, measured, isMet }]);
  });

  it("says nothing of what is not wanted", () => {
    expect(verdicts(metric())).toEqual([]);
    expect(verdictOf([])).toBeUndefined();
  });

  it("judges a ratio and a bound apart, and both are to be met", () => {
    const both = verdicts(metric({ wanted: 0.5, bound: 51 }));
    expect(both.map(({ of, isMet }) => [of, isMet])).toEqual([
      ["ratio", true],
      ["value", false],
    ]);
    expect(verdictOf(both)).toBe(false);
    expect(verdictOf(verdicts(metric({ wanted: 0.5, bound: 50 })))).toBe(true);
  });

  it("does not judge what was not measured", () => {
    const without = { fullmesh: [50], "raw-batched": [undefined] };
    for (const of of [metric({ wanted: 0.5, bound: 50 }), metric({ bound: 15, kind: "difference" })])
      expect(verdictOf(verdicts(of, without))).toBeUndefined();
    expect(verdictOf(verdicts(metric({ bound: 50 }), { fullmesh: [undefined] }))).toBeUndefined();
  });

  it("compares nothing without a baseline", () => {
    const [figure] = figuresOf(resultOf([metricAlone()], { fullmesh: [50], "raw-batched": [100] }));
    for (const { ratios, differences } of figure?.scores ?? [])
      expect([ratios, differences]).toEqual([undefined, undefined]);
    expect(figure?.scores).toHaveLength(2);
  });

  it("leaves out the rounds in which a program failed, and a program that failed in all", () => {
    const values = { fullmesh: [50, undefined, 30], "raw-batched": [100, 100, undefined], ws: [undefined, undefined] };
    const [figure] = figuresOf(resultOf([metric()], values));
    expect(figure?.scores.map(({ candidate }) => candidate)).toEqual(["fullmesh", "raw-batched"]);
    expect(figure?.scores[0]).toMatchObject({ values: { median: 40 }, ratios: { median: 0.5, min: 0.5, max: 0.5 } });
  });

  it("is named after the benchmark, and after the metric if there are several", () => {
    const values = { fullmesh: [1], "raw-batched": [1] };
    const names = (count: number): string[] =>
      figuresOf(resultOf([metric(), metric({ name: "p99" })].slice(0, count), values)).map(({ name }) => name);
    expect(names(1)).toEqual(["one-way-64"]);
    expect(names(2)).toEqual(["one-way-64.rate", "one-way-64.p99"]);
  });
});
