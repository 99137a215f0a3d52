import { describe, expect, it } from "vitest";
import { runShared } from "../../simulator/shared/simulation.js";

const firstSeed = Number(process.env.SEED ?? 1);
const seeds = process.env.SEED === undefined ? 20 : 1;

function violationsOf(seed: number): string[] {
  return runShared(seed, { stopsAtViolation: true }).violations.map((violation) => JSON.stringify(violation));
}

describe("servers that share their logs through a store, and members with sessions at any of them", () => {
  it(`keep every invariant over ${seeds} seeds`, { timeout: 240_000 }, () => {
    const hits = new Map<string, number>();
    for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
      const { violations, labels } = runShared(seed);
      expect(violations, `SEED=${seed}`).toEqual([]);
      for (const label of labels.keys()) hits.set(label, (hits.get(label) ?? 0) + 1);
    }
    if (seeds === 1) return;
    const wanted = ["found whole", "told complete", "fault: killServer", "log: storeBack", "key held"];
    expect(wanted.filter((label) => (hits.get(label) ?? 0) < 2)).toEqual([]);
  });

  it("come to the same history with the same seed", () => {
    expect(runShared(7, { keepsTrace: true })).toEqual(runShared(7, { keepsTrace: true }));
  });

  it.each<readonly [what: string, seed: number]>([
    ["a server gets another life, and what its members had reported counted for the one before", 126],
    ["one server shows by a fresh read what another one shows entry by entry", 30_041],
    ["the store is away while a server enters it, for longer than the lease", 472],
  ])("keep every invariant where %s", (_, seed) => {
    expect(violationsOf(seed)).toEqual([]);
  });
});
