import { describe, expect, test } from "vitest";
import type { ControlOf } from "../../../src/protocol/native/control.js";
import { idOf, listed, logId } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();

/** What a member has last reported of a link that is down. */
function reported(node: Node, peer: number): readonly unknown[] | undefined {
  const reports = node.said.filter((frame): frame is ControlOf<"links"> => frame.type === "links");
  return reports.flatMap(({ down }) => down.filter(([id]) => id === idOf(peer))).at(-1);
}

function outages(node: Node): string[] {
  return node.eventsOf("outage").map(({ peer, reason }) => `${peer} ${reason}`);
}

describe("N20: the server is told of a link that is not up", () => {
  test("by the owner, at once when it breaks, and a second later how far the next attempt has come", () => {
    const world = new World();
    const { owner, wire } = world.pair();
    world.pass(limits.reportMs);
    wire.cut("dialer", "ETIMEDOUT");
    world.pass(0);
    expect(reported(owner, 2)).toEqual([idOf(2), "broken", 1, "ETIMEDOUT"]);
    world.pass(limits.degradedMs / 2);
    // The next dial has no answer: its packets are dropped.
    expect(reported(owner, 2)).toEqual([idOf(2), "dialing", 2, "ETIMEDOUT"]);
  });

  test("before anything has failed: whether its first dial has met anybody, or one that says nothing", () => {
    const world = new World();
    const node = world.admitted(1, [1, 2, 3]);
    node.dialsTo(listed(3).address)[0]?.connect();
    world.pass(limits.degradedMs / 2 + limits.reportMs);
    expect(reported(node, 2)).toEqual([idOf(2), "dialing", 1, "no answer yet"]);
    expect(reported(node, 3)).toEqual([idOf(3), "hello", 1, "no answer yet"]);
  });

  test("with the refusal of the other end", () => {
    const world = new World();
    const node = world.admitted(1, [1, 2]);
    const wire = node.dialsTo(listed(2).address)[0]?.connect();
    wire?.say("acceptor", { type: "refuse", code: "BUSY", message: "later" });
    world.pass(limits.reportMs);
    expect(reported(node, 2)).toEqual([idOf(2), "refused", 1, "DIAL_FAILED BUSY later (1 in a row)"]);
  });

  test("by the later end only if it was up: how far it has come, the owner alone knows", () => {
    const world = new World();
    const node = world.admitted(2, [1, 2]);
    world.pass(limits.degradedMs);
    expect(reported(node, 1)).toBeUndefined();
    const { later, wire } = new World().pair();
    wire.cut("acceptor", "ETIMEDOUT");
    later.handle({ type: "timeout" });
    expect(later.member.missing).toEqual([{ address: listed(1).address, reason: "broken, attempt 1: ETIMEDOUT" }]);
  });
});

describe("N27: a link that is down for brokenMs while the peer is listed", () => {
  test("is told at both ends, once for each outage, with how far it has come and what waits", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    wire.cut("dialer", "ETIMEDOUT").cut("acceptor", "ETIMEDOUT");
    world.pass(limits.brokenMs - 1);
    expect([outages(owner), outages(later)]).toEqual([[], []]);
    world.pass(1);
    expect(outages(owner)).toEqual([
      expect.stringMatching(/^10\.0\.0\.2:7000 (dialing|broken), attempt \d+: DIAL_TIMEOUT .* in a row/),
    ]);
    expect(owner.noteMessages.find((message) => message.startsWith("no link with 10.0.0.2:7000 for 60 s"))).toMatch(
      /lists it still: what is sent to it waits, up to 16777216 bytes, and the next message fails with QUEUE_FULL$/,
    );
    expect(outages(later)).toEqual(["10.0.0.1:7000 broken, attempt 1: ETIMEDOUT"]);
    expect(later.eventsOf("outage")).toMatchObject([{ since: 0, wasUp: true }]);
    world.pass(10 * limits.brokenMs);
    expect([outages(owner), outages(later)].map(({ length }) => length)).toEqual([1, 1]);
    // It comes back, and the next outage is told again.
    world.live(2 * limits.redialMaxMs);
    const next = owner.newest(later);
    expect(owner.eventsOf("relink")).toHaveLength(1);
    world.live(limits.brokenMs);
    expect(outages(owner)).toHaveLength(1);
    next.cut("dialer").cut("acceptor");
    world.pass(limits.brokenMs);
    expect([outages(owner), outages(later)].map(({ length }) => length)).toEqual([2, 2]);
  });

  test("is told also if it has never been up", () => {
    const world = new World();
    const node = world.admitted(2, [1, 2, 3]);
    world.pass(limits.brokenMs);
    expect(node.eventsOf("outage")).toMatchObject([
      { peer: listed(1).address, wasUp: false, reason: "waiting, attempt 0: no hello from its owner yet" },
      { peer: listed(3).address, wasUp: false, reason: expect.stringContaining("DIAL_TIMEOUT") },
    ]);
    expect(node.notes.filter((code) => code === "NO_LINK")).toHaveLength(2);
  });

  test("is not told of a peer that was removed, nor of one that has left", () => {
    const world = new World();
    const [node, second, third] = world.mesh(3) as [Node, Node, Node];
    for (const other of [second, third]) node.newest(other).flow().cut("dialer").cut("acceptor");
    node.entries(
      { type: "lost", revision: 4, id: idOf(2), reason: "silent" },
      { type: "left", revision: 5, id: idOf(3), reason: "enough" },
    );
    world.pass(2 * limits.brokenMs);
    expect(outages(node)).toEqual([]);
  });
});

describe("N28: a link with a peer that the present log does not list", () => {
  test("is reported with the order and the address that the log before has told", () => {
    const world = new World();
    const { owner } = world.pair();
    world.pass(limits.reportMs);
    owner.loseSession().reachAgain();
    owner.hear(
      { type: "admitted", log: `f${logId.slice(1)}`, order: 1, revision: 9, observed: owner.address, leaseMs: 20_000 },
      { type: "directory", revision: 9, members: [listed(1)] },
    );
    world.pass(0);
    const { id, order, address } = listed(2);
    expect(owner.said.filter(({ type }) => type === "links")).toEqual([
      { type: "links", full: true, up: [[id, 1]], down: [], unlisted: [{ id, order, address }] },
    ]);
    expect(owner.isUp(world.nodes[1] as Node)).toBe(true);
  });
});
