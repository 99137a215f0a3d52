import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished, type TestContext } from "vitest";
import { requireTool } from "../support/tools.js";
import { eventOf, fullmesh } from "./command-line.js";
import { Terminal } from "./terminal.js";

/** `up N --stay` on a terminal of 40 rows and 100 columns, once its mesh is complete. */
async function live(context: TestContext, size: number, ...flags: readonly string[]): Promise<Terminal> {
  const script = requireTool(context, "script");
  const args = ["up", String(size), "--stay", ...flags];
  const sized = (command: string): string => `stty rows 40 cols 100; ${command}`;
  const terminal = new Terminal(script, args, { NO_COLOR: "1" }, sized);
  await terminal.has(`complete: each pair of the ${size} members is linked`);
  return terminal;
}

async function quit(terminal: Terminal): Promise<void> {
  terminal.type("q");
  expect(await terminal.exited).toBe(0);
  // The last picture is that of the mesh, not that of what its end leaves.
  expect(terminal.drawn.slice(terminal.drawn.lastIndexOf('mesh "default" at'))).not.toContain("THE SERVER IS AWAY");
}

/** The processes below this one. */
function descendants(pid: number): number[] {
  const rows = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
  const pairs = rows.map((row) => row.trim().split(/\s+/).map(Number) as [number, number]);
  const children = pairs.filter(([, parent]) => parent === pid).map(([child]) => child);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** Resolves when this process, which need not be ours, has ended. */
async function ended(pid: number): Promise<void> {
  await promisify(execFile)("tail", ["--pid", String(pid), "-f", "/dev/null"]);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Listens at this port as soon as nobody else does. */
async function firstListener(port: number): Promise<Server> {
  for (;;) {
    const server = createServer((socket) => socket.destroy());
    onTestFinished(() => void server.close());
    try {
      await once(server.listen(port, "127.0.0.1"), "listening");
      return server;
    } catch (error) {
      expect(error).toMatchObject({ code: "EADDRINUSE" });
    }
  }
}

describe("the keys of fullmesh up --stay", () => {
  it("k kills the newest member or those with the numbers, and the picture has them no more", async (context) => {
    const terminal = await live(context, 4);
    await terminal.has(/ {2}1 {2}127\.0\.0\.1:\d+ {2}\\ [>*] [>*] [>*]/);
    const drawn = await terminal.answer("k", "complete: each pair of the 3 members is linked, by 3 links");
    expect(drawn).toMatch(/you killed member 4 \(kill -9, pid \d+\)/);
    expect(drawn).toMatch(/member 4 was lost: .*ECONNREFUSED/);
    expect(drawn).toContain("3 members, 3 of 3 links");
    // The numbers of the others stay.
    expect(await terminal.answer("1k", "2 members, 1 of 1 link, complete")).toContain("you killed member 1 (");
    expect(await terminal.answer("7k", "there is no member 7")).not.toContain("you killed member 7");
    await quit(terminal);
  });

  it("a adds a member, which all others dial", async (context) => {
    const terminal = await live(context, 2);
    const drawn = await terminal.answer("a", "complete: each pair of the 3 members is linked, by 3 links");
    expect(drawn).toContain("member 3 has joined; the 2 before it will dial it");
    await quit(terminal);
  });

  it("c cuts a connection, which the earlier member of the two dials again", async (context) => {
    const terminal = await live(context, 3);
    const drawn = await terminal.answer("2 3c", /linked\s+again\s+after\s+\d+\s+m?s/);
    expect(drawn).toContain("you cut the connection of member 2 and member 3");
    expect(drawn.replaceAll(/\s+/g, " ")).toContain("member 2 is to dial again, because it joined before member 3");
    // Neither other pair has turned.
    expect(drawn).not.toContain("of member 1 and member");
    await quit(terminal);
  });

  it("p keeps two members from one another, says who dials and why in vain, and heals at the next p", async (context) => {
    const terminal = await live(context, 3);
    const apart = await terminal.answer(
      "1 3p",
      /member 1 is to dial member 3, because it joined first: no connection, [^:]*:\s+EHOSTUNREACH/,
    );
    expect(apart).toContain("member 1 and member 3 are partitioned");
    expect(apart).toContain("3 members, 2 of 3 links, not complete");
    const healed = await terminal.answer("p", /linked\s+again,?\s+after/);
    expect(healed).toContain("member 1 and member 3 can reach one another again");
    await terminal.has("3 members, 3 of 3 links, complete");
    // The same pair again heals it too, and no other one.
    await terminal.answer("1 2p", "member 1 and member 2 are partitioned");
    await terminal.answer("2 3p", "member 2 and member 3 are partitioned");
    await terminal.answer("2 1p", "member 1 and member 2 can reach one another again");
    expect(await terminal.answer("p", "member 2 and member 3 can reach one another again")).not.toContain(
      "member 1 and member 2 are partitioned",
    );
    await quit(terminal);
  });

  it("s stops a member and lets it go on", async (context) => {
    const terminal = await live(context, 2);
    expect(await terminal.answer("2s", "you stopped member 2 (SIGSTOP)")).toContain("member 2 is stopped");
    await terminal.answer("s", "you let member 2 go on (SIGCONT)");
    await quit(terminal);
  });

  it("d ends the server, whose members keep their links, and another one learns the mesh from them", async (context) => {
    const terminal = await live(context, 3);
    const drawn = await terminal.answer("d", "the new server has learned the mesh from its 3 members");
    expect(drawn).toContain("THE SERVER IS AWAY");
    expect(drawn).not.toContain("broke");
    expect(drawn).toContain("the server runs again; its members look for it, and find it by themselves");
    await terminal.answer("a", "complete: each pair of the 4 members is linked, by 6 links");
    // One that joins while others have not come back yet is dialed by them too.
    await terminal.answer("d", "THE SERVER IS AWAY");
    const grown = await terminal.answer("a", /member 5 has joined; the (\d+) before it/);
    expect(grown).toContain("member 5 has joined; the 4 before it will dial it");
    await quit(terminal);
  });

  it("d starts the server again as soon as its port is free, if somebody else has taken that meanwhile", async (context) => {
    const terminal = await live(context, 2);
    const [, port] = /mesh "default" at 127\.0\.0\.1:(\d+)/.exec(terminal.drawn) ?? [];
    await terminal.answer("d", "you ended the server");
    const intruder = await firstListener(Number(port));
    await terminal.has("the server cannot be started, and is tried again in 3 s");
    intruder.close();
    await terminal.has("the new server has learned the mesh from its 2 members");
    await quit(terminal);
  });

  it("lets classic members dial again after a cut, and shows what they report", async (context) => {
    const terminal = await live(context, 3, "--dialect", "classic");
    const drawn = await terminal.answer("1 2c", /linked\s+again,\s+after/);
    expect(drawn).toContain("3 members, 2 of 3 links");
    await terminal.has("3 members, 3 of 3 links");
    await quit(terminal);
  });

  it("says of a classic member that has gone that its link broke, and not that somebody dials it again", async (context) => {
    const terminal = await live(context, 2, "--dialect", "classic");
    const drawn = await terminal.answer("2k", /the connection of member 1 and member 2\s+broke/);
    expect(drawn).not.toMatch(/to\s+dial\s+again/);
    await quit(terminal);
  });

  for (const [name, key, code] of [
    ["q", "q", 0],
    ["Ctrl-C", "\u0003", 130],
    ["SIGTERM", undefined, 143],
  ] as const) {
    it(`${name} leaves the terminal as it was, and no process behind`, async (context) => {
      const script = requireTool(context, "script");
      const folder = mkdtempSync(join(tmpdir(), "fullmesh-keys-"));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
      const around = (command: string): string =>
        `stty rows 40 cols 100; stty -a > ${folder}/before; ${command}; code=$?; stty -a > ${folder}/after; exit $code`;
      const terminal = new Terminal(script, ["up", "3", "--stay"], {}, around);
      await terminal.has("complete: each pair of the 3 members");
      const processes = descendants(terminal.pid ?? 0);
      // The shell, the command and its members.
      expect(processes.length).toBeGreaterThanOrEqual(5);
      if (key !== undefined) terminal.type(key);
      // The shell is the first, and the command comes behind it.
      else process.kill(processes[1] ?? 0, "SIGTERM");
      expect(await terminal.exited).toBe(code);
      expect(processes.filter(isAlive)).toEqual([]);
      expect(readFileSync(`${folder}/after`, "utf8")).toBe(readFileSync(`${folder}/before`, "utf8"));
      // The cursor is shown again.
      expect(terminal.drawn.lastIndexOf("ESC[?25h")).toBeGreaterThan(terminal.drawn.lastIndexOf("ESC[?25l"));
    });
  }

  it("ends the members also when up is killed", async () => {
    const up = fullmesh(["up", "2", "--stay", "--json"]);
    await eventOf(up, "complete", ({ node }) => node === null);
    const members = descendants(up.pid ?? 0);
    expect(members).toHaveLength(2);
    up.kill("SIGKILL");
    await up.exited();
    for (const member of members) await ended(member);
  });
});
