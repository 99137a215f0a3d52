import { afterEach, describe, expect, it, vi } from "vitest";
import { type Outcome, run } from "../../src/simulator/run.js";
import { plants } from "./planted.js";

/** Seeds played by every test run; `npm run simulate` plays as many as you like. */
const firstSeed = Number(process.env.SEED ?? 1);
const seeds = process.env.SEED === undefined ? 500 : 1;

type Spoken = "native" | "mixed";

function* play(kind: Spoken, from: number, count: number): Generator<Outcome> {
  for (let seed = from; seed < from + count; seed += 1) yield run(seed, { kind });
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each<Spoken>(["native", "mixed"])("a simulated %s mesh", (kind) => {
  it(`keeps every invariant over ${seeds} seeds`, () => {
    const broken: string[] = [];
    for (const { seed, violations } of play(kind, firstSeed, seeds)) {
      if (violations.length > 0) broken.push(`SEED=${seed}: ${JSON.stringify(violations[0])}`);
    }
    expect(broken).toEqual([]);
  });

  it("gives the same history to the byte for the same seed, and another for another", () => {
    const history = (seed: number): string => run(seed, { kind, keepsTrace: true }).history.join("\n");
    for (const seed of [3, 17, 2024]) expect(history(seed)).toBe(history(seed));
    expect(history(3)).not.toBe(history(4));
  });
});

describe("simulated meshes with native members", () => {
  it("come across everything that makes a run worth playing", () => {
    const hits = new Map<string, number>();
    for (const kind of ["native", "mixed"] as const) {
      for (const { labels } of play(kind, 1, 500)) {
        for (const label of labels.keys()) hits.set(label, (hits.get(label) ?? 0) + 1);
      }
    }
    const wanted = [
      ...["ADDRESS_IN_USE", "ADDRESS_UNPROVED", "DIAL_FAILED", "DIAL_TIMEOUT", "FENCED", "GONE", "MESH_SEALED"],
      ...["SERVER_AWAY", "STALE_ATTEMPT", "UNAWAITED_CHALLENGE", "WRONG_TARGET"],
      ...["append in flight", "broken", "broken noticed by one end only", "complete", "degraded", "drained"],
      ...["entries after a resume", "fenced and rejoined", "found whole", "gave up silent connection"],
      ...["goodbye crossed", "loss reported", "lost by dial-back", "lost by lease", "mixed dialect pair"],
      ...["parked judged after entry", "relink", "replaced by restart", "resumed with replay", "session resumed"],
      ...["snapshot instead of entries", "teardown naming pairs", "waiting"],
      ...["claim", "crash", "cut", "killServer", "leave", "rejoin", "stall", "suspend", "suspendServer"].map(
        (type) => `misfortune: ${type}`,
      ),
    ];
    expect(wanted.filter((label) => (hits.get(label) ?? 0) < 2)).toEqual([]);
  });
});

/** Bugs put in on purpose, each in the place where it would be made, and what must notice it. */
describe("a bug planted in the rules of the native dialect", () => {
  it.each(plants)("is found when $when", ({ plant, seed, breaks }) => {
    const broken = (): string[] => {
      const { violations } = run(seed, { kind: "native", stopsAtViolation: true });
      return violations.map(({ invariant }) => invariant);
    };
    expect(broken()).toEqual([]);
    plant();
    expect(broken()).toEqual([breaks]);
  });
});
