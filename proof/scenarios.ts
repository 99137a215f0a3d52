import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { contestedClaim } from "./claims.js";
import { cutOffInRestart } from "./cut-off.js";
import { killedAtOnce } from "./deaths.js";
import type { Figures } from "./figures.js";
import { restartInWireUp, serverRestarts } from "./restarts.js";
import { serversInTurn } from "./shared-restarts.js";
import { servingProcessKilled } from "./siblings.js";
import { leaderStops, memberStops, serverStops } from "./stops.js";
import { storeAway, storeLeaders } from "./store-failures.js";
import { storeBytes, storeThroughput } from "./store-figures.js";
import { storms } from "./store-storm.js";

/** The members of a mesh whose server restarts, and the keys that they claim. */
const twelve = { members: 12, keys: 3 };

/** By its name, each scenario. It rejects when something does not come about at all. */
export const scenarios: Readonly<Record<string, (figures: Figures) => Promise<void>>> = {
  restarts: (figures) => serverRestarts(figures, { rounds: 20, awayMs: 5_000, ...twelve }),
  "restarts-secret": (figures) =>
    serverRestarts(figures, { rounds: 20, awayMs: 5_000, ...twelve, secret: randomBytes(32).toString("base64url") }),
  "restarts-clock-back": (figures) =>
    serverRestarts(figures, { rounds: 5, awayMs: 5_000, ...twelve, fakeTime: twoHoursBack() }),
  "restarts-long": (figures) => serverRestarts(figures, { rounds: 1, awayMs: 60_000, ...twelve }),
  "restarts-wire-up": (figures) => restartInWireUp(figures, 32, [1, 8, 16, 24, 31]),
  "cut-off-in-restart": (figures) => cutOffInRestart(figures, 30_000),
  "all-killed": (figures) => killedAtOnce(figures, 12, 0, 12),
  "survivors-and-returning": (figures) => killedAtOnce(figures, 12, 3, 9),
  "survivors-alone": (figures) => killedAtOnce(figures, 12, 6, 0),
  "member-stops-10-s": (figures) => memberStops(figures, 10_000, false),
  "member-stops-60-s": (figures) => memberStops(figures, 60_000, true),
  "leader-stops": leaderStops,
  "server-stops": (figures) => serverStops(figures, 30_000),
  siblings: (figures) => servingProcessKilled(figures, 6, 50),
  "shared-servers": (figures) => serversInTurn(figures, 12, 20),
  "store-storm": (figures) => storms(figures, 500, 15_000),
  "store-leaders": (figures) => storeLeaders(figures, 9, 20),
  "store-away": (figures) => storeAway(figures, 9, 60_000),
  "store-throughput": (figures) => storeThroughput(figures, [1, 10, 100], 300),
  "store-bytes": (figures) => storeBytes(figures, 64, { joins: 1_000, stayMs: 100, withinMs: 300_000 }),
  claims: (figures) => contestedClaim(figures, 60, 10, 1),
};

/** These run only if they are named: each takes an hour. */
export const longScenarios: typeof scenarios = {
  "store-bytes-hour": (figures) => storeBytes(figures, 64, { joins: 4_000, stayMs: 3_500, withinMs: 7_200_000 }),
};

/** The environment of a process whose wall clock is two hours late. */
function twoHoursBack(): { readonly env: Readonly<Record<string, string>>; readonly offsetMs: number } {
  const library = ["x86_64", "aarch64"]
    .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`)
    .find((path) => existsSync(path));
  if (library === undefined) throw new Error("this scenario needs libfaketime (apt-get install faketime)");
  const env = { LD_PRELOAD: library, FAKETIME: "-2h", FAKETIME_DONT_FAKE_MONOTONIC: "1" };
  return { env, offsetMs: -2 * 3_600_000 };
}
