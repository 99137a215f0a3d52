import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { join, type MeshNode, serve } from "../../src/index.js";
import { plainEnvironment } from "../cli/command-line.js";
import { StartedProcess } from "../support/processes.js";

const main = new URL("../../dist/bundle/main.js", import.meta.url).pathname;
const entry = new URL("../../dist/bundle/index.js", import.meta.url).href;
const program = new URL("../support/gang-collectives.mjs", import.meta.url).pathname;

/** So many nodes that know one another; in a gang, if they are one. */
async function meeting(size: number, isGang = false): Promise<[MeshNode, ...MeshNode[]]> {
  const server = await serve({ listen: "127.0.0.1:0", ...(isGang ? { gangSize: size } : {}) });
  onTestFinished(() => server.close());
  const nodes: MeshNode[] = [];
  for (let rank = 0; rank < size; rank += 1) {
    const node = await join(server.address, isGang ? { gang: { rank, size } } : {});
    onTestFinished(() => node.leave());
    nodes.push(node);
  }
  await Promise.all(nodes.map((node) => node.complete({ size })));
  return nodes as [MeshNode, ...MeshNode[]];
}

async function failureOf(promise: Promise<unknown>): Promise<{ readonly code: string; readonly message: string }> {
  const error = (await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )) as { code: string; message: string } | undefined;
  return { code: error?.code ?? "none", message: error?.message ?? "none" };
}

/** A gang of processes; resolves with what each copy says, by its rank. */
async function gangOf(size: number, ...args: readonly string[]): Promise<unknown[]> {
  const command = [main, "run", "-n", String(size), "--restart", "on-failure", "--", process.execPath, program, entry];
  const run = new StartedProcess(process.execPath, [...command, ...args], { env: plainEnvironment() });
  onTestFinished(() => run.stop());
  expect(await run.exited()).toEqual({ code: 0, signal: null });
  const said = run.lines.map((line) => /^\[(\d+)\] (.*)$/.exec(line) ?? []);
  expect(said).toHaveLength(size);
  said.sort(([, a], [, b]) => Number(a) - Number(b));
  return said.map(([, , text = ""]) => JSON.parse(text) as unknown);
}

describe("a gang of processes", () => {
  it("gathers in rank order, each round by itself, under one name", async () => {
    expect(await gangOf(4, "rounds")).toEqual([[], [], [], []]);
  });

  it("is told which member has died before it had arrived, and meets again when that is back", async () => {
    const folder = mkdtempSync(joinPath(tmpdir(), "fullmesh-gang-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [first, second, third] = await gangOf(3, "restart", joinPath(folder, "failed"));
    const lost = {
      code: "MEMBER_LOST",
      message: expect.stringMatching(/^barrier "work": rank 1 at unix:\S+ /),
    };
    expect(second).toEqual([[0, 1, 2]]);
    expect(first).toEqual([lost, [0, 1, 2]]);
    expect(third).toEqual([lost, [0, 1, 2]]);
  });
});

describe("barrier", () => {
  it("is passed when all have called it, and no earlier", async () => {
    const [first, second, third] = await meeting(3, true);
    const passed: string[] = [];
    const pass = (node: MeshNode, name: string): Promise<void> => node.barrier(name).then(() => void passed.push(name));
    const early = [pass(first, "a"), pass(second as MeshNode, "a")];
    // Another barrier is passed meanwhile.
    await Promise.all([first, second, third].map((node) => pass(node as MeshNode, "b")));
    expect(passed).toEqual(["b", "b", "b"]);
    await Promise.all([...early, pass(third as MeshNode, "a")]);
    expect(passed.slice(3)).toEqual(["a", "a", "a"]);
  });

  it("waits for members that have not joined yet", async () => {
    const server = await serve({ listen: "127.0.0.1:0" });
    onTestFinished(() => server.close());
    const first = await join(server.address);
    onTestFinished(() => first.leave());
    const waiting = first.barrier("a", { size: 2 });
    const second = await join(server.address);
    onTestFinished(() => second.leave());
    await Promise.all([waiting, second.barrier("a", { size: 2 })]);
  });

  it("names those who have not arrived in time, and is passed when it is called again", async () => {
    const [first, second, third] = (await meeting(3)) as [MeshNode, MeshNode, MeshNode];
    const failures = await Promise.all(
      [first, second].map((node) => failureOf(node.barrier("a", { size: 4, timeoutMs: 200 }))),
    );
    for (const { code, message } of failures) {
      expect(code).toBe("TIMED_OUT");
      expect(message).toContain('barrier "a": after 200 ms');
      expect(message).toMatch(new RegExp(`rank 2 at ${third.address} ha(s|ve) not arrived`));
      expect(message).toContain("1 of 4 members are not in the mesh");
    }
    await Promise.all([first, second, third].map((node) => node.barrier("a", { size: 3 })));
  });

  it("can be given up, and does not count whoever has", async () => {
    const [first, second] = (await meeting(2)) as [MeshNode, MeshNode];
    for (const node of [first, second]) {
      const over = new AbortController();
      const waiting = failureOf(node.barrier("a", { size: 2, signal: over.signal }));
      over.abort();
      expect((await waiting).code).toBe("ABORTED");
    }
    const other = failureOf(first.barrier("a", { size: 2, timeoutMs: 300 }));
    expect((await other).message).toContain(`rank 1 at ${second.address} has not arrived`);
    await Promise.all([first, second].map((node) => node.barrier("a", { size: 2 })));
  });

  it("is over for all when a member leaves that has not arrived, or the one that coordinates", async () => {
    const nodes = (await meeting(3)) as [MeshNode, MeshNode, MeshNode];
    const [first, second, third] = nodes;
    const waiting = [first, second].map((node) => failureOf(node.barrier("a", { size: 3 })));
    const { address } = third;
    await third.leave();
    for (const failure of await Promise.all(waiting)) {
      expect(failure.code).toBe("MEMBER_LOST");
      expect(failure.message).toContain(`rank 2 at ${address} has left or was lost`);
    }
    const alone = failureOf(second.barrier("b", { size: 3 }));
    const own = failureOf(first.barrier("b", { size: 3 }));
    await first.leave();
    expect((await own).code).toBe("ENDED");
    expect((await alone).code).toBe("MEMBER_LOST");
  });

  it("is refused where it cannot come about", async () => {
    const [first, second] = (await meeting(2)) as [MeshNode, MeshNode];
    expect(await failureOf(first.barrier("a"))).toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringContaining("in no gang"),
    });
    expect((await failureOf(second.barrier("a", { size: 1 }))).code).toBe("WRONG_STEP");
    expect((await failureOf(first.barrier("x".repeat(256), { size: 2 }))).code).toBe("BAD_OPTION");
    expect((await failureOf(first.barrier("a", { size: 0 }))).code).toBe("BAD_OPTION");
    expect((await failureOf(first.barrier("a", { size: 2, timeoutMs: -1 }))).code).toBe("BAD_OPTION");
    const waiting = failureOf(first.barrier("a", { size: 3, timeoutMs: 1_000 }));
    expect((await failureOf(first.barrier("a", { size: 3 }))).code).toBe("WRONG_STEP");
    expect(await failureOf(second.barrier("a", { size: 2 }))).toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringContaining("has called it with the size 2, and others with 3"),
    });
    await waiting;
  });
});

