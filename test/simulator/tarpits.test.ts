import { describe, expect, it } from "vitest";
import { run } from "../../simulator/run.js";
import type { Scenario } from "../../simulator/scenario.js";
import { tarpitScenarioOf } from "../../simulator/tarpit-scenario.js";

const seeds = [2, 3, 4];

/** What becomes of a seed, perhaps under other bounds. */
function outcomeOf(seed: number, limits: Scenario["limits"] = {}): ReturnType<typeof run> {
  return run(seed, { kind: "native", scenario: { ...tarpitScenarioOf(seed), limits }, stopsAtViolation: true });
}

describe("members in number that accept and say nothing, or that nothing reaches", () => {
  it("hold up no link between two others", () => {
    const outcomes = seeds.map((seed) => outcomeOf(seed));
    expect(outcomes.flatMap(({ seed, violations }) => violations.map((one) => ({ seed, ...one })))).toEqual([]);
    expect(outcomes.every(({ labels }) => labels.has("linked beside those who do not answer"))).toBe(true);
  });

  // A dial that is never slow keeps its place until its time is over.
  it("are found to do so where a slow dial makes no room", () => {
    const broken = seeds.map((seed) => outcomeOf(seed, { dialSlowMs: 1e9 }).violations[0]?.invariant);
    expect(broken).toContain("L3");
  });
});
