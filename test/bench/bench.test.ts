import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it, vi } from "vitest";
import { parseLines, plainEnvironment, startProgram } from "../cli/command-line.js";
import type { StartedProcess, StartOptions } from "../support/processes.js";

const main = fileURLToPath(new URL("../../dist/bench/main.js", import.meta.url));

function startBench(args: readonly string[], options: StartOptions = {}): StartedProcess {
  return startProgram(main, args, options);
}

/** The processes that have inherited this mark in their environment. */
function processesWith(mark: string): number[] {
  const numbers = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return numbers.filter((name) => read(`/proc/${name}/environ`).includes(mark)).map(Number);
}

/** The content of a file; empty if its process has ended, or belongs to another user. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

describe("npm run bench", () => {
  it("prints one figure a line, with values and ratios of each program, and exits with 0 whatever they are", async () => {
    const only = "one-way-64,secret-request-rate,beside-stream,relay-one-way-1k,local-wire-up,slow-consumer";
    const bench = startBench(["--quick", "--json", "--rounds", "1", "--only", only]);
    expect(await bench.exited(55_000)).toEqual({ code: 0, signal: null });
    const [machine, ...figures] = parseLines(bench.lines);
    expect(machine).toMatchObject({ event: "machine", node: null, cores: expect.any(Number) });
    const benchmarks = new Set(figures.map(({ name }) => String(name).replace(/\..*/, "")));
    expect([...benchmarks].join(",")).toBe(
      "one-way-64,secret-request-rate,local-wire-up-4,beside-stream,relay-one-way-1k,slow-consumer",
    );
    for (const figure of figures) {
      expect(figure).toMatchObject({ event: "figure", node: null, rounds: 1, failures: [] });
      const isJudged = figure.wanted !== undefined || figure.bound !== undefined;
      expect(typeof figure.met).toBe(isJudged ? "boolean" : "undefined");
      const programs = figure.programs as Record<string, unknown>;
      const compared = figure.baseline === null ? [] : [figure.baseline];
      expect(Object.keys(programs)).toEqual(expect.arrayContaining(["fullmesh", ...compared]));
      const spread = { median: expect.any(Number), min: expect.any(Number), max: expect.any(Number) };
      const comparison = compared.length === 0 ? {} : { ratios: spread, differences: spread };
      expect(programs.fullmesh).toEqual({ values: spread, ...comparison });
    }
  });

  it("measures many members in one process", async () => {
    const bench = startBench(["--quick", "--json", "--rounds", "1", "--only", "one-process"]);
    expect(await bench.exited()).toEqual({ code: 0, signal: null });
    const [, ...figures] = parseLines(bench.lines);
    expect(figures.map(({ name }) => name)).toContain("one-process.rate");
    for (const { failures } of figures) expect(failures).toEqual([]);
  });

  it("takes its flags from the environment", async () => {
    const env = plainEnvironment({ FULLMESH_ONLY: "start-up", FULLMESH_QUICK: "1", FULLMESH_ROUNDS: "1" });
    const bench = startBench([], { env });
    expect((await bench.exited()).code).toBe(0);
    expect(bench.lines).toHaveLength(1);
    expect(bench.lines[0]).toMatch(/^start-up, ms: fullmesh [\d,.]+ \(x [\d.]+\), raw-connect [\d,.]+/);
  });

  it("names all benchmarks in --help", async () => {
    const bench = startBench(["--help"]);
    expect((await bench.exited()).code).toBe(0);
    const names = bench.lines.slice(bench.lines.indexOf("Benchmarks:") + 1).flatMap((line) => line.trim().split(" "));
    expect(names).toEqual(expect.arrayContaining(["one-way-64", "slow-consumer", "wire-up-64", "one-process"]));
    expect(Math.max(...bench.lines.map(({ length }) => length))).toBeLessThanOrEqual(80);
  });

  it.each([
    ["an unknown benchmark", ["--only", "one-way-6"], "`only` to be the beginning of one of one-way-64,"],
    ["no rounds", ["--rounds", "0"], "`rounds` to be an integer from 1 to 1000"],
  ])("exits with 2 for %s", async (_, args, message) => {
    const bench = startBench(["--quick", ...args]);
    expect((await bench.exited()).code).toBe(2);
    expect(bench.errors).toContain(message);
  });

  it("stops its programs at Ctrl-C", async () => {
    const mark = `BENCH_OF=${randomUUID()}`;
    const env = plainEnvironment({ BENCH_OF: mark });
    const bench = startBench(["--only", "one-process"], { env });
    // The bench itself, a server, and the process with the members.
    await vi.waitFor(() => expect(processesWith(mark).length).toBeGreaterThan(2), { timeout: 30_000 });
    bench.kill("SIGINT");
    expect((await bench.exited()).code).toBe(130);
    expect(processesWith(mark)).toEqual([]);
  });

  it("exits with 3 when the time is up", async () => {
    const bench = startBench(["--only", "one-process", "--timeout", "0.5"]);
    expect((await bench.exited()).code).toBe(3);
    expect(bench.errors).toContain("TIMED_OUT: after 0.5 s some figures are missing");
  });
});
