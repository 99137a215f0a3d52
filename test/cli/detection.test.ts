import { describe, expect, it } from "vitest";
import { eventOf, fullmesh, startServer } from "./command-line.js";

describe("--silent and --lease", () => {
  it("say how soon a server finds a member that is stopped to be lost; it joins again when it goes on", async () => {
    const { server, address } = await startServer(["--silent", "1", "--lease", "2"]);
    const member = fullmesh(["join", address, "--json", "--silent", "1", "--lease", "2"]);
    const { address: own } = await eventOf(member, "registered");
    const other = fullmesh(["join", address, "--json", "--silent", "1", "--lease", "2"]);
    await eventOf(other, "complete", ({ members }) => members === 2);
    member.kill("SIGSTOP");
    // By default it would take longer than a test waits.
    const lost = await eventOf(server, "lost", (line) => line.address === own);
    expect(lost.reason).toContain("not back within 2 s");
    expect(server.errors).toContain("nothing came for 1 s");
    await eventOf(other, "unlink", ({ peer }) => peer === own);
    expect(other.errors).toContain("nothing came for 1000 ms");
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
  ])("%j is refused, by a server as by a member, with what is wrong", async (flags, message) => {
    for (const command of [
      ["serve", "--listen", "127.0.0.1:0"],
      ["join", "127.0.0.1:1"],
    ]) {
      const started = fullmesh([...command, ...flags]);
      expect((await started.exited()).code).toBe(2);
      expect(started.errors).toContain(`BAD_OPTION: ${message}`);
    }
  });

  it("are read from FULLMESH_SILENT and FULLMESH_LEASE, too", async () => {
    const env = { ...process.env, FULLMESH_SILENT: "8", FULLMESH_LEASE: "7" };
    const started = fullmesh(["serve", "--listen", "127.0.0.1:0"], { env });
    expect((await started.exited()).code).toBe(2);
    expect(started.errors).toContain("at most the lease (--lease), which is 7 s, got 8");
  });
});
