import { describe, expect, it } from "vitest";
import type { StartedProcess } from "../support/processes.js";
import { freePort } from "../support/sockets.js";
import { eventOf, fullmesh, parseLines, startServer } from "./command-line.js";

function member(server: string): StartedProcess {
  return fullmesh(["join", server, "--json"]);
}

/** So many members, admitted one after the other. */
async function admitted(server: string, count: number): Promise<StartedProcess[]> {
  const members: StartedProcess[] = [];
  for (let index = 0; index < count; index += 1) {
    const joined = member(server);
    await eventOf(joined, "registered");
    members.push(joined);
  }
  return members;
}

/** So many who stand in line, one behind the other. */
async function inLine(server: string, count: number): Promise<StartedProcess[]> {
  const line: StartedProcess[] = [];
  for (let place = 1; place <= count; place += 1) {
    const waits = member(server);
    await eventOf(waits, "waiting", (event) => event.place === place);
    line.push(waits);
  }
  return line;
}

function isIn(process: StartedProcess): boolean {
  return parseLines(process.lines).some(({ event }) => event === "registered");
}

/** Starts the server at this address, which knows nobody. */
async function startAgain(address: string, ...flags: readonly string[]): Promise<StartedProcess> {
  const server = fullmesh(["serve", "--json", "--listen", address, ...flags]);
  await eventOf(server, "listening");
  return server;
}

describe("the waiting line of a mesh that is full", () => {
  it("tells each its place, lets in the first when a member leaves, and moves up; who gives up says where it stood", async () => {
    const { address } = await startServer(["--capacity", "4", "--on-full", "hold"]);
    const members = await admitted(address, 4);
    const [first, second, third] = (await inLine(address, 3)) as [StartedProcess, StartedProcess, StartedProcess];
    const impatient = fullmesh(["join", address, "--timeout", "1"]);
    expect((await impatient.exited()).code).toBe(3);
    expect(impatient.errors).toMatch(
      /TIMED_OUT: after 1000 ms .* has not admitted .*, which is number 4 in the waiting line/,
    );
    members[0]?.kill("SIGTERM");
    await eventOf(first, "registered");
    await eventOf(second, "waiting", ({ place }) => place === 1);
    await eventOf(third, "waiting", ({ place }) => place === 2);
    expect([second, third].map(isIn)).toEqual([false, false]);
  });

  it("is not held up by a first one that is stopped, which takes the next free slot when it goes on", async () => {
    const { address } = await startServer(["--capacity", "2", "--on-full", "hold"]);
    const members = await admitted(address, 2);
    const [stopped, second] = (await inLine(address, 2)) as [StartedProcess, StartedProcess];
    stopped.kill("SIGSTOP");
    members[0]?.kill("SIGTERM");
    await eventOf(second, "registered");
    members[1]?.kill("SIGTERM");
    await members[1]?.exited();
    stopped.kill("SIGCONT");
    await eventOf(stopped, "registered");
    expect(parseLines(stopped.lines).filter(({ event }) => event === "error")).toEqual([]);
  });

  it("has whoever was stopped for so long that the server gave it up at its end again, or in a free slot", async () => {
    const { server, address } = await startServer(["--capacity", "1", "--on-full", "hold"]);
    const [only] = (await admitted(address, 1)) as [StartedProcess];
    const [stopped] = (await inLine(address, 1)) as [StartedProcess];
    stopped.kill("SIGSTOP");
    only.kill("SIGTERM");
    await server.error((text) => text.includes("SILENT"), "that it has given up the stopped one");
    const [next] = (await admitted(address, 1)) as [StartedProcess];
    stopped.kill("SIGCONT");
    await server.line(
      () => parseLines(server.lines).filter(({ event }) => event === "waiting").length === 2,
      "that it stands in line again",
    );
    next.kill("SIGTERM");
    await eventOf(stopped, "registered");
  });

  it("comes behind the members of a server that has lost its memory, who keep their slots though they are late", async () => {
    const flags = ["--capacity", "3", "--on-full", "hold"];
    const address = `127.0.0.1:${await freePort()}`;
    const before = await startAgain(address, ...flags);
    const members = await admitted(address, 3);
    await Promise.all(members.map((each) => eventOf(each, "complete", (event) => event.members === 3)));
    const [waits] = (await inLine(address, 1)) as [StartedProcess];
    // Two members are late: they go on only when newcomers have asked for their slots.
    const [early, ...late] = members as [StartedProcess, ...StartedProcess[]];
    for (const each of [waits, ...late]) each.kill("SIGSTOP");
    await before.stop();
    const after = await startAgain(address, ...flags);
    await eventOf(early, "server:back");
    waits.kill("SIGCONT");
    const newcomer = member(address);
    await eventOf(newcomer, "waiting");
    await eventOf(waits, "waiting", ({ at }) => at > (parseLines(after.lines)[0]?.at ?? 0));
    for (const each of late) each.kill("SIGCONT");
    await Promise.all(late.map((each) => eventOf(each, "server:back")));
    for (const each of members) await eventOf(each, "complete", ({ members: count, at }) => count === 3 && at > 0);
    expect([waits, newcomer].map(isIn)).toEqual([false, false]);
    expect(parseLines(after.lines).filter(({ event, returned }) => event === "joined" && returned !== true)).toEqual(
      [],
    );
    early.kill("SIGTERM");
    await Promise.race([eventOf(waits, "registered"), eventOf(newcomer, "registered")]);
    expect([waits, newcomer].filter(isIn)).toHaveLength(1);
  });
});
