import type { Limits } from "../src/core/limits.js";
import { SeededRandom } from "../src/core/random.js";
import { formatAddress } from "../src/protocol/address.js";
import { longestMessage } from "./checkers/message-checker.js";
import { withClaims } from "./claim-scenario.js";
import type { NetworkConditions } from "./network-conditions.js";
import { withFirewalls } from "./one-way-scenario.js";
import { withRelease } from "./release-scenario.js";
import { withRestarts } from "./restart-scenario.js";
import {
  classicScenarioOf,
  entangledPorts,
  type Fault,
  logRejectsOf,
  type MemberScript,
  noticeOf,
  type PathEnd,
  type Scenario,
  type ScenarioKind,
  sendsBeforeUpOf,
  separatePorts,
} from "./scenario.js";

/** The scenario of a seed. */
export function scenarioOf(seed: number, kind: ScenarioKind): Scenario {
  if (kind === "classic") return classicScenarioOf(seed);
  const isLocal = ["native", "claims", "restarts", "released"].includes(kind) && isLocalOf(seed);
  const scenario = networkScenarioOf(seed, kind);
  return isLocal ? withLocalSockets(scenario) : scenario;
}

/** In one run of ten. Its random numbers are its own, so that all other runs stay as they are. */
function isLocalOf(seed: number): boolean {
  return new SeededRandom(seed + 13 * 2 ** 42).chance(0.1);
}

/** All are on one machine: nobody has another address all of a sudden, no firewall is between them, and no dial is lost. */
function withLocalSockets(scenario: Scenario): Scenario {
  return {
    ...scenario,
    isLocal: true,
    scripts: scenario.scripts.map((script, index) => ({ ...script, address: `unix:/run/mesh/m-${index}.sock` })),
    faults: scenario.faults.filter(({ type }) => type !== "move" && type !== "firewall"),
    conditions: { ...scenario.conditions, dialLoss: 0 },
  };
}

function networkScenarioOf(seed: number, kind: Exclude<ScenarioKind, "classic">): Scenario {
  const scenario = nativeScenarioOf(seed, kind === "mixed");
  if (kind === "oneway") return withFirewalls(new SeededRandom(seed + 7 * 2 ** 42), scenario);
  if (kind === "released") return withRelease(new SeededRandom(seed + 11 * 2 ** 42), scenario);
  if (kind === "restarts") return withRestarts(new SeededRandom(seed + 5 * 2 ** 42), scenario);
  return kind === "claims" ? withClaims(new SeededRandom(seed + 3 * 2 ** 42), scenario) : scenario;
}

/** A scenario with 2 to 12 members, mostly few: what goes wrong goes wrong between two or three. */
function nativeScenarioOf(seed: number, isMixed: boolean): Scenario {
  const random = new SeededRandom(seed);
  const size = random.chance(0.75) ? random.integer(2, 5) : random.integer(6, 12);
  const healsAt = random.integer(2_000, 15_000);
  const isCalm = random.chance(0.2);
  const isPrompt = !isMixed || isCalm;
  const scripts = scriptsOf(random, { size, isMixed, isPrompt, withinMs: random.chance(0.6) ? 5 : healsAt });
  const scenario: Scenario = {
    scripts,
    ...capacityOf(random, size, isCalm),
    logDelayMs: random.chance(0.4) ? random.integer(1, 300) : 0,
    logRejects: logRejectsOf(seed, isCalm),
    sendsBeforeUp: sendsBeforeUpOf(seed),
    conditions: conditionsOf(random, isCalm),
    faults: isCalm ? [] : faultsOf(random, scripts, healsAt),
    healsAt,
    isCalm,
    isPrompt,
    limits: limitsOf(random, isCalm),
  };
  return isCalm || !random.chance(0.05) ? scenario : withExtinction(random, scenario);
}

/** All members die at the end, nearly at once, and some of them come back, sooner or later. */
function withExtinction(random: SeededRandom, scenario: Scenario): Scenario {
  const { scripts, healsAt, faults } = scenario;
  const isForGood = random.chance(0.5);
  const deaths = scripts.map((_, script): Fault => {
    const forMs = isForGood || random.chance(0.5) ? Number.POSITIVE_INFINITY : random.integer(1, 60_000);
    const notice = random.chance(0.2) ? { notice: noticeOf(random) } : {};
    return { type: "crash", at: healsAt - random.next() * 50, script, forMs, ...notice };
  });
  const others = faults.filter(({ type }) => type !== "killServer" && type !== "rejoin");
  return { ...scenario, faults: [...(isForGood ? others : faults), ...deaths] };
}

interface ScenarioMembers {
  readonly size: number;
  readonly isMixed: boolean;
  readonly isPrompt: boolean;
  readonly withinMs: number;
}

