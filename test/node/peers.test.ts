import { once } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import { join, type MeshNode, type NodeEvent, serve } from "../../src/index.js";
import { joinSilently } from "../support/silent-member.js";
import { outcomeOf } from "./outcomes.js";
import { pair } from "./pair.js";

async function nodeAndSilentMember(): Promise<{
  readonly node: MeshNode;
  readonly silent: Awaited<ReturnType<typeof joinSilently>>;
}> {
  const server = await serve({ listen: "127.0.0.1:0" });
  onTestFinished(() => server.close());
  const node = await join(server.address, { name: "api-1" });
  onTestFinished(() => node.leave());
  const listed = once(node, "directory");
  const silent = await joinSilently(server.address, "silent");
  await listed;
  return { node, silent };
}

describe("the members of a mesh", () => {
  it("are all that the directory lists, oneself included, and the peers are the others", async () => {
    const { first, second } = await pair({ name: "api-1" }, { name: "api-2", meta: { zone: 3 } });
    const { order: orderOfFirst, id: idOfFirst, address: addressOfFirst } = first;
    const self = { address: addressOfFirst, dialect: "native", id: idOfFirst, order: orderOfFirst, name: "api-1" };
    const { address, id, order } = second;
    const other = { address, dialect: "native", id, order, name: "api-2", meta: { zone: 3 } };
    expect(first.members).toEqual([self, other]);
    expect(second.members).toEqual([self, other]);
    expect(first.peers).toEqual([{ ...other, direction: "dialed", state: "up" }]);
    expect(second.peers).toEqual([{ ...self, direction: "accepted", state: "up" }]);
    expect(outcomeOf(() => first.send(first.members[0] as never, "to oneself"))).toBe("UNKNOWN_PEER");
    expect(first.send(first.members[1] as never, "to the other")).toBe(true);
  });

  it("are addresses in a classic node", async () => {
    const { first, second } = await pair({ dialect: "classic" });
    const all = [first, second].map(({ address }) => ({ address, dialect: "classic" }));
    expect(second.members).toEqual(all);
    expect(second.peers).toEqual([{ ...all[0], direction: "accepted", state: "up" }]);
    const gone = once(second, "peer:down") as Promise<[Extract<NodeEvent, { type: "peer:down" }>]>;
    await first.leave();
    const [{ peer, wasUp }] = await gone;
    expect([peer, wasUp]).toEqual([{ ...all[0], direction: "accepted", state: "broken" }, true]);
  });

  it("wait for their link before it is up, and are told of at its end, with what was never sent", async () => {
    const { node, silent } = await nodeAndSilentMember();
    const { address, id } = silent;
    const peer = { address, dialect: "native", id, name: "silent", direction: "dialed" };
    expect(node.peers).toMatchObject([{ ...peer, state: "waiting" }]);
    expect(node.broadcast("news", 1)).toEqual([]);
    expect(node.send("silent", "news", 2)).toBe(true);
    const down = once(node, "peer:down");
    silent.leave();
    expect((await down)[0]).toMatchObject({
      type: "peer:down",
      peer: { ...peer, state: "broken" },
      unacknowledged: 2,
      wasUp: false,
    });
    expect(node.peers).toEqual([]);
  });

  it("are snapshots: the same object until the link changes, and another one then", async () => {
    const { first, second } = await pair();
    const [before] = first.peers;
    expect(first.peers[0]).toBe(before);
    const down = once(first, "peer:down");
    await second.leave();
    const [{ peer }] = (await down) as [Extract<NodeEvent, { type: "peer:down" }>];
    expect([before?.state, peer.state, peer.id]).toEqual(["up", "broken", second.id]);
  });
});

describe("a broadcast", () => {
  it("returns the peers that it leaves out, each with the reason", async () => {
    const { node, silent } = await nodeAndSilentMember();
    const large = new Uint8Array(1_000_000);
    while (node.broadcast("load", large).length === 0);
    expect(node.broadcast("load", large)).toEqual([{ peer: node.peers[0], code: "QUEUE_FULL" }]);
    expect(node.peers[0]).toMatchObject({ address: silent.address, state: "waiting" });
  });
});
