import { describe, expect, it } from "vitest";
import { requireTool } from "../support/tools.js";
import { type EventLine, fullmesh, parseLines } from "./command-line.js";
import { Terminal } from "./terminal.js";

/** The steps of `up 3 --slow` in a dialect, and the addresses in join order. */
async function slowly(dialect: string): Promise<{ readonly steps: EventLine[]; readonly order: string[] }> {
  const up = fullmesh(["up", "3", "--slow", "0.2", "--json", "--dialect", dialect]);
  expect((await up.exited(60_000)).code).toBe(0);
  const lines = parseLines(up.lines);
  const order = lines.filter(({ event }) => event === "joined").map(({ address }) => String(address));
  return { steps: lines.filter(({ event }) => event === "step"), order };
}

/** What kinds of steps there were between these two, in order. */
function kindsBetween(steps: readonly EventLine[], a: string | undefined, b: string | undefined): unknown[] {
  return steps.filter(({ from, to }) => (from === a && to === b) || (from === b && to === a)).map(({ kind }) => kind);
}

describe("fullmesh up --slow", () => {
  it("shows each step of the wire-up in native, in the order in which it must happen", async () => {
    const { steps, order } = await slowly("native");
    const [first, second, third] = order;
    for (const [a, b] of [
      [first, second],
      [first, third],
      [second, third],
    ]) {
      expect(kindsBetween(steps, a, b)).toEqual(["dial", "hello", "answer"]);
      const dial = steps.find(({ kind, to, from }) => kind === "dial" && to === b && from === a);
      expect(dial?.sentence).toMatch(/^member \d dials member \d, because it joined first$/);
    }
    for (const [rank, address] of order.entries()) {
      const kinds = kindsBetween(steps, "server", address);
      const before = ["dial", "challenge", "proof", "directory"];
      expect(kinds.filter((kind) => before.includes(String(kind)))).toEqual(before);
      // Each later member is told to it.
      expect(kinds.filter((kind) => kind === "entries")).toHaveLength(2 - rank);
    }
  }, 90_000);

  it("shows each step in classic: the address, the lists, and a hello without an answer", async () => {
    const { steps, order } = await slowly("classic");
    const [first, second, third] = order;
    for (const [a, b] of [
      [first, second],
      [first, third],
      [second, third],
    ]) {
      expect(kindsBetween(steps, a, b)).toEqual(["dial", "hello"]);
    }
    const lists = steps.filter(({ kind, to }) => kind === "list" && to === third);
    expect(lists.at(-1)?.sentence).toContain("member 1, member 2, member 3; nobody is behind it, so it dials nobody");
  }, 90_000);

  it("marks the pair on a terminal, and stands still between two presses of the space bar", async (context) => {
    const script = requireTool(context, "script");
    const sized = (command: string): string => `stty rows 40 cols 100; ${command}`;
    const terminal = new Terminal(script, ["up", "2", "--slow", "0.5", "--stay"], { NO_COLOR: "1" }, sized);
    await terminal.has("a new process dials the server");
    await terminal.answer(" ", "PAUSED");
    await terminal.answer(" ", "member 1 --dial--> member 2");
    await terminal.has(/ {2}1 {2}127\.0\.0\.1:\d+ {2}\\ o/);
    await terminal.has("member 2 answers member 1 that it takes attempt 1");
    await terminal.has("complete: each pair of the 2 members is linked");
    terminal.type("q");
    expect(await terminal.exited).toBe(0);
  }, 60_000);

  it.each([["0"], ["2"], ["x"]])("refuses %s seconds between two steps", async (seconds) => {
    const up = fullmesh(["up", "2", "--slow", seconds]);
    expect((await up.exited()).code).toBe(2);
    expect(up.errors).toContain("Expected `slow` to be a number of seconds from 0.01 to 1.5");
  });
});
