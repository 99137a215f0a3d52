import { describe, expect, it } from "vitest";
import type { StartedProcess } from "../support/processes.js";
import { freePort } from "../support/sockets.js";
import { eventOf, fullmesh, parseLines, startServer } from "./command-line.js";

/** How many times the member is killed and started again. */
const restarts = 20;

async function members(address: string, count: number): Promise<StartedProcess[]> {
  const processes = Array.from({ length: count }, () => fullmesh(["join", address, "--json"]));
  for (const process of processes) await eventOf(process, "registered");
  return processes;
}

/** The `link` and `unlink` events of a process for one peer, in order. */
function linkEvents(process: StartedProcess, peer: string): string[] {
  const lines = parseLines(process.lines).filter((line) => line.peer === peer);
  return lines.map(({ event }) => event).filter((event) => event.endsWith("link"));
}

describe("a native member process", () => {
  it(`restarts ${restarts} times at the same address after kill -9, and each peer prints every link and unlink once`, async () => {
    const { server, address } = await startServer();
    const others = await members(address, 2);
    const own = `127.0.0.1:${await freePort()}`;
    for (let run = 1; run <= restarts; run += 1) {
      const member = fullmesh(["join", address, "--json", "--listen", own]);
      for (const other of others) await other.line(() => linkEvents(other, own).length === 2 * run - 1, "the link");
      member.kill("SIGKILL");
      await member.exited();
    }
    for (const other of others) {
      await other.line(() => linkEvents(other, own).length === 2 * restarts, "the last unlink");
      const expected = Array.from({ length: restarts }, () => ["link", "unlink"]).flat();
      expect(linkEvents(other, own)).toEqual(expected);
    }
    await eventOf(server, "lost", (line) => line.address === own);
    // Each run is one entry of the log, whether the one before was lost or replaced.
    const joins = parseLines(server.lines).filter((line) => line.event === "joined" && line.address === own);
    expect(new Set(joins.map(({ order }) => order)).size).toBe(restarts);
  }, 60_000);

  it("is lost for all peers when it is killed, before a lease has passed", async () => {
    const { server, address } = await startServer();
    const [victim, ...others] = await members(address, 4);
    if (victim === undefined) throw new Error("no such member");
    const gone = String((await eventOf(victim, "registered")).address);
    for (const other of others) await eventOf(other, "link", ({ peer }) => peer === gone);
    await eventOf(victim, "complete", (line) => line.members === 4);
    victim.kill("SIGKILL");
    const lost = await eventOf(server, "lost", (line) => line.address === gone);
    expect(lost).toMatchObject({ dialect: "native" });
    for (const other of others) {
      const { reason } = await eventOf(other, "unlink", ({ peer }) => peer === gone);
      expect(reason).toMatch(/^lost/);
      expect(linkEvents(other, gone)).toEqual(["link", "unlink"]);
    }
  });

  it("leaves at SIGTERM: the server prints left, peers print unlink, and the exit code is 128 + 15", async () => {
    const { server, address } = await startServer();
    const [leaver, stayer] = await members(address, 2);
    if (leaver === undefined || stayer === undefined) throw new Error("no such member");
    const gone = String((await eventOf(leaver, "registered")).address);
    await eventOf(stayer, "link", ({ peer }) => peer === gone);
    leaver.kill("SIGTERM");
    await eventOf(server, "left", (line) => line.address === gone);
    expect((await leaver.exited()).code).toBe(128 + 15);
    expect(await eventOf(stayer, "unlink", ({ peer }) => peer === gone)).toMatchObject({ unacknowledged: 0 });
    expect(leaver.errors).not.toContain("fullmesh:");
  });
});
