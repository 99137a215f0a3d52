import type { SeededRandom } from "../src/core/random.js";
import type { Fault, Scenario } from "./scenario.js";

/**
 * Firewalls stand between the members of a native scenario, beside what else goes wrong: some cannot dial some others, though those
 * can dial them, from some moment on, for a while or for good. In the end every pair is to be linked all the same.
 */
export function withFirewalls(random: SeededRandom, scenario: Scenario): Scenario {
  const { scripts, healsAt, faults } = scenario;
  const pairs = scripts.flatMap((_, later) =>
    Array.from({ length: later }, (__, earlier) => [earlier, later] as const),
  );
  const firewalls = pairs.filter(() => random.chance(0.6)).flatMap(([a, b]) => firewallOf(random, a, b, healsAt));
  // Without a server nobody can ask the other end to dial.
  const others = faults.filter(({ type }) => type !== "killServer");
  return { ...scenario, faults: [...others, ...firewalls], isCalm: false };
}

function firewallOf(random: SeededRandom, a: number, b: number, healsAt: number): Fault[] {
  const [from, to] = random.chance(0.5) ? [a, b] : [b, a];
  const at = random.chance(0.5) ? 0 : random.next() * healsAt;
  const refuses = random.chance(0.3);
  if (random.chance(0.6)) return [{ type: "firewall", at, from, to, forMs: Number.POSITIVE_INFINITY, refuses }];
  const firewall: Fault = { type: "firewall", at, from, to, forMs: random.integer(100, 8_000), refuses };
  if (random.chance(0.5)) return [firewall];
  // A grant comes so late that it was withdrawn before, and the dial that followed has been taken.
  const forMs = random.integer(4_000, 12_000);
  return [firewall, { type: "stall", at: at + 1_000, from: "server", to, isMutual: false, forMs }];
}
