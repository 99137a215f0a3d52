import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { Condition, StartedProcess, type StartOptions } from "../support/processes.js";
import { requireTool } from "../support/tools.js";
import { fullmesh, main, parseLines, plainEnvironment } from "./command-line.js";

const entry = new URL("../../dist/bundle/index.js", import.meta.url).href;
const member = new URL("../support/gang-member.mjs", import.meta.url).pathname;

/** What a copy of `gang-member.mjs` says. */
interface Said {
  readonly rank: number;
  readonly places: readonly number[];
  readonly name: string;
}

/** Runs copies of a shell script; `flags` come before the command. */
function shells(size: number, script: string, flags: readonly string[] = [], options: StartOptions = {}) {
  return fullmesh(["run", "-n", String(size), ...flags, "--", "sh", "-c", script], options);
}

function members(size: number, flags: readonly string[], ...more: readonly string[]): StartedProcess {
  return fullmesh(["run", "-n", String(size), ...flags, "--", process.execPath, member, entry, ...more]);
}

function saidBy(run: StartedProcess): Said[] {
  const said = run.lines.map((line) => /^\[(\d+)\] (\{.*\})$/.exec(line) ?? []);
  for (const [, rank, text = ""] of said) expect(JSON.parse(text)).toMatchObject({ rank: Number(rank) });
  return said.map(([, , text = ""]) => JSON.parse(text) as Said).sort((a, b) => a.rank - b.rank);
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "fullmesh-run-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function isRunning(pid: number): boolean {
  try {
    // A process that has ended and that nobody has waited for is none.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe("fullmesh run", () => {
  it("gives each copy the rank that the mesh gives it, also when the first ones come last", async () => {
    const run = members(4, [], "late");
    expect(await run.exited()).toEqual({ code: 0, signal: null });
    const ranks = [0, 1, 2, 3];
    expect(saidBy(run)).toEqual(ranks.map((rank) => ({ rank, places: ranks, name: `copy-${rank}` })));
  });

  it("gives a copy that was started again its rank again, behind the others in the order of joining", async () => {
    const run = members(3, ["--restart", "on-failure"], "failing", join(temporaryFolder(), "failed"));
    expect(await run.exited()).toEqual({ code: 0, signal: null });
    expect(run.errors).toContain("rank 1 ended with exit code 3; it is started again in 0.5 s (1 of 5)");
    expect(saidBy(run).map(({ rank, places }) => [rank, places])).toEqual([0, 1, 2].map((rank) => [rank, [0, 2, 1]]));
  });

  it("lets fullmesh join take part", async () => {
    const run = fullmesh(["run", "-n", "2", "--json", "--", process.execPath, main, "join", "--json"]);
    const ranks = (): unknown[] =>
      parseLines(run.lines)
        .filter(({ event, text }) => event === "line" && String(text).includes('"complete"'))
        .filter(({ text }) => (JSON.parse(String(text)) as { members: number }).members === 2)
        .map(({ rank }) => rank)
        .sort();
    await run.line(() => ranks().length === 2, "that both are there");
    run.kill("SIGINT");
    expect(await run.exited()).toEqual({ code: 130, signal: null });
  });

  it("gives the copies what they need to join in their environment, and nothing else that is meant for it", async () => {
    const env = plainEnvironment({ FULLMESH_GRACE: "3", FULLMESH_NAME: "mine", KEPT: "kept" });
    const run = shells(2, "env", [], { env });
    expect((await run.exited()).code).toBe(0);
    for (const rank of ["0", "1"]) {
      const own = run.lines.filter((line) => line.startsWith(`[${rank}] `)).map((line) => line.slice(4).split("="));
      const variables = Object.fromEntries(own) as Record<string, string>;
      expect(variables).toMatchObject({
        KEPT: "kept",
        FULLMESH_MESH: "default",
        FULLMESH_RANK: rank,
        FULLMESH_SIZE: "2",
      });
      expect(variables.FULLMESH_SERVER).toMatch(/^unix:\/.*\/server\.sock$/);
      expect(variables.FULLMESH_SECRET).toMatch(/^[\w-]{43}$/);
      expect(Object.keys(variables).filter((name) => name.startsWith("FULLMESH_"))).toHaveLength(5);
    }
  });

  it("exits as the first copy that failed, ends the others, and says last which it was and what it wrote last", async () => {
    const run = shells(
      3,
      'echo "out $FULLMESH_RANK"; [ $FULLMESH_RANK = 1 ] || exec sleep 100; echo failing >&2; exit 7',
    );
    expect(await run.exited()).toEqual({ code: 7, signal: null });
    expect(run.errors).toMatch(
      /^\[1\] failing\nfullmesh: CHILD_FAILED: rank 1 ended with exit code 7\n {2}\| .*\n {2}\| .*\n {2}try: .*\n$/,
    );
    expect(run.errors.match(/ {2}\| .*/g)?.sort()).toEqual(["  | failing", "  | out 1"]);
  });

  it("exits with 128 and the number of the signal that has ended a copy", async () => {
    const run = shells(2, "[ $FULLMESH_RANK = 0 ] && kill -USR1 $$; exec sleep 100");
    expect(await run.exited()).toEqual({ code: 138, signal: null });
    expect(run.errors).toContain("rank 0 was ended by SIGUSR1");
  });

  it.each([
    [127, ["/nowhere/program"]],
    [126, ["/"]],
  ])("exits with %i when the command cannot be started", async (code, command) => {
    const run = fullmesh(["run", "-n", "2", "--", ...command]);
    expect((await run.exited()).code).toBe(code);
    expect(run.errors).toMatch(/CHILD_FAILED: rank \d could not be started: spawn /);
  });

  it("kills a copy that does not end in the grace time", async () => {
    const script = "[ $FULLMESH_RANK = 0 ] && exit 1; trap '' TERM; echo deaf; while :; do sleep 0.05; done";
    const run = shells(2, script, ["--json", "--grace", "0.5"]);
    expect((await run.exited()).code).toBe(1);
    const ends = parseLines(run.lines).filter(({ event }) => event === "exited");
    expect(ends.at(-1)).toMatchObject({ rank: 1, signal: "SIGKILL" });
  });

  it("starts a copy again only so often, each time later", async () => {
    const run = shells(1, "exit 9", ["--restart", "on-failure:2", "--json"]);
    expect((await run.exited()).code).toBe(9);
    const events = parseLines(run.lines);
    expect(
      events.filter(({ event }) => event === "restarting").map(({ attempt, delayMs }) => [attempt, delayMs]),
    ).toEqual([
      [1, 500],
      [2, 1_000],
    ]);
    expect(events.filter(({ event }) => event === "started")).toHaveLength(3);
    expect(run.errors).toContain("rank 0, started 3 times, ended with exit code 9");
  });

  it.each([
    ["--restart", "sometimes"],
    ["--restart", "on-failure:0"],
    ["--size", "0"],
  ])("refuses %s %s", async (name, value) => {
    const run = shells(1, "true", [name, value]);
    expect((await run.exited()).code).toBe(2);
    expect(run.errors).toContain(`Expected \`${name.slice(2)}\` to be`);
  });

  it("wants to know how many copies", async () => {
    const run = fullmesh(["run", "--", "true"]);
    expect((await run.exited()).code).toBe(2);
    expect(run.errors).toContain("required option '-n, --size <n>' not specified");
  });

  it("ends all when time runs out, and exits with 3", async () => {
    const run = shells(2, "exec sleep 100", ["--timeout", "0.5"]);
    expect((await run.exited()).code).toBe(3);
    expect(run.errors).toContain("TIMED_OUT: after 500 ms 2 of 2 copies have not ended");
  });

  it("ends what a copy has left running", async () => {
    const run = shells(1, "sleep 100 & echo $!");
    expect((await run.exited()).code).toBe(0);
    const [, pid] = /^\[0\] (\d+)$/.exec(run.lines[0] ?? "") ?? [];
    expect(Number(pid)).toBeGreaterThan(0);
    expect(isRunning(Number(pid))).toBe(false);
  });

  it("ends when nobody reads its output any more, and the copies with it", async () => {
    const run = shells(2, "while :; do echo $$; sleep 0.05; done");
    const pids = (): number[] => [...new Set(run.lines)].map((line) => Number(line.slice(4)));
    await run.line(() => pids().length === 2, "the numbers of both processes");
    run.closeStdout();
    expect(await run.exited()).toEqual({ code: 0, signal: null });
    expect(pids().filter(isRunning)).toEqual([]);
  });
});

