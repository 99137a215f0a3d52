import { describe, expect, it, onTestFinished } from "vitest";
import { join, type MeshNode, type MissingPair, type RendezvousServer, serve } from "../../src/index.js";
import { proxyBefore } from "../support/proxy.js";
import { Recorder, splitAddress } from "../support/sockets.js";

/** Short, so that the test is: after one lease the servers say whom they do not list. */
const limits = {
  ...{ probeMs: 1_500, silentMs: 4_000, leaseMs: 4_000 },
  ...{ degradedMs: 500, degradedGapMs: 500, serverRedialMaxMs: 500 },
};

interface Observed {
  readonly server: RendezvousServer;
  readonly degraded: Recorder<readonly MissingPair[]>;
  readonly complete: Recorder<number>;
}

async function observedServer(): Promise<Observed> {
  const server = await serve({ listen: "127.0.0.1:0", limits, logger: false });
  onTestFinished(() => server.close());
  const degraded = new Recorder<readonly MissingPair[]>();
  const complete = new Recorder<number>();
  server.on("degraded", ({ missing }) => degraded.add(missing));
  server.on("complete", ({ members }) => complete.add(members));
  return { server, degraded, complete };
}

function portOf({ server }: Observed): number {
  return splitAddress(String(server.address)).port;
}

describe("N28: two servers with two logs behind one address", () => {
  it("say complete of no half of a mesh that they have taken over from one server, and name who is not listed", async () => {
    const first = await observedServer();
    let targets = [portOf(first)];
    let connections = 0;
    const proxy = await proxyBefore(() => {
      connections += 1;
      return targets[connections % targets.length] ?? 0;
    });
    const nodes: MeshNode[] = [];
    for (let index = 0; index < 6; index += 1) nodes.push(await join(proxy.address, { limits, logger: false }));
    onTestFinished(async () => void (await Promise.all(nodes.map((node) => node.leave()))));
    await Promise.all(nodes.map((node) => node.complete({ size: 6 })));
    const told = nodes.map((node) => {
      const events = { degraded: new Recorder<readonly MissingPair<{ address: string }>[]>(), others: [] as string[] };
      node.on("degraded", ({ missing }) => events.degraded.add(missing));
      for (const type of ["complete", "peer:down", "fenced"] as const) node.on(type, () => events.others.push(type));
      return events;
    });

    // One server is replaced by two.
    const [left, right] = [await observedServer(), await observedServer()];
    targets = [portOf(left), portOf(right)];
    await first.server.close();
    const isOfBoth = (pair: MissingPair<unknown>): boolean => pair.stage === "unreported";
    const listedAt = ({ server }: Observed): string[] => [...server.members].map(String).sort();
    for (const each of [left, right]) await each.degraded.first((missing) => missing.some(isOfBoth));
    const [here, there] = [listedAt(left), listedAt(right)];
    expect([...here, ...there].sort()).toEqual(nodes.map(({ address }) => address).sort());
    expect([here.length, there.length]).toEqual([3, 3]);
    const across = here.flatMap((a) => there.map((b) => [a, b].sort().join(" - "))).sort();
    for (const each of [left, right]) {
      const missing = await each.degraded.first((pairs) => pairs.length === 9);
      expect(missing.map(({ a, b }) => [a, b].sort().join(" - ")).sort()).toEqual(across);
      expect(missing[0]?.reason).toMatch(
        /holds this link, but this server does not list .*two servers behind one addr/,
      );
      expect(each.complete.items).toEqual([]);
    }
    for (const { degraded, others } of told) {
      const missing = await degraded.first((pairs) => pairs.length === 9);
      expect(missing.map(({ a, b }) => [a.address, b.address].sort().join(" - ")).sort()).toEqual(across);
      expect(others).toEqual([]);
    }

    // Once there is one server again, it takes all of them back.
    targets = [portOf(left)];
    await right.server.close();
    expect(await left.complete.first(() => true)).toBe(6);
    expect(told.flatMap(({ others }) => others).filter((type) => type !== "complete")).toEqual([]);
  }, 60_000);
});
