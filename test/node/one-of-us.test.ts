import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { StartedProcess } from "../support/processes.js";

const folder = fileURLToPath(new URL("../../examples/one-of-us/", import.meta.url));
/** Far longer than a takeover takes, on a machine that is busy. */
const takeoverMs = 60_000;

function start(program: string, ...args: readonly string[]): StartedProcess {
  const started = new StartedProcess(process.execPath, [`${folder}${program}`, ...args]);
  onTestFinished(() => started.stop());
  return started;
}

/** What the resource was told: who did the job, with which token, in order. */
function done(lines: readonly string[]): { readonly by: number; readonly token: number }[] {
  const told = lines.map((line) => line.split(" ")).filter(([word]) => word === "done");
  return told.map(([, by, token]) => ({ by: Number(by), token: Number(token) }));
}

describe("examples/one-of-us: of five processes", () => {
  it("one does the job, another one when it is killed, and again when that one hangs", {
    timeout: 240_000,
  }, async () => {
    const server = start("server.mjs", "127.0.0.1:0", "0");
    const addresses = (await server.line((line) => line.startsWith("serving"), "its addresses")).split(" ").slice(1);
    const workers = Array.from({ length: 5 }, () => start("worker.mjs", ...addresses));
    const next = async (before: readonly StartedProcess[]): Promise<StartedProcess> => {
      const pids = before.map(({ pid }) => pid);
      const isOther = (line: string): boolean => done([line]).some(({ by }) => !pids.includes(by));
      const line = await server.line(isOther, "that another one does the job", takeoverMs);
      return workers.find(({ pid }) => pid === done([line])[0]?.by) as StartedProcess;
    };

    const first = await next([]);
    first.kill("SIGKILL");
    const second = await next([first]);
    second.kill("SIGSTOP");
    const third = await next([first, second]);
    // It stops as soon as it runs again, before it has done anything.
    second.kill("SIGCONT");
    expect(await second.line((line) => line.startsWith("stops"), "that it stops")).toBe("stops: CLAIM_LOST");
    third.kill("SIGTERM");
    await third.line((line) => line === "ends: ENDED", "that it ends");
    expect(await third.exited()).toMatchObject({ code: 0 });
    await next([first, second, third]);

    const work = done(server.lines);
    expect(work.map(({ token }) => token)).toEqual(work.map(({ token }) => token).sort((a, b) => a - b));
    const holders = work.filter(({ by }, index) => by !== work[index - 1]?.by).map(({ by }) => by);
    expect(new Set(holders).size).toBe(holders.length);
    expect(server.lines.filter((line) => line.startsWith("refused"))).toEqual([]);
  });
});
