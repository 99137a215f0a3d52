import type { SeededRandom } from "../src/core/random.js";
import type { Fault, Scenario } from "./scenario.js";

/** A native scenario in which members claim keys, long enough for leases to run out. */
export function withClaims(random: SeededRandom, { limits, ...scenario }: Scenario): Scenario {
  const healsAt = random.integer(25_000, 50_000);
  const { finishMs: _, ...others } = limits ?? {};
  const faults = Array.from({ length: random.integer(0, 6) }, () => faultOf(random, scenario, random.next() * healsAt));
  return {
    ...scenario,
    capacity: Number.POSITIVE_INFINITY,
    onFull: "hold",
    limits: others,
    healsAt,
    faults: scenario.isCalm ? [] : faults,
    claims: true,
  };
}

function faultOf(random: SeededRandom, { scripts }: Pick<Scenario, "scripts">, at: number): Fault {
  const script = random.integer(0, scripts.length - 1);
  const forMs = random.integer(500, random.chance(0.5) ? 4_000 : 15_000);
  switch (random.integer(0, 7)) {
    case 0:
    case 1:
      return { type: "suspend", at, script, forMs };
    case 2:
      return { type: "crash", at, script, forMs: random.chance(0.8) ? forMs : Number.POSITIVE_INFINITY };
    case 3:
      return { type: "cut", at, of: "session", here: random.integer(1, 2_000), there: random.integer(1, 2_000) };
    case 4:
      return { type: "stall", at, from: script, to: "server", isMutual: random.chance(0.5), forMs };
    case 5:
      return { type: "setClock", at, script, byMs: random.integer(-3_600_000, 9_000) };
    case 6:
      return { type: "suspendServer", at, forMs };
    default:
      return { type: "rejoin", at, script, forMs };
  }
}
