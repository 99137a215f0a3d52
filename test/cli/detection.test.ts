import { describe, expect, it } from "vitest";
import { eventOf, fullmesh, startServer } from "./command-line.js";

describe("--silent and --lease", () => {
  it("say how soon a server finds a member that is stopped to be lost; it joins again when it goes on", async () => {
    const { server, address } = await startServer(["--silent", "1", "--lease", "2"]);
    const member = fullmesh(["join", address, "--json", "--silent", "1"]);
    const { address: own } = await eventOf(member, "registered");
    const other = fullmesh(["join", address, "--json", "--silent", "1"]);
    await eventOf(other, "complete", ({ members }) => members === 2);
    member.kill("SIGSTOP");
    // By default it would take longer than a test waits.
    const lost = await eventOf(server, "lost", (line) => line.address === own);
    expect(lost.reason).toContain("not back within 2 s");
    expect(server.errors).toContain("nothing came for 1 s");
    await eventOf(other, "unlink", ({ peer }) => peer === own);
    expect(other.errors).toContain("nothing came in time");
    member.kill("SIGCONT");
    await eventOf(member, "fenced");
    await eventOf(other, "complete", ({ members, at }) => members === 2 && at > lost.at);
  });

  it.each([
    [["--silent", "30"], "Expected `silent` to be at most the lease (--lease), which is 20 s, got 30"],
    [["--lease", "10"], "Expected `silent` to be at most the lease (--lease), which is 10 s, got 15"],
    [["--silent", "0.5"], 'Expected `silent` to be a number of seconds from 1 to 3600, got "0.5"'],
    [["--lease", "3601"], 'Expected `lease` to be a number of seconds from 1 to 3600, got "3601"'],
    [["--lease", "soon"], 'Expected `lease` to be a number of seconds from 1 to 3600, got "soon"'],
  ])("%j is refused by a server, with what is wrong", async (flags, message) => {
    const started = fullmesh(["serve", "--listen", "127.0.0.1:0", ...flags]);
    expect((await started.exited()).code).toBe(2);
    expect(started.errors).toContain(`BAD_OPTION: ${message}`);
  });

  it("--silent is checked by a member, too, which learns the lease from its server", async () => {
    const started = fullmesh(["join", "127.0.0.1:1", "--silent", "0.5"]);
    expect((await started.exited()).code).toBe(2);
    expect(started.errors).toContain(
      'BAD_OPTION: Expected `silent` to be a number of seconds from 1 to 3600, got "0.5"',
    );
    const other = fullmesh(["join", "127.0.0.1:1", "--lease", "20"]);
    expect((await other.exited()).code).toBe(2);
    expect(other.errors).toContain("--lease");
  });

  it("are read from FULLMESH_SILENT and FULLMESH_LEASE, too", async () => {
    const env = { ...process.env, FULLMESH_SILENT: "8", FULLMESH_LEASE: "7" };
    const started = fullmesh(["serve", "--listen", "127.0.0.1:0"], { env });
    expect((await started.exited()).code).toBe(2);
    expect(started.errors).toContain("at most the lease (--lease), which is 7 s, got 8");
  });
});
