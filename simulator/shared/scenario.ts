import { SeededRandom } from "../../src/core/random.js";
import type { NetworkConditions } from "../network-conditions.js";
import { adverseStore, calmStore, type StoreConditions } from "../store.js";

/** Something that goes wrong among servers that share their logs, at a time, for so long. */
export type SharedFault = { readonly at: number; readonly forMs: number } & (
  | {
      readonly type: "killServer" | "suspendServer" | "cutServerFromStore" | "cutServerFromMembers";
      readonly server: number;
    }
  | { readonly type: "killMember" | "suspendMember" | "leave"; readonly member: number }
  | { readonly type: "storeAway" }
);

/** What one seed plays with several servers. */
export interface SharedScenario {
  readonly servers: number;
  readonly members: number;
  readonly capacity: number;
  readonly claims: boolean;
  readonly conditions: NetworkConditions;
  readonly store: StoreConditions;
  readonly faults: readonly SharedFault[];
  /** When the faults end. */
  readonly healsAt: number;
}

const types = [
  ...["killServer", "killServer", "suspendServer", "cutServerFromStore", "cutServerFromMembers"],
  ...["killMember", "suspendMember", "leave", "storeAway"],
] as const satisfies readonly SharedFault["type"][];

/** The scenario of a seed. */
export function sharedScenarioOf(seed: number): SharedScenario {
  const random = new SeededRandom(seed + 13 * 2 ** 42);
  const members = random.chance(0.8) ? random.integer(2, 5) : random.integer(6, 9);
  const servers = random.integer(2, 3);
  const healsAt = random.integer(3_000, 40_000);
  const isBounded = random.chance(0.3);
  return {
    servers,
    members,
    capacity: isBounded ? random.integer(1, members + 1) : Number.POSITIVE_INFINITY,
    claims: random.chance(0.4),
    conditions: {
      delayMs: random.integer(1, 30),
      split: random.next() * 0.3,
      splitGapMs: random.integer(1, 60),
      merge: random.next(),
      dialLoss: random.chance(0.5) ? 0 : random.next() * 0.1,
    },
    store: storeOf(random, healsAt),
    faults: Array.from({ length: random.integer(0, 6) }, () => faultOf(random, servers, members, healsAt)),
    healsAt,
  };
}

function faultOf(random: SeededRandom, servers: number, members: number, healsAt: number): SharedFault {
  const type = types[random.integer(0, types.length - 1)] as SharedFault["type"];
  const at = random.next() * healsAt;
  const forMs = random.chance(0.6) ? random.integer(1, 6_000) : random.integer(6_000, 40_000);
  return {
    type,
    at,
    forMs,
    server: random.integer(0, servers - 1),
    member: random.integer(0, members - 1),
  } as SharedFault;
}

/**
 * A store that keeps a change from a watch (etcd#17529) is played by the logs alone: until the next beat of its writer a server
 * then has another history than the others.
 */
function storeOf(random: SeededRandom, healsAt: number): StoreConditions {
  if (random.chance(0.3)) return { ...calmStore, delayMs: random.integer(1, 50) };
  return {
    ...adverseStore,
    delayMs: random.integer(1, 200),
    endsLeases: random.chance(0.3) ? 0.02 : 0,
    healsAt,
  };
}
