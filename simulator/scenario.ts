import type { Limits } from "../src/core/limits.js";
import { SeededRandom } from "../src/core/random.js";
import { type Address, formatAddress } from "../src/protocol/address.js";
import type { Dialect } from "../src/protocol/directory.js";
import type { OnFull } from "../src/rendezvous/types.js";
import type { CutNotice } from "./connection-end.js";
import type { NetworkConditions } from "./network-conditions.js";

/** Which members play: all of one dialect, or some of either. */
export type ScenarioKind = "classic" | "native" | "mixed" | "claims" | "restarts" | "oneway" | "released";

/** A member as the scenario has it. */
export interface MemberScript {
  readonly address: Address;
  /** When it starts, in milliseconds. */
  readonly startsAt: number;
  /** How long it thinks between connecting and registering. */
  readonly hesitatesMs: number;
  /** Classic if it is not said. */
  readonly dialect?: Dialect;
  /** It asks to be told when the mesh is whole with so many. */
  readonly watches?: number;
  /** The address that it registers, which is another's; by default its own. */
  readonly claims?: Address;
}

/** Who is at one end of a path: a member by its number, or the server. */
export type PathEnd = number | "server";

/** Something that goes wrong, at a time. */
export type Fault =
  | {
      readonly type: "kill" | "leave" | "suspend";
      readonly at: number;
      readonly script: number;
      readonly forMs: number;
    }
  /** Killed, and started again at the same address. */
  | { readonly type: "restart"; readonly at: number; readonly script: number; readonly forMs: number }
  /** Some connection between members breaks. */
  | { readonly type: "reset"; readonly at: number; readonly noticedWithinMs: number }
  | { readonly type: "killServer"; readonly at: number }
  /** The server goes, and leaves the mesh to its members. */
  | { readonly type: "release"; readonly at: number }
  /** The server is killed, and another one with nothing in memory is started at its address; perhaps with an earlier clock. */
  | { readonly type: "restartServer"; readonly at: number; readonly forMs: number; readonly isClockBack: boolean }
  /**
   * Killed, and started again after `forMs`; Infinity: never. With a notice its machine is gone too, and nobody is told
   * but as the notice says.
   */
  | {
      readonly type: "crash";
      readonly at: number;
      readonly script: number;
      readonly forMs: number;
      readonly notice?: CutNotice;
    }
  /** Leaves, and joins again later. */
  | { readonly type: "rejoin"; readonly at: number; readonly script: number; readonly forMs: number }
  /** The path under some connection is cut, and each end learns of it in its own way. */
  | {
      readonly type: "cut";
      readonly at: number;
      readonly of: "link" | "session";
      readonly here: CutNotice;
      readonly there: CutNotice;
    }
  /** What goes from one to the other takes so long. */
  | {
      readonly type: "stall";
      readonly at: number;
      readonly from: PathEnd;
      readonly to: PathEnd;
      readonly isMutual: boolean;
      readonly forMs: number;
    }
  /** No dial of one member reaches the other, whose own dials come through: it gets no answer, or is refused. */
  | {
      readonly type: "firewall";
      readonly at: number;
      readonly from: number;
      readonly to: number;
      readonly forMs: number;
      readonly refuses: boolean;
    }
  | { readonly type: "suspendServer"; readonly at: number; readonly forMs: number }
  /** The machine of this member has another address from now on; the ends of its connections learn of it as `notice` says. */
  | { readonly type: "move"; readonly at: number; readonly script: number; readonly notice: CutNotice }
  /** What this member says to the server is false, until it is found out, killed, and started again. */
  | {
      readonly type: "lie";
      readonly at: number;
      readonly script: number;
      readonly forMs: number;
      readonly lie: Lie;
    }
  /** The wall clock of this member's machine is set. */
  | { readonly type: "setClock"; readonly at: number; readonly script: number; readonly byMs: number }
  /** A stranger on the same machine registers the address of this member. */
  | { readonly type: "claim"; readonly at: number; readonly script: number };

/**
 * What a wrong witness says: links that it does not have; that living members have ended; members that nobody has heard of; or
 * an order and a revision that are not its own.
 */
export interface Lie {
  readonly links: boolean;
  readonly gone: boolean;
  readonly members: boolean;
  readonly order?: number;
  readonly highest?: number;
}

/** What one seed plays: who joins when, under which network conditions, and what goes wrong. */
export interface Scenario {
  readonly scripts: readonly MemberScript[];
  readonly capacity: number;
  readonly onFull: OnFull;
  /** How long the log takes to answer an append, at most. */
  readonly logDelayMs: number;
  /** The share of appends that the log rejects before the network heals. */
  readonly logRejects: number;
  readonly conditions: NetworkConditions;
  readonly faults: readonly Fault[];
  /** When the network conditions clears and faults end. */
  readonly healsAt: number;
  /** True when nothing at all goes wrong, so that every pair must come about by exactly one dial. */
  readonly isCalm: boolean;
  /**
   * True when no message takes so much longer than the next that an ambiguous port and a payload meet within the quiet
   * period: the margin of the writer's pause.
   */
  readonly isPrompt: boolean;
  /** Native members send to each peer as soon as the directory lists it, before their link is up. */
  readonly sendsBeforeUp?: boolean;
  /** Members claim keys. */
  readonly claims?: boolean;
  /** The server and all members are on local sockets of one machine. */
  readonly isLocal?: boolean;
  /** Bounds that differ from the defaults. */
  readonly limits?: Partial<Limits>;
  /** These members are never struck: every two of them are linked so soon after both are listed, whatever others do. */
  readonly honest?: { readonly scripts: readonly number[]; readonly withinMs: number };
}

