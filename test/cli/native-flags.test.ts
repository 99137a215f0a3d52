import { describe, expect, it } from "vitest";
import type { StartedProcess } from "../support/processes.js";
import { proxyBefore } from "../support/proxy.js";
import { freePort } from "../support/sockets.js";
import { type EventLine, eventOf, fullmesh, parseLines, startServer } from "./command-line.js";

function member(address: string, ...args: readonly string[]): StartedProcess {
  return fullmesh(["join", address, "--json", ...args]);
}

function linesOf(process: StartedProcess, event: string): EventLine[] {
  return parseLines(process.lines).filter((line) => line.event === event);
}

function isComplete(size: number): (line: EventLine) => boolean {
  return ({ members, scope }) => members === size && scope === "mesh";
}

describe("fullmesh join --mesh", () => {
  it("keeps the meshes of one server apart, and each line names its own", async () => {
    const { server, address } = await startServer(["--capacity", "2", "--on-full", "hold"]);
    const members = ["red", "blue", "red", "blue"].map((mesh) => member(address, "--mesh", mesh));
    const addresses: unknown[] = [];
    for (const each of members) {
      await eventOf(each, "complete", isComplete(2));
      addresses.push((await eventOf(each, "registered")).address);
    }
    for (const [index, each] of members.entries()) {
      const mesh = index % 2 === 0 ? "red" : "blue";
      const partner = addresses[(index + 2) % 4];
      expect(linesOf(each, "link").map(({ peer }) => peer)).toEqual([partner]);
      expect(linesOf(each, "directory").at(-1)?.members).toEqual(expect.arrayContaining([addresses[index], partner]));
      expect(parseLines(each.lines).every((line) => line.mesh === mesh)).toBe(true);
      const joined = linesOf(server, "joined").find((line) => line.address === addresses[index]);
      expect(joined).toMatchObject({ mesh, dialect: "native" });
    }
    for (const mesh of ["red", "blue"]) await eventOf(server, "complete", (line) => line.mesh === mesh);
    expect(linesOf(server, "complete")).toHaveLength(2);
  });

  it.each([
    ["an empty name", ["--mesh", ""]],
    ["a name that is too long", ["--mesh", "x".repeat(65)]],
    ["a control character", ["--mesh", "a\nb"]],
    ["another mesh than default in classic", ["--mesh", "red", "--dialect", "classic"]],
  ])("exits with 2 for %s", async (_, args) => {
    const started = fullmesh(["join", "127.0.0.1:1", ...args]);
    expect((await started.exited()).code).toBe(2);
    expect(started.errors).toContain("BAD_OPTION: Expected `mesh` to be");
  });
});

describe("fullmesh join --name", () => {
  it("is what peers print, in events and in plain lines", async () => {
    const { address } = await startServer();
    const observer = member(address);
    const reader = fullmesh(["join", address]);
    await reader.error((text) => text.includes("registered as"), "its registration");
    const named = fullmesh(["join", address, "--json", "--name", "api-1"], { hasStdin: true });
    const peer = (await eventOf(named, "registered")).address;
    expect(await eventOf(observer, "link", (line) => line.peer === peer)).toMatchObject({ name: "api-1" });
    await reader.error((text) => text.includes(`linked with api-1 at ${peer} (dialed)`), "the name");
    await eventOf(named, "complete", isComplete(3));
    named.writeLine("hello");
    await reader.line((line) => line === "api-1 hello", "the message of api-1");
    expect(await eventOf(observer, "message")).toMatchObject({ peer, text: "hello" });
    // A member without a name has no such field.
    for (const line of linesOf(named, "link")) expect(line).not.toHaveProperty("name");
  });

  it.each([
    ["", []],
    ["x".repeat(65), []],
    ["api-1", ["--dialect", "classic"]],
  ])("exits with 2 for %j %j", async (name, more) => {
    const started = fullmesh(["join", "127.0.0.1:1", "--name", name, ...more]);
    expect((await started.exited()).code).toBe(2);
    expect(started.errors).toContain("BAD_OPTION: Expected `name` to be");
  });
});