describe("what the copies of fullmesh run write", () => {
  it("is passed on in whole lines behind the rank, each output to its own", async () => {
    const script = "for i in 1 2 3 4 5 6 7 8 9; do printf \"$i\"; sleep 0.01; printf 'x\\n'; done; printf end >&2";
    const run = shells(11, script);
    expect((await run.exited()).code).toBe(0);
    for (let rank = 0; rank < 11; rank += 1) {
      const head = `[${String(rank).padStart(2)}] `;
      const own = run.lines.filter((line) => line.startsWith(head)).map((line) => line.slice(head.length));
      expect(own).toEqual(["1x", "2x", "3x", "4x", "5x", "6x", "7x", "8x", "9x"]);
      expect(run.errors.split("\n")).toContain(`${head}end`);
    }
    expect(run.lines).toHaveLength(99);
  });

  it("is cut where a line does not end", async () => {
    const run = shells(1, "head -c 600000 /dev/zero | tr '\\0' x");
    expect((await run.exited()).code).toBe(0);
    expect(run.lines.map((line) => line.length - "[0] ".length)).toEqual([262_144, 262_144, 75_712]);
  });

  it("is NDJSON with --json, bytes that are no text as base64", async () => {
    const run = shells(1, "echo text; printf '\\377\\n'; sleep 0.1; echo error >&2", ["--json"]);
    expect((await run.exited()).code).toBe(0);
    const lines = parseLines(run.lines).filter(({ event }) => event === "line");
    expect(lines).toMatchObject([
      { rank: 0, stream: "stdout", text: "text" },
      { rank: 0, stream: "stdout", base64: "/w==" },
      { rank: 0, stream: "stderr", text: "error" },
    ]);
    expect(run.errors).toBe("");
  });

  it("makes them wait while nobody reads it, and none of 100 MB is lost then", async () => {
    let bytes = 0;
    const run = shells(
      2,
      "yes 0123456789012345678901234567890123456789012345678 | head -c 50000000; echo done >&2",
      [],
      {
        isStdoutPaused: true,
        onLine: (line) => {
          bytes += line.length - "[0] ".length + 1;
          // A test that kept all of it would show nothing but that it can.
          run.lines.length = 0;
        },
      },
    );
    const started = fullmesh(["run", "-n", "1", "--", "true"]);
    expect((await started.exited()).code).toBe(0);
    expect(run.errors).toBe("");
    run.resumeStdout();
    expect((await run.exited()).code).toBe(0);
    expect(bytes).toBe(100_000_000);
  });
});

