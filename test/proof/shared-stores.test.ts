import { beforeEach, expect, it } from "vitest";
import { Figures } from "../../proof/figures.js";
import { serversInTurn } from "../../proof/shared-restarts.js";
import { storeAway, storeLeaders } from "../../proof/store-failures.js";
import { requireHosts, requireTool } from "../support/tools.js";

beforeEach((context) => {
  requireHosts(context);
  requireTool(context, "etcd");
  requireTool(context, "etcdctl");
});

/** The scenarios of `npm run proof` with three servers and three etcd that can be short: not how long it takes is checked. */
it.each<readonly [title: string, play: (figures: Figures) => Promise<void>]>([
  [
    "three servers that share three etcd, of which the busiest is killed and started again twice: no link ends, no message is lost",
    (figures) => serversInTurn(figures, 3, 2),
  ],
  [
    "a store whose leader hangs twice, and another one takes over: nobody is lost, and who dies after that is",
    (figures) => storeLeaders(figures, 3, 2),
  ],
  [
    "a store that is away for a while: no link ends, and who waits for it is in when it is back",
    (figures) => storeAway(figures, 3, 12_000),
  ],
])("%s", { timeout: 180_000 }, async (_, play) => {
  const figures = new Figures();
  await play(figures);
  expect(figures.faults).toEqual([]);
  expect(figures.rows().length).toBeGreaterThan(0);
});
