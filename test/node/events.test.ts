import { describe, expect, it, onTestFinished } from "vitest";
import { join, type MeshNode, type NodeEvent, serve } from "../../src/index.js";
import { loggerTo } from "../support/logs.js";
import { Recorder } from "../support/sockets.js";
import { addressOf, codeOf, failureOf } from "./outcomes.js";
import { pair } from "./pair.js";
import { uncaughtErrors } from "./uncaught.js";

/** What a loop gets until it ends. */
async function all(loop: AsyncIterable<NodeEvent>): Promise<NodeEvent[]> {
  const changes: NodeEvent[] = [];
  for await (const change of loop) changes.push(change);
  return changes;
}

/** What a node tells of its rank and of who leads, in order. */
function standingOf(node: MeshNode): Recorder<unknown> {
  const told = new Recorder<unknown>();
  node.on("rank", ({ rank }) => told.add(rank));
  node.on("leader", ({ leader }) => told.add(leader?.address));
  return told;
}

describe("the leader", () => {
  it("is the oldest member, and the next one when it leaves, which has another rank then; all tell so once", async () => {
    const { first, second } = await pair();
    expect([first.leader?.address, second.leader?.address, first.rank, second.rank]).toEqual([
      first.address,
      first.address,
      0,
      1,
    ]);
    const told = [standingOf(first), standingOf(second)] as const;
    await first.leave();
    expect(first.leader).toBeUndefined();
    await told[1].nth(2, () => true);
    // Whether the rank or the leader comes first depends on what is read at once.
    expect([told[0].items, new Set(told[1].items)]).toEqual([[undefined], new Set([0, second.address])]);
    expect([second.leader?.id, second.rank]).toEqual([second.id, 0]);
  });

  it("is told from the beginning, and unknown once the server has been silent for one lease, until it is back", async () => {
    const server = await serve({ listen: "127.0.0.1:0" });
    onTestFinished(() => server.close());
    const limits = { leaseMs: 400, silentMs: 300, probeMs: 100 };
    const node = await join(String(server.address), { limits });
    onTestFinished(() => node.leave());
    expect([node.leader?.address, node.rank]).toEqual([node.address, 0]);
    const told = standingOf(node);
    await server.close();
    expect(await told.nth(1, () => true)).toBeUndefined();
    expect(node.leader).toBeUndefined();
    const again = await serve({ listen: String(server.address) });
    onTestFinished(() => again.close());
    await told.nth(1, (leader) => leader === node.address);
    expect(node.leader?.address).toBe(node.address);
  });

  it("is the oldest of the list in a classic node, too", async () => {
    const { first, second } = await pair({ dialect: "classic" });
    expect([first.leader?.address, second.leader?.address]).toEqual([first.address, first.address]);
  });
});

