import type { SeededRandom } from "../src/core/random.js";
import type { Fault, Scenario } from "./scenario.js";

/** The server of a native scenario leaves the mesh to its members, beside what else goes wrong before and after. */
export function withRelease(random: SeededRandom, scenario: Scenario): Scenario {
  const { healsAt, faults } = scenario;
  const release: Fault = { type: "release", at: healsAt * (0.2 + 0.8 * random.next()) };
  return {
    ...scenario,
    onFull: "hold",
    capacity: Number.POSITIVE_INFINITY,
    faults: [...faults.filter(({ type }) => type !== "killServer"), release],
    isCalm: false,
  };
}
