import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { makeSecret } from "../../src/nodejs/secret.js";
import type { MeshStatus } from "../../src/protocol/status.js";
import type { StartedProcess } from "../support/processes.js";
import { eventOf, fullmesh, startServer } from "./command-line.js";

/** Starts a member with this name, and resolves when it has registered, or, with others, when the mesh is complete. */
async function member(
  address: string,
  name: string,
  size: number,
  flags: readonly string[] = [],
): Promise<StartedProcess> {
  const started = fullmesh(["join", address, "--json", "--name", name, ...flags]);
  if (size === 1) await eventOf(started, "registered");
  else await eventOf(started, "complete", ({ members }) => members === size);
  return started;
}

function secretFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "fullmesh-status-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "secret");
  writeFileSync(file, makeSecret(), { mode: 0o600 });
  return file;
}

/** The newest status that `status --watch --json` has printed and that `isWanted`. */
async function watched(watch: StartedProcess, isWanted: (status: MeshStatus) => boolean): Promise<MeshStatus> {
  return JSON.parse(
    await watch.line((line) => isWanted(JSON.parse(line) as MeshStatus), "such a status"),
  ) as MeshStatus;
}

describe("fullmesh status", () => {
  it("prints the members, a matrix and the server, and exits with 0; a mesh that is not there has no members", async () => {
    const { address } = await startServer();
    await member(address, "one", 1);
    await member(address, "two", 2);
    const status = fullmesh(["status", address]);
    expect((await status.exited()).code).toBe(0);
    expect(status.lines[0]).toBe(`mesh "default" at ${address}: 2 members, 1 of 1 link, complete`);
    expect(status.lines[1]).toMatch(/^ {2}0 {2}one \(127\.0\.0\.1:\d+\) {2}\\ >$/);
    expect(status.lines[2]).toMatch(/^ {2}1 {2}two \(127\.0\.0\.1:\d+\) {2}< \\$/);
    expect(status.lines.at(-1)).toMatch(
      /^server \d+\.\d+\.\d+, up for \d+ s, 3 connections, nobody refused; revision \d+$/,
    );
    const other = fullmesh(["status", address, "--mesh", "other"]);
    expect((await other.exited()).code).toBe(0);
    expect(other.lines[0]).toBe(`mesh "other" at ${address}: 0 members, 0 of 0 links, not complete`);
  });

  it("goes on with --watch while the server is away, for as long as it takes, without a warning", async () => {
    const watch = fullmesh(["status", "127.0.0.1:1", "--watch"]);
    // Node warns of more than ten listeners.
    await watch.error((errors) => errors.split("the server is away").length > 12, "so many tries", 30_000);
    watch.kill("SIGINT");
    expect((await watch.exited()).code).toBe(130);
    expect(watch.errors).not.toContain("Warning");
  }, 60_000);

  it("follows a mesh with --watch: a member that is killed is gone, with its reason", async () => {
    const { address } = await startServer();
    await member(address, "one", 1);
    const two = await member(address, "two", 2);
    const watch = fullmesh(["status", address, "--watch", "--json"]);
    await watched(watch, ({ complete }) => complete);
    two.kill("SIGKILL");
    const gone = await watched(watch, ({ recent }) => recent.length > 0);
    expect(gone.recent).toMatchObject([{ type: "lost", name: "two", reason: expect.stringContaining("ECONNREFUSED") }]);
    expect(gone.members.map(({ name }) => name)).toEqual(["one"]);
    watch.kill("SIGINT");
    expect((await watch.exited()).code).toBe(130);
  });

  it("with a secret tells only those who have it", async () => {
    const file = secretFile();
    const { address } = await startServer(["--secret-file", file]);
    await member(address, "one", 1, ["--secret-file", file]);
    const status = fullmesh(["status", address, "--secret-file", file]);
    expect((await status.exited()).code).toBe(0);
    expect(status.lines[0]).toContain("1 member");
    const without = fullmesh(["status", address]);
    expect((await without.exited()).code).toBe(4);
    expect(without.errors).toContain("SECRET_REQUIRED");
    const wrong = fullmesh(["status", address, "--secret-file", secretFile()]);
    expect((await wrong.exited()).code).toBe(1);
    expect(wrong.errors).toContain("SECRET_MISMATCH");
  });

  it("says what is wrong with an address, a mesh and a server that is not there", async () => {
    const nobody = fullmesh(["status", "127.0.0.1:1"]);
    expect((await nobody.exited()).code).toBe(1);
    expect(nobody.errors).toContain("SERVER_UNREACHABLE: 127.0.0.1:1: ECONNREFUSED");
    for (const args of [["status"], ["status", "nowhere"], ["status", "127.0.0.1:1", "--mesh", "\n"]]) {
      const wrong = fullmesh(args);
      expect((await wrong.exited()).code).toBe(2);
      expect(wrong.errors).toContain("BAD_OPTION");
    }
  });
});