describe("a loop over events", () => {
  it("gives everything that happens in order, each under the name of its event, and ends with the node", async () => {
    const { server, first, second } = await pair();
    const loop = all(second.events());
    const third = await join(String(server.address));
    await third.complete({ size: 3 });
    await second.complete({ size: 3 });
    await first.leave();
    await new Promise<void>((resolve) => {
      if (second.leader?.id === second.id) resolve();
      else second.once("leader", () => resolve());
    });
    await third.leave();
    await second.leave();
    const changes = await loop;
    const types = changes.map(({ type }) => type).filter((type) => type !== "complete");
    expect(new Set(types)).toEqual(new Set(["directory", "peer:up", "peer:down", "rank", "leader", "ended", "closed"]));
    const downs = changes.flatMap((change) => (change.type === "peer:down" ? [change.peer.address] : []));
    expect(downs).toEqual([addressOf(first), addressOf(third)]);
    const leaders = changes.flatMap((change) => (change.type === "leader" ? [change.leader?.address] : []));
    expect(leaders).toEqual([second.address, undefined]);
    const up = changes.find(({ type }) => type === "peer:up");
    expect(up).toMatchObject({ peer: { address: third.address, dialect: "native", state: "up" } });
    expect(await all(second.events())).toEqual([]);
  });

  it("that leaves too many unread fails with UNREAD_EVENTS, and others go on", async () => {
    const { server, first } = await pair({ limits: { eventsUnread: 8 } });
    const lazy = first.events();
    const eager = new Recorder<NodeEvent>();
    const looping = (async (): Promise<void> => {
      for await (const change of first.events()) eager.add(change);
    })();
    for (const time of [1, 2, 3]) {
      const third = await join(String(server.address));
      await third.complete({ size: 3 });
      await third.leave();
      await eager.nth(time, ({ type }) => type === "peer:down");
    }
    expect(await failureOf(lazy.next())).toBe("UNREAD_EVENTS");
    expect(await lazy.next()).toEqual({ done: true, value: undefined });
    await first.leave();
    await looping;
    expect(eager.items.map(({ type }) => type)).toContain("ended");
  });

  it("ends at `break` and at the abort of its signal", async () => {
    const { server, first } = await pair();
    const controller = new AbortController();
    const aborted = all(first.events({ signal: controller.signal })).catch(codeOf);
    const left = (async (): Promise<string> => {
      for await (const { type } of first.events()) return type;
      return "nothing";
    })();
    await (await join(String(server.address))).leave();
    expect(await left).toBe("directory");
    controller.abort();
    expect(await aborted).toBe("ABORTED");
  });
});

describe("a listener that throws", () => {
  it("keeps nothing from others: other listeners, later events and loops, and is logged with its stack", async () => {
    const { first, second, firstLog } = await pair();
    const heard: string[] = [];
    for (const event of ["leader", "ended", "closed"] as const) {
      first.on(event, () => {
        throw new Error(event);
      });
      // A listener in JavaScript may return a promise, whatever its type says.
      const later: unknown = async () => await Promise.reject(new Error(`later ${event}`));
      first.on(event, later as () => void);
      first.on(event, () => heard.push(event));
    }
    const loop = all(first.events());
    await first.leave();
    const types = (await loop).map(({ type }) => type);
    expect(types.filter((type) => type === "leader" || type === "ended")).toEqual(["leader", "ended"]);
    expect(heard).toEqual(["leader", "ended", "closed"]);
    await firstLog.nth(6, ({ code }) => code === "HANDLER_FAILED");
    const messages = ["leader", "ended", "closed"].flatMap((event) =>
      ["", "later "].map((when) => `a listener of "${event}" failed: ${when}${event}`),
    );
    expect(firstLog.messages.toSorted()).toEqual(messages.toSorted());
    expect(firstLog.items.every(({ stack }) => stack?.includes("events.test"))).toBe(true);
    await second.leave();
  });

  it("and what a logger throws do not keep a server from closing", async () => {
    const log: string[] = [];
    const thrown = uncaughtErrors();
    const logger = loggerTo(({ code }) => {
      log.push(code);
      throw new Error("the logger fails");
    });
    const server = await serve({ listen: "127.0.0.1:0", logger });
    server.on("closed", () => {
      throw new Error("closed");
    });
    for (let count = 0; count < 22; count += 1) await fetch(`http://${server.address}`).catch(() => {});
    await server.close();
    await thrown.nth(22, (message) => message === "the logger fails");
    // Twenty, how many were left out, and the listener.
    expect(log).toHaveLength(22);
    expect(log.slice(-2)).toEqual(expect.arrayContaining(["HANDLER_FAILED", "NOTES_DROPPED"]));
  });
});

describe("a peer", () => {
  it("is the same object with every message, until the state of its link changes", async () => {
    const { first, second } = await pair();
    const heard = new Recorder<unknown>();
    second.on("message", ({ peer }) => heard.add(peer));
    for (let count = 0; count < 3; count += 1) first.broadcast("", count);
    await heard.nth(3, () => true);
    expect(new Set(heard.items).size).toBe(1);
    expect(second.peers[0]).toBe(heard.items[0]);
    expect(second.peers[0]).toMatchObject({ state: "up", address: first.address });
  });
});