describe("allGather", () => {
  it("gives every member all values in rank order: whatever can be sent, and nothing", async () => {
    const nodes = (await meeting(4)) as [MeshNode, MeshNode, MeshNode, MeshNode];
    const values = [{ a: [1, null] }, new Uint8Array([1, 2]), undefined, "text"];
    const gathered = await Promise.all(nodes.map((node, rank) => node.allGather(values[rank], { size: 4 })));
    for (const all of gathered) expect(all).toEqual(values);
  });

  it("takes a value as it is at the call", async () => {
    const [first, second] = (await meeting(2)) as [MeshNode, MeshNode];
    const value = { count: 1 };
    const gathering = first.allGather(value, { size: 2 });
    value.count = 2;
    const [own] = await second.allGather({ count: 3 }, { size: 2 });
    expect([own, await gathering]).toEqual([{ count: 1 }, [{ count: 1 }, { count: 3 }]]);
  });

  it("fails for all when the values are too large together, and is over then", async () => {
    const nodes = (await meeting(3, true)) as [MeshNode, MeshNode, MeshNode];
    const gather = (length: number) => nodes.map((node) => node.allGather(new Uint8Array(length)));
    const failures = await Promise.all(gather(350_000).map(failureOf));
    expect(failures.map(({ code }) => code)).toEqual(Array.from(nodes, () => "MESSAGE_TOO_LARGE"));
    expect(failures[1]?.message).toMatch(/the values of all 3 members have 1050048 bytes together, and may have \d+$/);
    expect((await Promise.all(gather(349_000))).map((all) => all.length)).toEqual([3, 3, 3]);
  });

  it("refuses what cannot be sent before anybody waits for it", async () => {
    const [first, second] = (await meeting(2)) as [MeshNode, MeshNode];
    expect((await failureOf(first.allGather(new Map(), { size: 2 }))).code).toBe("BAD_VALUE");
    await Promise.all([first, second].map((node) => node.allGather(1, { size: 2 })));
  });
});

it("a topic of the library itself cannot be used by an application, nor can it be spoken to in another way", async () => {
  const [first, second] = (await meeting(2)) as [MeshNode, MeshNode];
  const topic = "$fullmesh/collective";
  const peer = String(second.address);
  await Promise.all([first, second].map((node) => node.barrier("a", { size: 2 })));
  const refused = [
    () => first.send(peer, topic),
    () => first.broadcast(topic),
    () => first.onMessage(topic, () => {}),
    () => first.subscribe(topic),
    () => first.onRequest("$fullmesh/", () => 1),
    () => first.openStream(peer, topic),
    () => first.onStream(topic, () => {}),
  ];
  for (const use of refused) expect(use).toThrow("Expected `topic` to be a string that does not begin with $fullmesh/");
  expect((await failureOf(first.request(peer, topic))).code).toBe("BAD_OPTION");
  expect((await failureOf(first.requestAll(topic))).code).toBe("BAD_OPTION");
});