/** In one run of five the log rejects appends. Its random numbers are its own, so that the rest of the run stays as it is. */
export function logRejectsOf(seed: number, isCalm: boolean): number {
  const random = new SeededRandom(seed + 2 ** 47);
  return isCalm || random.chance(0.8) ? 0 : 0.5 * random.next();
}

/** In one run of ten, likewise. */
export function sendsBeforeUpOf(seed: number): boolean {
  return new SeededRandom(seed + 5 * 2 ** 40).chance(0.1);
}

/** Ports that are told apart only by waiting, beside ports that are not. */
export const entangledPorts = {
  ambiguous: [80, 808, 8, 443, 4000, 400],
  exact: [8080, 8081, 40_001, 6554, 65_535, 9000],
};
/**
 * The same where the rest of a port may come after the quiet period. There no port is the beginning of another, because a
 * hello that is cut short would name another member of that host, and no reader of this dialect could tell.
 */
export const separatePorts = {
  ambiguous: [80, 443, 4000, 50, 123, 2000],
  exact: [9000, 6554, 65_535, 7000, 30_001, 10_001],
};

/** The classic scenario of a seed, with 2 to 12 members. */
export function classicScenarioOf(seed: number): Scenario {
  const random = new SeededRandom(seed);
  const size = random.integer(2, 12);
  const healsAt = random.integer(2_000, 20_000);
  const isCalm = random.chance(0.25);
  const isPrompt = random.chance(0.5);
  const onFull = random.chance(0.5) ? "teardown" : "hold";
  const spreadMs = random.chance(0.5) ? 5 : random.integer(10, healsAt);
  const usesAmbiguous = random.chance(0.4);
  const scripts = Array.from({ length: size }, (_, index): MemberScript => {
    const { ambiguous, exact } = isPrompt ? entangledPorts : separatePorts;
    const ports = usesAmbiguous && random.chance(0.6) ? ambiguous : exact;
    // Two members a host, so that 10.0.0.1:80 and 10.0.0.1:8080 can meet in one list.
    const host = `10.0.0.${1 + Math.floor(index / 2)}`;
    const port = ports[(index % 2) * 3 + random.integer(0, 2)] ?? 0;
    const hesitatesMs = random.chance(0.1) ? random.integer(0, 900_000) : random.integer(0, 20);
    return { address: formatAddress({ host, port }), startsAt: random.next() * spreadMs, hesitatesMs };
  });
  const isBounded = onFull === "hold" && random.chance(0.4);
  return {
    scripts,
    capacity: isBounded
      ? random.integer(1, size)
      : onFull === "teardown" && isCalm
        ? size
        : Math.max(1, size + random.integer(-1, 1)),
    onFull,
    logDelayMs: random.chance(0.4) ? random.integer(1, 300) : 0,
    logRejects: logRejectsOf(seed, isCalm),
    conditions: weatherOf(random, isCalm, isPrompt),
    faults: isCalm ? [] : faultsOf(random, size, healsAt),
    healsAt,
    isCalm,
    isPrompt,
  };
}

function weatherOf(random: SeededRandom, isCalm: boolean, isPrompt: boolean): NetworkConditions {
  return {
    delayMs: isPrompt ? random.integer(1, 30) : random.integer(1, 80),
    split: random.next() * 0.5,
    splitGapMs: isPrompt ? random.integer(1, 60) : random.integer(60, 1_500),
    merge: random.next(),
    dialLoss: isCalm ? 0 : random.next() * 0.2,
  };
}

function faultsOf(random: SeededRandom, size: number, healsAt: number): Fault[] {
  const types = ["kill", "leave", "suspend", "restart", "reset", "reset"] as const;
  const faults: Fault[] = Array.from({ length: random.integer(0, 8) }, () => {
    const type = types[random.integer(0, types.length - 1)] ?? "reset";
    const at = random.next() * healsAt;
    if (type === "reset") return { type, at, noticedWithinMs: random.integer(1, 2_000) };
    return { type, at, script: random.integer(0, size - 1), forMs: random.integer(1, 3_000) };
  });
  if (random.chance(0.05)) faults.push({ type: "killServer", at: random.next() * healsAt });
  return faults;
}

/** How an end learns that its path was cut. */
export function noticeOf(random: SeededRandom): CutNotice {
  if (random.chance(0.5)) return random.integer(1, 2_000);
  return random.chance(0.5) ? "write" : "never";
}

/** The network conditions after healing. */
export function withoutFaults({ lag: _, ...conditions }: NetworkConditions): NetworkConditions {
  return { ...conditions, dialLoss: 0, splitGapMs: Math.min(conditions.splitGapMs, 300) };
}
