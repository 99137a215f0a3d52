import { beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { type FullmeshError, join, type MeshNode, type MeshStatus, type NodeEvent, serve } from "../../src/index.js";
import { eventOf, fullmesh } from "../cli/command-line.js";

/** One server for all tests, each in a mesh of its own: for the first 10 s a server grants nothing. */
let server = "";
let statusOf: (mesh: string) => MeshStatus;

beforeAll(async () => {
  const started = await serve({ listen: "127.0.0.1:0" });
  server = String(started.address);
  statusOf = (mesh) => started.status(mesh);
  const node = await join(server, { mesh: "first" });
  const refused = await codeOf(node.claim("key", { wait: false }));
  expect(refused).toBe("CLAIMS_UNSETTLED");
  await node.claim("key");
  await node.leave();
  return () => started.close();
});

async function meshOf(mesh: string, count: number): Promise<MeshNode[]> {
  const nodes: MeshNode[] = [];
  for (let number = 1; number <= count; number += 1) {
    const node = await join(server, { mesh, name: `node ${number}` });
    onTestFinished(() => node.leave());
    nodes.push(node);
  }
  return nodes;
}

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return await promise.then(
    () => undefined,
    (error: FullmeshError) => error.code,
  );
}

describe("a claim", () => {
  it("is told to every member, and passed on when it is released or its holder leaves", async () => {
    const [a, b, c] = (await meshOf("passing", 3)) as [MeshNode, MeshNode, MeshNode];
    const told: string[] = [];
    const tell = (event: Extract<NodeEvent, { key: string }>): void =>
      void told.push(`${event.type} ${event.holder.name}`);
    c.on("claimed", tell).on("unclaimed", tell);
    const first = await a.claim("key");
    const second = b.claim("key");
    // Both ask on connections of their own: the server must have read the first before the second is sent.
    await expect.poll(() => statusOf("passing").claims[0]?.waiting).toBe(1);
    const third = c.claim("key");
    await expect.poll(() => statusOf("passing").claims[0]?.waiting).toBe(2);
    expect(a.claims).toMatchObject([{ key: "key", token: first.token, holder: { name: "node 1", id: a.id } }]);
    const counted = [a, b].map((node) => /^fullmesh_node_claims\{.*\} (\d+)$/m.exec(node.metrics())?.[1]);
    expect(counted).toEqual(["1", "0"]);
    first.release();
    expect(first.signal.aborted).toBe(true);
    expect((await second).token).toBeGreaterThan(first.token);
    await b.leave();
    expect((await second).signal.reason).toMatchObject({ code: "CLAIM_LOST" });
    expect((await third).signal.aborted).toBe(false);
    expect(told).toEqual([
      "claimed node 1",
      "unclaimed node 1",
      "claimed node 2",
      "unclaimed node 2",
      "claimed node 3",
    ]);
  });

  it("is refused at once to whoever does not wait, here and at the server", async () => {
    const [a, b] = (await meshOf("refusing", 2)) as [MeshNode, MeshNode];
    const claim = await a.claim("key", { wait: false });
    await expect(b.claim("key", { wait: false })).rejects.toThrow(/"key".*node 1/);
    expect(await codeOf(b.claim("key", { wait: false }))).toBe("CLAIMED");
    expect(await codeOf(a.claim("key", { wait: false }))).toBe("CLAIMED");
    claim.release();
    expect((await a.claim("key")).token).toBeGreaterThan(claim.token);
  });

  it("waits behind other claims of the same node, and frees its place when the wait is given up", async () => {
    const [a, b] = (await meshOf("waiting", 2)) as [MeshNode, MeshNode];
    const held = await a.claim("key");
    const given = new AbortController();
    const waits = [a.claim("key", { signal: given.signal }), b.claim("key", { signal: given.signal })];
    const last = a.claim("key");
    expect(await codeOf(b.claim("key", { timeoutMs: 20 }))).toBe("TIMED_OUT");
    given.abort();
    expect(await Promise.all(waits.map(codeOf))).toEqual(["ABORTED", "ABORTED"]);
    held.release();
    expect((await last).token).toBeGreaterThan(held.token);
  });

  it("is not granted to a node that has ended, or is classic, and not by a bad name", async () => {
    const [a, b] = (await meshOf("ending", 2)) as [MeshNode, MeshNode];
    const held = await a.claim("key");
    const waits = codeOf(b.claim("key"));
    await b.leave();
    expect(await waits).toBe("ENDED");
    expect(await codeOf(b.claim("key"))).toBe("ENDED");
    expect(await codeOf(a.claim(""))).toBe("BAD_OPTION");
    expect(await codeOf(a.claim("other", { wait: 1 as unknown as boolean }))).toBe("BAD_OPTION");
    expect(held.signal.aborted).toBe(false);
    const classic = await join(server, { dialect: "classic" });
    onTestFinished(() => classic.leave());
    expect(await codeOf(classic.claim("key"))).toBe("WRONG_DIALECT");
  });

  it("is not held any more from the moment at which the clocks say so, before anything else has run", async () => {
    const [a] = (await meshOf("stopped", 1)) as [MeshNode];
    const held = await a.claim("key");
    expect(held.isHeld).toBe(true);
    // As for a process that was stopped, or on a machine that was asleep.
    const wokenAt = Date.now() + 8_000;
    const clock = vi.spyOn(Date, "now").mockImplementation(() => wokenAt);
    expect([held.signal.aborted, held.isHeld, held.signal.aborted]).toEqual([false, false, true]);
    clock.mockRestore();
  });

  it("is released at the end of a block", async () => {
    const [a, b] = (await meshOf("disposing", 2)) as [MeshNode, MeshNode];
    const held = await a.claim("key");
    await held[Symbol.asyncDispose]();
    expect((await b.claim("key")).token).toBeGreaterThan(held.token);
  });

  it("is printed by fullmesh join --json", async () => {
    const [node] = (await meshOf("default", 1)) as [MeshNode];
    const member = fullmesh(["join", server, "--json"]);
    await eventOf(member, "registered");
    const claim = await node.claim("key");
    const holder = node.address;
    expect(await eventOf(member, "claimed")).toMatchObject({ key: "key", holder, token: claim.token });
    claim.release();
    const ended = { key: "key", holder, token: claim.token, reason: "given up" };
    expect(await eventOf(member, "unclaimed")).toMatchObject(ended);
  });
});