function scriptsOf(random: SeededRandom, { size, isMixed, isPrompt, withinMs }: ScenarioMembers): MemberScript[] {
  const { ambiguous, exact } = isPrompt ? entangledPorts : separatePorts;
  return Array.from({ length: size }, (_, index): MemberScript => {
    const ports = isMixed && random.chance(0.3) ? ambiguous : exact;
    const host = `10.0.0.${1 + Math.floor(index / 2)}`;
    const port = ports[(index % 2) * 3 + random.integer(0, 2)] ?? 0;
    return {
      address: formatAddress({ host, port }),
      startsAt: random.next() * withinMs,
      hesitatesMs: random.chance(0.2) ? random.integer(0, 1_000) : 0,
      // The first is native in every mesh: classic ones have plays of their own.
      dialect: isMixed && index > 0 && random.chance(0.5) ? "classic" : "native",
    };
  });
}

function capacityOf(random: SeededRandom, size: number, isCalm: boolean): Pick<Scenario, "capacity" | "onFull"> {
  if (random.chance(0.4)) {
    return { onFull: "teardown", capacity: isCalm ? size : Math.max(1, size - random.integer(0, 1)) };
  }
  const capacity = random.chance(0.4) ? random.integer(1, size + 1) : Number.POSITIVE_INFINITY;
  return { onFull: "hold", capacity };
}

function limitsOf(random: SeededRandom, isCalm: boolean): Partial<Limits> {
  return {
    // A short memory, so that who comes back needs the whole directory.
    ...(random.chance(0.4) ? { logEntries: random.integer(1, 2) } : {}),
    ...(!isCalm && random.chance(0.5) ? { finishMs: random.integer(100, 5_000) } : {}),
    ...narrowness(random),
  };
}

/** Narrow windows, small members and early acknowledgements: little is said here, and all of it is to meet its limits. */
function narrowness(random: SeededRandom): Partial<Limits> {
  return {
    queueSoftBytes: random.chance(0.5) ? random.integer(150, 800) : random.integer(longestMessage, 4 * longestMessage),
    queueHardBytes: 4 * longestMessage,
    streamWindowBytes: random.integer(200, 2_000),
    streamFrameBytes: random.integer(50, 800),
    streamBacklogBytes: random.integer(50, 1_000),
    handedBytes: random.integer(100, 10_000),
    acknowledgeBytes: random.integer(50, 10_000),
    batchBytes: 300,
  };
}

function conditionsOf(random: SeededRandom, isCalm: boolean): NetworkConditions {
  return {
    delayMs: random.integer(1, 30),
    split: random.next() * 0.5,
    splitGapMs: random.integer(1, 60),
    merge: random.next(),
    dialLoss: isCalm || random.chance(0.4) ? 0 : random.next() * 0.2,
    ...(isCalm || random.chance(0.6) ? {} : { lag: { chance: random.next() * 0.2, forMs: 25_000 } }),
  };
}

function faultsOf(random: SeededRandom, scripts: readonly MemberScript[], healsAt: number): Fault[] {
  const faults = Array.from({ length: random.integer(0, 7) }, () => {
    return faultOf(random, scripts, random.next() * healsAt);
  });
  if (random.chance(0.03)) faults.push({ type: "killServer", at: random.next() * healsAt });
  return faults;
}

const kinds = [
  ...["crash", "crash", "crash", "cut", "cut", "cut", "cut", "stall", "stall", "stall"],
  ...["suspend", "suspend", "suspend", "suspendServer", "leave", "rejoin", "claim"],
] as const;

function faultOf(random: SeededRandom, scripts: readonly MemberScript[], at: number): Fault {
  const type = kinds[random.integer(0, kinds.length - 1)] as Fault["type"];
  const script = random.integer(0, scripts.length - 1);
  switch (type) {
    case "crash": {
      // Sometimes it is back before anybody has noticed.
      const forMs = random.chance(0.8) ? random.integer(1, random.chance(0.5) ? 300 : 8_000) : Number.POSITIVE_INFINITY;
      return { type, at, script, forMs, ...(random.chance(0.3) ? { notice: noticeOf(random) } : {}) };
    }
    case "cut": {
      const of = random.chance(0.7) ? "link" : "session";
      return { type, at, of, here: noticeOf(random), there: noticeOf(random) };
    }
    case "stall":
      return {
        type,
        at,
        ...pathOf(random, scripts.length),
        isMutual: random.chance(0.5),
        forMs: random.chance(0.6) ? random.integer(100, 6_000) : random.integer(6_000, 25_000),
      };
    case "suspend":
    case "suspendServer":
      return { type, at, script, forMs: absenceOf(random) };
    case "leave":
    case "rejoin":
      return { type, at, script, forMs: random.integer(1, 5_000) };
    default:
      return { type: "claim", at, script };
  }
}

function pathOf(random: SeededRandom, size: number): { readonly from: PathEnd; readonly to: PathEnd } {
  const from = random.integer(0, size - 1);
  const to = random.chance(0.25) ? "server" : random.integer(0, size - 1);
  return random.chance(0.5) ? { from, to } : { from: to, to: from };
}

/** Mostly so short that nobody notices, sometimes longer than the silent limit or the lease. */
function absenceOf(random: SeededRandom): number {
  if (random.chance(0.4)) return random.integer(1, 3_000);
  return random.chance(0.5) ? random.integer(3_000, 9_000) : random.integer(9_000, 45_000);
}