describe("a signal to fullmesh run", () => {
  const counting =
    'n=0; trap \'n=$((n+1)); echo "signal $n"\' INT; echo ready; while [ $n = 0 ]; do sleep 0.05; done; sleep 0.5; echo "$n in all"';

  it("reaches each copy once by Ctrl-C, which goes to all of a terminal", async (context) => {
    const script = requireTool(context, "script");
    const command = `'${process.execPath}' '${main}' run -n 2 -- sh -c '${counting.replaceAll("'", "'\\''")}'`;
    const run = new StartedProcess(script, ["-qec", command, "/dev/null"], { env: plainEnvironment(), hasStdin: true });
    onTestFinished(() => run.stop());
    const has = (text: string): boolean =>
      [0, 1].every((rank) => run.lines.some((line) => line.includes(`[${rank}]`) && line.includes(text)));
    await run.line(() => has("ready"), "that both are ready");
    run.writeLine("\u0003");
    expect((await run.exited()).code).toBe(130);
    expect(has("1 in all")).toBe(true);
    // In colour, because it is a terminal: a colour for each rank.
    expect(run.lines.some((line) => line.includes("\u001b[0;36m[0] \u001b[0m"))).toBe(true);
  });

  it("kills when it comes a second time", async () => {
    const run = shells(2, "trap '' INT TERM; echo $$; while :; do sleep 0.05; done");
    await run.line(() => run.lines.length === 2, "that both are ready");
    const pids = run.lines.map((line) => Number(line.slice(4)));
    run.kill("SIGINT");
    run.kill("SIGTERM");
    expect((await run.exited()).code).toBeGreaterThan(128);
    expect(pids).toHaveLength(2);
    const condition = new Condition();
    const timer = setInterval(() => condition.notify(), 10);
    onTestFinished(() => clearInterval(timer));
    await condition.until(
      () => (pids.some(isRunning) ? undefined : true),
      () => "a copy goes on",
    );
  });

  it("stops the copies with it, and lets them go on with it", async () => {
    const run = shells(1, "echo $$; trap 'echo on' CONT; while :; do sleep 0.05; done");
    const first = await run.line(() => true, "its number");
    const state = (): string => / ([A-Z]) /.exec(readFileSync(`/proc/${first.slice(4)}/stat`, "utf8"))?.[1] ?? "";
    const condition = new Condition();
    const timer = setInterval(() => condition.notify(), 10);
    onTestFinished(() => clearInterval(timer));
    run.kill("SIGTSTP");
    await condition.until(
      () => (state() === "T" ? true : undefined),
      () => `its state is ${state()}`,
    );
    run.kill("SIGCONT");
    await run.line((line) => line.endsWith(" on"), "that it goes on");
    run.kill("SIGTERM");
    expect((await run.exited()).code).toBe(143);
  });
});

it("colours nothing where NO_COLOR is set", async (context) => {
  const script = requireTool(context, "script");
  const command = `'${process.execPath}' '${main}' run -n 1 -- echo plain`;
  const run = new StartedProcess(script, ["-qec", command, "/dev/null"], { env: plainEnvironment({ NO_COLOR: "1" }) });
  onTestFinished(() => run.stop());
  expect((await run.exited()).code).toBe(0);
  expect(run.lines).toEqual(["[0] plain"]);
});
