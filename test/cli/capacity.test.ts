import { describe, expect, it } from "vitest";
import type { StartedProcess } from "../support/processes.js";
import { type EventLine, eventOf, fullmesh, parseLines, startServer } from "./command-line.js";

function linesOf(process: StartedProcess, name: string): EventLine[] {
  return parseLines(process.lines).filter(({ event }) => event === name);
}

/** A member that has registered, and its address. */
async function member(server: string, ...flags: string[]): Promise<{ process: StartedProcess; address: string }> {
  const process = fullmesh(["join", server, "--json", ...flags]);
  return { process, address: String((await eventOf(process, "registered")).address) };
}

/** Kills a member, and resolves when the server has printed that it is gone. */
async function kill(server: StartedProcess, { process, address }: Awaited<ReturnType<typeof member>>): Promise<void> {
  process.kill("SIGKILL");
  await process.exited();
  await server.line(
    (line) => /"event":"(lost|left)"/.test(line) && line.includes(`"${address}"`),
    `that ${address} is gone`,
  );
}

describe("a mesh with a capacity", () => {
  it.each(["native", "classic"])(
    "does not count a %s member that was killed, and is complete with the others only",
    async (dialect) => {
      const { server, address } = await startServer(["--capacity", "2", "--settle", "0.2"]);
      const first = await member(address, "--dialect", dialect);
      first.process.kill("SIGKILL");
      await first.process.exited();
      const second = await member(address, "--dialect", dialect);
      await server.line((line) => line.includes(first.address) && /"(lost|left)"/.test(line), "that the first is gone");
      const third = await member(address, "--dialect", dialect);
      for (const { process } of [second, third]) expect((await process.exited()).code).toBe(0);
      expect((await server.exited()).code).toBe(0);
      expect(linesOf(server, "complete")).toMatchObject([{ members: 2 }]);
      expect(linesOf(server, "teardown")).toMatchObject([{ members: 2, reason: "capacity reached", absent: [] }]);
      expect(linesOf(third.process, "directory").at(-1)).toMatchObject({ members: [second.address, third.address] });
    },
  );

  it.each([
    [4, 2],
    [12, 1],
  ])(
    "of %i is not complete with %i survivors and one newcomer, though killed members had filled it",
    async (capacity, left) => {
      const { server, address } = await startServer(["--capacity", `${capacity}`]);
      const members = await Promise.all(Array.from({ length: capacity - 1 }, () => member(address)));
      const survivors = members.slice(0, left);
      for (const { process } of members.slice(left)) process.kill("SIGKILL");
      const last = await member(address);
      for (const { process } of [...survivors, last]) {
        await eventOf(process, "directory", ({ members: listed }) => {
          return Array.isArray(listed) && listed.length === left + 1 && listed.includes(last.address);
        });
      }
      const newcomers = left + 2 === capacity ? [await member(address)] : [];
      if (newcomers.length === 0) server.kill("SIGTERM");
      else for (const { process } of [...survivors, last, ...newcomers]) expect((await process.exited()).code).toBe(0);
      expect((await server.exited()).code).toBe(newcomers.length === 0 ? 143 : 0);
      for (const process of [server, last.process, ...survivors.map((each) => each.process)]) {
        expect(linesOf(process, "complete").map((line) => line.members)).toEqual(newcomers.map(() => capacity));
      }
    },
  );

  it.each(["native", "classic"])(
    "in which a %s member dies when it is full ends as incomplete after --finish: all name the absent member, and exit with 3",
    async (dialect) => {
      const flags = ["--capacity", "3", "--finish", "2", "--settle", "30"];
      const { server, address } = await startServer(flags);
      // Two classic members keep a full mesh from ending before the settle time.
      const witness = await member(address, "--dialect", dialect);
      const stays = await member(address, "--dialect", "classic");
      const dies = await member(address, "--dialect", "classic");
      await kill(server, dies);
      for (const process of [witness.process, stays.process, server]) {
        expect((await process.exited()).code).toBe(3);
        expect(linesOf(process, "error")).toMatchObject([
          {
            code: "INCOMPLETE",
            message: expect.stringMatching(/not complete within 2 s: 2 of 3 members are there; not there: /),
          },
        ]);
        expect(process.errors + process.lines.join("")).toContain(dies.address);
      }
      const [end] = linesOf(server, "teardown");
      expect(end).toMatchObject({ members: 2, reason: "not complete within 2 s" });
      expect(end?.absent).toEqual([[dies.address, expect.stringMatching(/^left: /)]]);
      // It was complete with three members, or never.
      for (const { members } of linesOf(server, "complete")) expect(members).toBe(3);
    },
  );

  it("that has lost all members ends as well, and names them", async () => {
    const { server, address } = await startServer(["--capacity", "2", "--finish", "1", "--settle", "30"]);
    const classics = ["--dialect", "classic"];
    const members = [await member(address, ...classics), await member(address, ...classics)];
    for (const each of members) await kill(server, each);
    expect((await server.exited()).code).toBe(3);
    const [end] = linesOf(server, "teardown");
    expect(end).toMatchObject({ members: 0, reason: "not complete within 1 s" });
    expect(end?.absent).toHaveLength(2);
    expect(server.errors).toContain("0 of 2 members are there");
  });

  it("is given up by --timeout when a killed member had filled it", async () => {
    const { server, address } = await startServer(["--capacity", "2", "--timeout", "4"]);
    const first = await member(address);
    first.process.kill("SIGKILL");
    await first.process.exited();
    await member(address);
    expect((await server.exited()).code).toBe(3);
    expect(server.errors).toContain("1 of 2 members have joined");
    expect(linesOf(server, "complete")).toEqual([]);
  });

  it("is complete for a member with --timeout at the capacity, and not before", async () => {
    const { address } = await startServer(["--capacity", "2"]);
    const only = await member(address, "--timeout", "0.5");
    expect((await only.process.exited()).code).toBe(3);
    expect(linesOf(only.process, "complete")).toEqual([]);
  });
});
