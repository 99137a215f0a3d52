import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import type { Figures } from "./figures.js";
import { restartInWireUp, serverRestarts } from "./restarts.js";

/** By its name, each scenario. It rejects when something does not come about at all. */
export const scenarios: Readonly<Record<string, (figures: Figures) => Promise<void>>> = {
  restarts: (figures) => serverRestarts(figures, { members: 12, rounds: 20, awayMs: 5_000 }),
  "restarts-secret": (figures) =>
    serverRestarts(figures, { members: 12, rounds: 3, awayMs: 5_000, secret: randomBytes(32).toString("base64url") }),
  "restarts-clock-back": (figures) =>
    serverRestarts(figures, { members: 12, rounds: 2, awayMs: 5_000, fakeTime: twoHoursBack() }),
  "restarts-long": (figures) => serverRestarts(figures, { members: 12, rounds: 1, awayMs: 60_000 }),
  "restarts-wire-up": (figures) => restartInWireUp(figures, 32, [1, 8, 16, 24, 31]),
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
