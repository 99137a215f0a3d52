import type { Figures } from "./figures.js";
import { type Counts, type LoadedMember, main, plainEnvironment, settle } from "./loaded-mesh.js";
import { reportUntouched, SharedSite } from "./shared-site.js";

/** How long members may be without a server when theirs is killed. */
const elsewhereMs = 2_000;

/**
 * Of three servers that share their logs the one with the most members is killed and started again, round after round, under
 * load in all directions: its members resume at another one, no link ends, no message is lost.
 */
export async function serversInTurn(figures: Figures, members: number, rounds: number): Promise<void> {
  await using site = await SharedSite.start(["c0"], []);
  const all = Array.from({ length: members }, (_, index) => {
    return site.member("c0", index, index < 4 ? { claim: "job" } : {});
  });
  await Promise.all(all.map((member) => member.complete(members)));
  const before = await Promise.all(all.map((member) => member.report()));
  for (let round = 1; round <= rounds; round += 1) await killBusiest(figures, site, all);
  const after = await settle(all);
  figures.none(
    "messages lost or repeated",
    after.flatMap(({ faults }) => faults),
  );
  const place = ({ id, order, rank }: Counts): string => `${id} has order ${order} and rank ${rank}`;
  figures.none(
    "ids, orders or ranks changed",
    before.map(place).filter((was, index) => was !== after.map(place)[index]),
  );
  reportUntouched(figures, all);
}

async function killBusiest(figures: Figures, site: SharedSite, all: readonly LoadedMember[]): Promise<void> {
  const busiest = await mostConnected(site);
  const losses = all.map((member) => timesOf(member, "server:lost"));
  const killedAt = Date.now();
  site.kill("server", busiest);
  await site.startAgain("server", busiest);
  await Promise.all(all.map((member) => member.complete(all.length)));
  const moved = all.filter((member, index) => timesOf(member, "server:lost") > (losses[index] ?? 0));
  figures.count("members that had to move", moved.length);
  for (const member of moved) {
    const { at } = await member.nth("server:back", timesOf(member, "server:lost"));
    figures.time("resumed at another server", at - killedAt, elsewhereMs);
  }
  await settle(all);
  for (const { process } of all) process.writeLine("resume");
}

function timesOf({ happenings }: LoadedMember, wanted: string): number {
  return happenings.filter(({ type }) => type === wanted).length;
}

/** The server with the most connections. */
async function mostConnected(site: SharedSite): Promise<number> {
  const connections = await Promise.all(
    site.servers.map(async (server) => {
      const asked = site.hosts.run("c0", [main, "status", server, "--json"], { env: plainEnvironment() });
      await asked.exited();
      const [line = "{}"] = asked.lines;
      return (JSON.parse(line) as { server: { connections: number } }).server.connections;
    }),
  );
  return connections.indexOf(Math.max(...connections));
}
