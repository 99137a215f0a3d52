import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { StartedProcess } from "../support/processes.js";
import { requireTool } from "../support/tools.js";
import { type EventLine, eventOf, fullmesh, parseLines, plainEnvironment } from "./command-line.js";

/** Control sequences of terminals (ECMA-48). */
const green = "\u001b[32m";
const eraseLine = "\u001b[2K";
const cursorUp = "\u001b[1A";

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "fullmesh-cli-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function count(lines: readonly EventLine[], event: string): number {
  return lines.filter((line) => line.event === event).length;
}

describe("fullmesh up", () => {
  it("links 8 processes by 28 links without a duplicate, tears the mesh down, and exits with 0", async () => {
    const up = fullmesh(["up", "8"]);
    expect(await up.exited()).toEqual({ code: 0, signal: null });
    expect(up.lines.at(-1)).toBe("28 of 28 links, 0 duplicate, 0 missing");
    expect(up.lines.filter((line) => /^ +\d+ {2}127\.0\.0\.1:\d+ +[\\<> ]+$/.test(line))).toHaveLength(8);
    expect(up.errors).toMatch(/all joined [\d.]+ s, mesh complete [\d.]+ s, teardown [\d.]+ s/);
  });

  it.each(["native", "classic"])(
    "prints NDJSON in %s, with each link from both ends and one dialer",
    async (dialect) => {
      const up = fullmesh(["up", "5", "--json", "--dialect", dialect]);
      expect((await up.exited()).code).toBe(0);
      const lines = parseLines(up.lines);
      const order = lines.filter(({ event }) => event === "joined").map(({ address }) => String(address));
      const links = lines.filter(({ event }) => event === "link");
      expect(links).toHaveLength(20);
      for (const { node, peer, direction } of links) {
        const isEarlier = order.indexOf(String(node)) < order.indexOf(String(peer));
        expect(direction).toBe(isEarlier ? "dialed" : "accepted");
      }
      const [complete, ...more] = lines.filter(({ event, node }) => event === "complete" && node === null);
      // The `complete` event of the server is not printed besides.
      expect(more).toEqual([]);
      for (const link of links) expect(link.dialect).toBe(dialect);
      expect(complete).toMatchObject({
        members: 5,
        links: 10,
        unverified: 0,
        duplicates: 0,
        missing: 0,
        scope: "mesh",
      });
      expect([count(lines, "registered"), count(lines, "teardown")]).toEqual([5, 6]);
      for (const line of lines) expect(line).toMatchObject({ at: expect.any(Number), mesh: "default" });
    },
  );

  it("is complete with one member and no link", async () => {
    const up = fullmesh(["up", "1"]);
    expect((await up.exited()).code).toBe(0);
    expect(up.lines.at(-1)).toBe("0 of 0 links, 0 duplicate, 0 missing");
  });

  it("draws a mesh that a line has no room for in Braille, full where all are linked", async () => {
    const up = fullmesh(["up", "20"]);
    expect((await up.exited()).code).toBe(0);
    expect(up.lines.filter((line) => line.includes("\u28ff".repeat(10)))).toHaveLength(5);
  });

  it.each([
    ["native", "proof of 127", "hello", /: teardown \{/, /: entries \{/],
    ["classic", "127", "Hello from", /: teardown$/, /: list: n1 n2 n3$/],
  ])("writes the run as a sequence diagram in %s: members, one hello a pair, and the end", async (...cases) => {
    const [dialect, registration, hello, teardown, list] = cases;
    const file = join(temporaryFolder(), "run.mmd");
    const up = fullmesh(["up", "3", "--trace", file, "--dialect", dialect]);
    expect((await up.exited()).code).toBe(0);
    const [head, ...rest] = readFileSync(file, "utf8").split("\n");
    expect(head).toBe("sequenceDiagram");
    expect(rest.filter((line) => new RegExp(`: ${hello}`).test(line))).toHaveLength(3);
    expect(rest.filter((line) => teardown.test(line))).toHaveLength(3);
    expect(rest.filter((line) => new RegExp(`^ +n\\d->>server: ${registration}`).test(line))).toHaveLength(3);
    expect(rest.some((line) => list.test(line))).toBe(true);
  });

  it("refuses a trace file that cannot be written, before it starts anything", async () => {
    const up = fullmesh(["up", "2", "--trace", "/nowhere/run.mmd"]);
    expect((await up.exited()).code).toBe(2);
    expect(up.errors).toContain("Expected `trace` to be a file that can be written");
  });

  it("counts members and pairs when the time is up, and exits with 3", async () => {
    const up = fullmesh(["up", "3", "--timeout", "0.001"]);
    expect((await up.exited()).code).toBe(3);
    expect(up.errors).toMatch(/TIMED_OUT: after 1 ms \d of 3 members have joined, and 0 of 3 pairs are linked/);
  });

  it("keeps the mesh with --stay, and ends it at Ctrl-C with 130", async () => {
    const up = fullmesh(["up", "3", "--stay", "--json"]);
    await eventOf(up, "complete", ({ node }) => node === null);
    up.kill("SIGINT");
    expect(await up.exited()).toEqual({ code: 130, signal: null });
    expect(count(parseLines(up.lines), "teardown")).toBe(4);
  });

  it("reports with --stay that a member was lost", async () => {
    const up = fullmesh(["up", "3", "--stay"]);
    await up.line((line) => line.startsWith("3 of 3 links"), "the summary");
    const [victim] = execFileSync("ps", ["-o", "pid=", "--ppid", String(up.pid)], { encoding: "utf8" })
      .trim()
      .split("\n");
    process.kill(Number(victim), "SIGKILL");
    await up.error(
      (text) => /CHILD_FAILED: a member process \(pid \d+\) was ended by SIGKILL; it printed /.test(text),
      "the loss",
    );
    up.kill("SIGINT");
    expect((await up.exited()).code).toBe(130);
  });

  it("fails with the end of its stderr when a member exits before the mesh is complete", async () => {
    const preload = join(temporaryFolder(), "preload.cjs");
    writeFileSync(preload, 'if (process.argv.includes("join")) { console.error("no luck today"); process.exit(7); }');
    const up = fullmesh(["up", "2"], { env: plainEnvironment({ NODE_OPTIONS: `--require ${preload}` }) });
    expect((await up.exited()).code).toBe(1);
    expect(up.errors).toMatch(
      /CHILD_FAILED: a member process \(pid \d+\) exited with code 7; it printed: .*no luck today/,
    );
  });

  it("does not pass its own variables to its members", async () => {
    const up = fullmesh(["up", "2"], {
      env: plainEnvironment({ FULLMESH_LISTEN: "192.0.2.1:1", FULLMESH_QUIET: "1" }),
    });
    expect((await up.exited()).code).toBe(0);
    expect(up.errors).toBe("");
  });

  it.each([
    ["zero", "0"],
    ["a word", "eight"],
    ["a fraction", "1.5"],
    ["more than a machine can run", "100000"],
  ])("refuses %s as a number of members", async (_name, n) => {
    const up = fullmesh(["up", n]);
    expect((await up.exited()).code).toBe(2);
    expect(up.errors).toContain(`Expected \`n\` to be an integer from 1 to 250, got "${n}"`);
  });

  it("redraws in place on a terminal, in colour unless NO_COLOR is set", async (context) => {
    const script = requireTool(context, "script");
    const command = fullmeshOnTerminal(script, {});
    expect((await command.exited()).code).toBe(0);
    const coloured = command.lines.join("\n");
    expect(coloured).toContain(green);
    // Erase line and cursor up: drawn in place.
    expect(coloured.indexOf(cursorUp)).toBeGreaterThan(coloured.indexOf(eraseLine));
    const plain = fullmeshOnTerminal(script, { NO_COLOR: "1" });
    expect((await plain.exited()).code).toBe(0);
    expect(plain.lines.join("\n")).not.toContain(green);
  });
});

function fullmeshOnTerminal(script: string, extra: Readonly<Record<string, string>>): StartedProcess {
  const main = new URL("../../dist/bundle/main.js", import.meta.url).pathname;
  const command = `stty rows 40 cols 100; ${process.execPath} ${main} up 4`;
  const started = new StartedProcess(script, ["-qec", command, "/dev/null"], {
    env: plainEnvironment({ TERM: "xterm-256color", ...extra }),
  });
  onTestFinished(() => started.stop());
  return started;
}
