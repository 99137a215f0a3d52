import { expect, it } from "vitest";
import { killedAtOnce } from "../../proof/deaths.js";
import { Figures } from "../../proof/figures.js";
import { restartInWireUp, serverRestarts } from "../../proof/restarts.js";
import { servingProcessKilled } from "../../proof/siblings.js";

/** The scenarios of `npm run proof` that can be short: what happens is checked, and not how long it takes. */
it.each<readonly [title: string, play: (figures: Figures) => Promise<void>]>([
  [
    "a mesh whose server is killed and started empty: no link ends, no message is lost or repeated, orders and ranks stay, and who came meanwhile gets in",
    (figures) => serverRestarts(figures, { members: 6, rounds: 2, awayMs: 2_000, keys: 0 }),
  ],
  [
    "a server that is killed while members join, and started empty: all are in, and no link ends",
    (figures) => restartInWireUp(figures, 8, [2]),
  ],
  [
    "a server and all members that are killed at once, and started at the same addresses: whole again, as others",
    (figures) => killedAtOnce(figures, 6, 0, 6),
  ],
  [
    "siblings of which the one that serves is killed, five times: no link ends but its own, no message is lost or repeated; all killed and started: whole",
    (figures) => servingProcessKilled(figures, 4, 5),
  ],
])("%s", { timeout: 120_000 }, async (_, play) => {
  const figures = new Figures();
  await play(figures);
  expect(figures.faults).toEqual([]);
  expect(figures.rows().length).toBeGreaterThan(0);
});
