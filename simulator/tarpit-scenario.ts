import { SeededRandom } from "../src/core/random.js";
import { formatAddress } from "../src/protocol/address.js";
import type { Fault, MemberScript, Scenario } from "./scenario.js";

/** When they fall silent, and when their peers have given up the connections that they had with them. */
const [silentAt, redialedAt] = [2_000, 19_000];

/**
 * Members in number that fall silent all at once: tarpits, whose kernels go on accepting, and black holes, which nothing
 * reaches any more. While their peers dial them, honest members come in.
 */
export function tarpitScenarioOf(seed: number): Scenario {
  const random = new SeededRandom(seed);
  const silent = random.integer(12, 20);
  const honest = random.integer(1, 3);
  const hosts = random.chance(0.5) ? 1 : random.integer(2, silent);
  const scripts = [
    scriptAt("10.0.0.1", 9_000, 0),
    ...Array.from({ length: silent }, (_, index) => {
      return scriptAt(`10.0.2.${1 + (index % hosts)}`, 9_000 + index, 10 + random.next() * 500);
    }),
    ...Array.from({ length: honest }, (_, index) => {
      return scriptAt(`10.0.0.${2 + index}`, 9_000, redialedAt + random.next() * 4_000);
    }),
  ];
  const faults = Array.from({ length: silent }, (_, index): Fault => {
    const [script, at, forMs] = [index + 1, silentAt, 30_000];
    if (random.chance(0.5)) return { type: "suspend", at, script, forMs };
    return { type: "stall", at, from: 0, to: script, isMutual: true, forMs };
  });
  const newcomers = Array.from({ length: honest }, (_, index) => silent + 1 + index);
  return {
    scripts,
    capacity: Number.POSITIVE_INFINITY,
    onFull: "hold",
    logDelayMs: 0,
    logRejects: 0,
    conditions: { delayMs: random.integer(1, 20), split: 0, splitGapMs: 1, merge: random.next(), dialLoss: 0 },
    faults,
    healsAt: silentAt + 30_000,
    isCalm: false,
    isPrompt: true,
    honest: { scripts: [0, ...newcomers], withinMs: 1_000 },
  };
}

function scriptAt(host: string, port: number, startsAt: number): MemberScript {
  return { address: formatAddress({ host, port }), startsAt, hesitatesMs: 0, dialect: "native" };
}
