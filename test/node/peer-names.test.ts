import { describe, expect, it, onTestFinished } from "vitest";
import { join, type MeshNode, type Message, type Peer, serve } from "../../src/index.js";
import { Recorder } from "../support/sockets.js";
import { addressOf, outcomeOf } from "./outcomes.js";

/** A mesh of members with these names, all linked. */
async function meshOf(...names: readonly string[]): Promise<{ readonly server: string; readonly nodes: MeshNode[] }> {
  const server = await serve({ listen: "127.0.0.1:0" });
  onTestFinished(() => server.close());
  const nodes: MeshNode[] = [];
  for (const name of names) nodes.push(await member(String(server.address), name));
  await Promise.all(nodes.map((node) => node.complete({ size: names.length })));
  return { server: String(server.address), nodes };
}

async function member(server: string, name: string): Promise<MeshNode> {
  const node = await join(server, { name });
  onTestFinished(() => node.leave());
  return node;
}

describe("a peer", () => {
  it("is named by its name, its address, or as a Peer", async () => {
    const { nodes } = await meshOf("api-1", "api-2");
    const [first, second] = nodes as [MeshNode, MeshNode];
    second.onRequest("who", (payload) => payload);
    const [peer] = first.peers;
    for (const named of ["api-2", addressOf(second), peer as Peer]) {
      expect(await first.request(named, "who", "me")).toBe("me");
    }
  });

  it("is ambiguous by a name that two have, and both are named", async () => {
    const { nodes } = await meshOf("api", "worker", "worker");
    const [api, ...workers] = nodes as [MeshNode, MeshNode, MeshNode];
    expect(outcomeOf(() => api.send("worker", ""))).toBe("AMBIGUOUS_PEER");
    const both = workers.map(addressOf).join(", ");
    expect(() => api.send("worker", "")).toThrow(`2 members are called "worker": ${both}`);
  });

  it("stands for one incarnation: it never reaches the next one at the same address", async () => {
    const { server, nodes } = await meshOf("api-1", "api-2");
    const [first, second] = nodes as [MeshNode, MeshNode];
    const [stale] = first.peers as [Peer];
    await second.leave();
    expect(outcomeOf(() => first.send(stale, "", "for the old one"))).toMatch(/^(PEER_GONE|NOT_LINKED)$/);
    const again = await join(server, { name: "api-2", listen: addressOf(second) });
    onTestFinished(() => again.leave());
    await Promise.all([first, again].map((node) => node.complete({ size: 2 })));
    const heard = new Recorder<Message>();
    again.on("message", (message) => heard.add(message));
    expect(() => first.send(stale, "", "for the old one")).toThrow("another incarnation is at this address now");
    first.send("api-2", "", "for the new one");
    expect((await heard.nth(1, () => true)).payload).toBe("for the new one");
  });
});

describe("a message that is sent before the link is up", () => {
  it("reaches every member that is listed, at once after join, and goes out first", async () => {
    const { server, nodes } = await meshOf("api-1", "api-2");
    const heard = nodes.map((node) => {
      const messages = new Recorder<unknown>();
      node.on("message", ({ payload }) => messages.add(payload));
      return messages;
    });
    // Ten times, because a link may be up by chance when join resolves.
    for (let count = 0; count < 10; count += 1) {
      const late = await member(server, `late-${count}`);
      expect(late.broadcast("", `first of ${count}`)).toEqual([]);
      late.send("api-1", "", `second of ${count}`);
      await heard[0]?.nth(1, (payload) => payload === `second of ${count}`);
      await heard[1]?.nth(1, (payload) => payload === `first of ${count}`);
      await late.leave();
    }
    const all = Array.from({ length: 10 }, (_, count) => [`first of ${count}`, `second of ${count}`]).flat();
    expect(heard[0]?.items).toEqual(all);
  });
});

describe("setup", () => {
  it("runs before anything can arrive, so that not even the first message is missed", async () => {
    const { server, nodes } = await meshOf("api-1");
    const [first] = nodes as [MeshNode];
    first.on("peer:up", ({ peer }) => first.send(peer, "hello", peer.name));
    const heard = new Recorder<Message>();
    const late = await join(server, {
      name: "late",
      setup: (node) => {
        expect(node.address).toBeUndefined();
        node.onMessage("hello", (message) => heard.add(message));
      },
    });
    onTestFinished(() => late.leave());
    expect((await heard.nth(1, () => true)).payload).toBe("late");
  });

  it("fails join with what it throws, or when it takes too long, and the node is gone", async () => {
    const { server } = await meshOf("api-1");
    let made: MeshNode | undefined;
    const setup = async (node: MeshNode): Promise<void> => {
      made = node;
      throw new RangeError("not today");
    };
    await expect(join(server, { setup })).rejects.toThrow("not today");
    await made?.closed;
    const never = (): Promise<void> => new Promise(() => {});
    await expect(join(server, { setup: never, timeoutMs: 20 })).rejects.toMatchObject({ code: "TIMED_OUT" });
    await expect(join(server, { setup: 3 as never })).rejects.toMatchObject({ code: "BAD_OPTION" });
  });
});
