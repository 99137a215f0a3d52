import type { SeededRandom } from "../src/core/random.js";
import { greatestClaim } from "../src/protocol/directory.js";
import { withClaims } from "./claim-scenario.js";
import { type Fault, type Lie, noticeOf, type Scenario } from "./scenario.js";

/**
 * The server of a native scenario is killed and started empty, once or twice, beside what else goes wrong: members that get
 * another address, claims, and a wrong witness.
 */
export function withRestarts(random: SeededRandom, native: Scenario): Scenario {
  const scenario = random.chance(0.4) ? withClaims(random, native) : native;
  const { scripts, healsAt } = scenario;
  const restarts = Array.from({ length: random.integer(1, 2) }, (): Extract<Fault, { type: "restartServer" }> => {
    const forMs = random.chance(0.7) ? random.integer(1, 3_000) : random.integer(3_000, 30_000);
    return { type: "restartServer", at: random.next() * healsAt, forMs, isClockBack: random.chance(0.3) };
  });
  const faults: Fault[] = [...scenario.faults.filter(({ type }) => type !== "killServer"), ...restarts];
  const isClockBack = restarts.some((restart) => restart.isClockBack);
  if (random.chance(0.3)) {
    const [{ at: killedAt, forMs } = { at: 0, forMs: 0 }] = restarts;
    // While the server is away, or at any time.
    const at = random.chance(0.7) ? killedAt + random.next() * forMs : random.next() * healsAt;
    faults.push({ type: "move", at, script: random.integer(0, scripts.length - 1), notice: noticeOf(random) });
  }
  // One at most: of two that say the same, a server believes that a member has ended.
  if (random.chance(0.3)) {
    const at = Math.max(0, (restarts[0]?.at ?? 0) - random.next() * 2_000);
    const script = random.integer(0, scripts.length - 1);
    faults.push({ type: "lie", at, script, forMs: random.integer(2_000, 45_000), lie: lieOf(random, isClockBack) });
  }
  const isBounded = random.chance(0.3) && scenario.onFull === "hold";
  return {
    ...scenario,
    onFull: "hold",
    capacity: isBounded ? scenario.capacity : Number.POSITIVE_INFINITY,
    faults,
    isCalm: false,
  };
}

/** A server whose clock has gone back cannot go on above a revision that is made up: tokens would not rise. */
function lieOf(random: SeededRandom, isClockBack: boolean): Lie {
  return {
    links: random.chance(0.5),
    gone: random.chance(0.5),
    members: random.chance(0.5),
    ...(random.chance(0.4) ? { order: random.chance(0.5) ? 1 : greatestClaim } : {}),
    ...(random.chance(0.4) && !isClockBack ? { highest: greatestClaim } : {}),
  };
}
