import { afterEach, describe, expect, it, vi } from "vitest";
import { run } from "../../simulator/run.js";
import type { MemberScript, Scenario } from "../../simulator/scenario.js";
import { defaultLimits } from "../../src/core/limits.js";
import type { Dialect } from "../../src/protocol/directory.js";
import { CompletenessReporter } from "../../src/rendezvous/completeness-reporter.js";
import { MemberRecord } from "../../src/rendezvous/member-record.js";

/** How long a mesh may take to become whole here. */
const finishMs = 4_000;
/** When the member comes that may take the place of the one that is killed. */
const successorAt = 2_000;

/** As many members as the capacity, joining one after the other, in a network without faults. */
function play(dialects: readonly Dialect[], more: Partial<Scenario> = {}): Scenario {
  const scripts = dialects.map((dialect, index): MemberScript => {
    const address = `10.0.0.${index + 1}:9000` as const;
    return { address, startsAt: index * 40, hesitatesMs: 0, dialect, ...(dialect === "native" ? { watches: 1 } : {}) };
  });
  return {
    scripts,
    capacity: scripts.length,
    onFull: "teardown",
    logDelayMs: 5,
    logRejects: 0,
    conditions: { delayMs: 10, split: 0.2, splitGapMs: 5, merge: 0.5, dialLoss: 0 },
    faults: [],
    healsAt: 100,
    isCalm: false,
    isPrompt: true,
    limits: { finishMs },
    ...more,
  };
}

/** The moments at which anything happens, from when the last one comes to the end of the mesh and a little beyond. */
function momentsOf(scenario: Scenario): number[] {
  const moments: number[] = [];
  const { labels } = run(1, { scenario, onStep: (now) => moments.push(now) });
  expect(labels.has("teardown")).toBe(true);
  const from = scenario.scripts.at(-1)?.startsAt ?? 0;
  const settleMs = scenario.scripts.some(({ dialect }) => dialect === "classic") ? defaultLimits.settleMs : 0;
  return [...new Set(moments)].filter((at) => at >= from && at < from + settleMs + 250);
}

/** Each member is killed right before each thing that happens around the capacity: a play for each. */
function crashes(dialects: readonly Dialect[], more: Partial<Scenario> = {}): Scenario[] {
  const base = play(dialects);
  return momentsOf(base).flatMap((at) => {
    return Array.from(base.scripts.keys(), (script): Scenario => {
      return { ...base, ...more, faults: [{ type: "crash", at, script, forMs: Number.POSITIVE_INFINITY }] };
    });
  });
}

interface Sweep {
  readonly broken: string[];
  readonly hits: Map<string, number>;
}

/** Plays them all, and looks at what is said of the mesh. */
function sweep(scenarios: readonly Scenario[]): Sweep {
  const broken: string[] = [];
  const hits = new Map<string, number>();
  for (const scenario of scenarios) {
    const { violations, labels } = run(1, { scenario });
    for (const label of labels.keys()) hits.set(label, (hits.get(label) ?? 0) + 1);
    if (violations.length > 0) broken.push(`${JSON.stringify(scenario.faults)}: ${JSON.stringify(violations[0])}`);
  }
  return { broken, hits };
}

const meshes: readonly (readonly [name: string, dialects: readonly Dialect[]])[] = [
  ["two native members", ["native", "native"]],
  ["three native members", ["native", "native", "native"]],
  ["a native and two classic members", ["native", "classic", "classic"]],
  ["two classic members", ["classic", "classic"]],
];

afterEach(() => {
  vi.restoreAllMocks();
});

describe("what is said of a mesh around its capacity", () => {
  it.each(meshes)("is true whichever of %s is killed at whichever step", (_, dialects) => {
    const scenarios = crashes(dialects);
    const { broken, hits } = sweep(scenarios);
    expect(broken).toEqual([]);
    expect(scenarios.length).toBeGreaterThan(50);
    // Killed early the mesh waits on, killed late it has been whole; in between it has been full and ends without being so.
    for (const label of ["complete", "full", "teardown naming members", "end of a mesh that is not whole"]) {
      expect([label, hits.get(label) ?? 0]).not.toEqual([label, 0]);
    }
  });

  it("is true when a newcomer takes the place of the one that was killed, and the mesh is whole with it", () => {
    const members = ["native", "native"] as const;
    const successor: MemberScript = {
      address: "10.0.0.9:9000",
      startsAt: successorAt,
      hesitatesMs: 0,
      dialect: "native",
    };
    // What goes wrong is over when the successor comes.
    const scenarios = crashes(members, { scripts: [...play(members).scripts, successor], healsAt: successorAt });
    const { broken, hits } = sweep(scenarios);
    expect(broken).toEqual([]);
    expect(hits.get("complete")).toBe(scenarios.length);
    expect(hits.get("teardown naming members") ?? 0).toBe(0);
  });
});

/** Bugs put in on purpose, each in the place where it would be made, and what must notice it. */
describe("a bug planted in what fills a mesh", () => {
  it.each([
    [
      "the dead fill the capacity",
      () =>
        vi.spyOn(MemberRecord.prototype, "isPresent", "get").mockImplementation(function (this: MemberRecord) {
          return this.member !== undefined;
        }),
      /"C1".*(full was told|has no session)/,
    ],
    [
      "whoever is left of a mesh that has been full is called whole",
      () =>
        vi.spyOn(CompletenessReporter.prototype, "isComplete", "get").mockImplementation(function (
          this: CompletenessReporter,
        ) {
          return this.figures.members > 0 && this.missing().count === 0;
        }),
      /"C1".*(below the capacity|has no session)/,
    ],
  ])("is found when %s", (_, plant, finding) => {
    const scenarios = crashes(["native", "native"]);
    plant();
    const { broken } = sweep(scenarios);
    expect(broken.filter((each) => finding.test(each)).length).toBeGreaterThan(0);
  });
});