describe("fullmesh join --server-lost", () => {
  it("ends this member alone with code 1 when the server has been away for so long", async () => {
    const { server, address } = await startServer();
    const [limited, unlimited] = [member(address, "--server-lost", "0.3"), member(address)];
    for (const each of [limited, unlimited]) await eventOf(each, "complete", isComplete(2));
    server.kill("SIGKILL");
    expect((await limited.exited()).code).toBe(1);
    expect(limited.errors).toContain("SERVER_VANISHED: no server for 300 ms");
    expect(linesOf(limited, "error")).toMatchObject([{ code: "SERVER_VANISHED" }]);
    await eventOf(unlimited, "unlink", ({ peer }) => peer === linesOf(limited, "registered")[0]?.address);
    expect(linesOf(unlimited, "closed")).toEqual([]);
  });

  it.each(["0", "soon"])("exits with 2 for %s", async (seconds) => {
    const started = fullmesh(["join", "127.0.0.1:1", "--server-lost", seconds]);
    expect((await started.exited()).code).toBe(2);
    expect(started.errors).toContain("Expected `server-lost` to be a number of seconds > 0");
  });
});

describe("fullmesh serve --finish", () => {
  it("ends a mesh that does not become complete after that time, names the pair, and exits with 3", async () => {
    const { server, address } = await startServer(["--capacity", "2", "--finish", "0.5"]);
    // The advertised addresses reach each member once, for the dial-back of the server, and then nobody.
    const behindProxy = async (): Promise<ReturnType<typeof member>> => {
      const port = await freePort();
      const proxy = await proxyBefore(() => port, 1);
      const started = member(address, "--listen", `127.0.0.1:${port}`, "--advertise", proxy.address);
      await eventOf(started, "registered");
      return started;
    };
    const first = await behindProxy();
    const second = await behindProxy();
    for (const each of [first, second]) expect((await each.exited()).code).toBe(3);
    expect((await server.exited()).code).toBe(3);
    const pair = [first, second].map((each) => String(linesOf(each, "registered")[0]?.address));
    const [end] = linesOf(server, "teardown");
    expect(end).toMatchObject({ members: 2, links: 0, unverified: 0 });
    expect(end?.missing).toMatchObject([
      { a: pair[0], b: pair[1], owner: pair[0], stage: expect.any(String), since: expect.any(Number) },
    ]);
    expect(end?.absent).toEqual([]);
    for (const each of [first, second]) {
      const [{ reason } = { reason: "" }] = linesOf(each, "teardown");
      expect(reason).toContain(`not complete within 0.5 s: 1 pair is not linked: ${pair.join(" should dial ")} (`);
      expect(linesOf(each, "error")).toMatchObject([{ code: "INCOMPLETE", message: reason }]);
    }
    expect(linesOf(server, "complete")).toEqual([]);
    expect(server.errors).toContain('"INCOMPLETE"');
    expect(server.errors).toContain(`${pair.join(" should dial ")} (`);
  });
});

describe("a link whose connection breaks", () => {
  it("is printed as `relink` by each end, and not as `unlink`", async () => {
    const { address } = await startServer();
    const first = member(address);
    await eventOf(first, "registered");
    const port = await freePort();
    const proxy = await proxyBefore(() => port);
    const second = member(address, "--listen", `127.0.0.1:${port}`, "--advertise", proxy.address);
    for (const each of [first, second]) await eventOf(each, "complete", isComplete(2));
    const peers = [proxy.address, linesOf(first, "registered")[0]?.address];
    proxy.cut();
    const relinks = await Promise.all([first, second].map((each) => eventOf(each, "relink")));
    expect(relinks).toMatchObject([
      { peer: peers[0], direction: "dialed", dialect: "native" },
      { peer: peers[1], direction: "accepted", dialect: "native" },
    ]);
    for (const each of [first, second]) {
      expect(linesOf(each, "unlink")).toEqual([]);
      expect(linesOf(each, "link")).toHaveLength(1);
    }
  });
});
