import { setTimeout as pause } from "node:timers/promises";
import type { Figures } from "./figures.js";
import { type LoadedMember, plainEnvironment, programPath } from "./loaded-mesh.js";
import { reportUntouched, SharedSite } from "./shared-site.js";

/** From when the store is back until those that wait for it are in. */
const answeredMs = 5_000;

/** The leader of the store hangs, and another one takes over, so often in a row: nobody is lost, and who dies after that is. */
export async function storeLeaders(figures: Figures, members: number, changes: number): Promise<void> {
  await using site = await SharedSite.start(["c0"], []);
  const all = await meshOf(site, members);
  let leader = await site.leader();
  for (let change = 0; change < changes; change += 1) {
    const changedFrom = performance.now();
    site.stop("etcd", leader);
    const next = await otherLeader(site, leader);
    figures.time("another one leads", performance.now() - changedFrom);
    site.goOn("etcd", leader);
    leader = next;
  }
  await Promise.all(all.map((member) => member.complete(members)));
  reportUntouched(figures, all);
  const [dead, ...rest] = all as [LoadedMember, ...LoadedMember[]];
  const { id } = await dead.report();
  const diesAt = Date.now();
  dead.process.kill("SIGKILL");
  const told = await Promise.all(
    rest.map((member) => member.when(({ type, peer }) => type === "peer:down" && peer === id, "that it is lost")),
  );
  figures.time("a member that dies after that is lost", Math.max(...told.map(({ at }) => at)) - diesAt, 45_000);
}

/** Every member of the store is away for a while: the mesh does not notice, and who comes meanwhile is in soon after. */
export async function storeAway(figures: Figures, members: number, awayMs: number): Promise<void> {
  await using site = await SharedSite.start(["c0"], []);
  const all = await meshOf(site, members);
  for (const index of [0, 1, 2]) site.kill("etcd", index);
  // By then the servers know it.
  await pause(10_000);
  figures.none("joins without a store that are told something else", await refusedOtherwise(site));
  const newcomer = site.member("c0", 0, { timeoutMs: 2 * awayMs });
  await newcomer.nth("started");
  await pause(awayMs - 10_000);
  await Promise.all([0, 1, 2].map((index) => site.startAgain("etcd", index)));
  const backAt = Date.now();
  figures.time("who waited is in", (await newcomer.nth("registered")).at - backAt, answeredMs);
  await Promise.all([...all, newcomer].map((member) => member.complete(members + 1)));
  figures.time("whole with it", Date.now() - backAt);
  reportUntouched(figures, all);
}

/** Somebody joins who does not wait long: what it is told if that is not that the store is away, and when to come back. */
async function refusedOtherwise(site: SharedSite): Promise<unknown[]> {
  const options = {
    joins: 1,
    atOnce: 1,
    stayMs: 1,
    timeoutMs: 4_000,
    listen: `${site.hosts.address("c0")}:0`,
    insecure: true,
  };
  const args = [programPath("churning-clients.mjs"), site.servers.join(","), JSON.stringify(options)];
  const client = site.hosts.run("c0", args, { env: plainEnvironment() });
  const line = await client.line((text) => text.includes('"join"'), "what became of its join", 60_000);
  return line.includes("STORE_UNAVAILABLE: ") ? [] : [JSON.parse(line)];
}

async function meshOf(site: SharedSite, members: number): Promise<LoadedMember[]> {
  const all = Array.from({ length: members }, (_, index) => site.member("c0", index));
  await Promise.all(all.map((member) => member.complete(members)));
  return all;
}

/** Who leads the store, once that is somebody else. */
async function otherLeader(site: SharedSite, before: number): Promise<number> {
  for (;;) {
    const leader = await site.leader();
    if (leader >= 0 && leader !== before) return leader;
    await pause(100);
  }
}
