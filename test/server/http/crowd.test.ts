import { describe, expect, it, onTestFinished } from "vitest";
import { join } from "../../../src/node/join.js";
import { StartedProcess } from "../../support/processes.js";

const build = new URL("../../../dist", import.meta.url).pathname;
const serverProgram = new URL("../../support/shown-server.mjs", import.meta.url).pathname;
const crowdProgram = new URL("../../support/http-crowd.mjs", import.meta.url).pathname;

/** Connections to `--http`, in three processes: each may have few descriptors. */
const crowds = 3;
const connections = 10_000;
const members = 16;
const mebibyte = 1_048_576;

function start(command: string, args: readonly string[]): StartedProcess {
  const started = new StartedProcess(command, args, { hasStdin: true });
  onTestFinished(() => started.stop());
  return started;
}

/** A program that may open as many descriptors as it is allowed to, beyond those of a shell. */
function startCrowd(http: string, count: number): StartedProcess {
  const raised = 'ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@"';
  return start("sh", ["-c", raised, "sh", process.execPath, crowdProgram, http, String(count)]);
}

/** What the server holds now. */
async function held(
  server: StartedProcess,
  when: string,
): Promise<{ readonly bytes: number; readonly sockets: number }> {
  server.writeLine(when);
  const line = await server.line((text) => text.includes(`"when":"${when}"`), `what it holds ${when}`);
  return JSON.parse(line) as { bytes: number; sockets: number };
}

describe("10,000 connections to the pages, and readers that read nothing", () => {
  it("hold a bounded number of sockets and bytes, and members beside them are linked", async () => {
    const server = start(process.execPath, ["--expose-gc", serverProgram, build]);
    const first = await server.line(() => true, "the addresses");
    const { address, http } = JSON.parse(first) as { address: string; http: string };
    const atFirst = await held(server, "at first");
    const programs = Array.from({ length: crowds }, () => startCrowd(http, Math.ceil(connections / crowds)));
    const joined = Array.from({ length: members }, async () => {
      const node = await join(address, { logger: false });
      onTestFinished(() => node.leave());
      await node.complete({ size: members });
    });
    await Promise.all(joined);
    for (const program of programs) await program.line((line) => line === "done first", "all connections", 60_000);
    const crowded = await held(server, "crowded");
    // 256 that look, and of the mesh its sessions and dial-backs that end.
    expect(crowded.sockets).toBeLessThanOrEqual(256 + 2 * members + 1);
    expect(crowded.sockets).toBeGreaterThan(members);
    expect(crowded.bytes - atFirst.bytes).toBeLessThan(64 * mebibyte);
    for (const program of programs) program.writeLine("again");
    for (const program of programs) await program.line((line) => line === "done again", "them once more", 60_000);
    const later = await held(server, "later");
    expect(later.sockets).toBeLessThanOrEqual(256 + 2 * members + 1);
    expect(later.bytes - crowded.bytes).toBeLessThan(8 * mebibyte);
  }, 180_000);
});
