import { describe, expect, test } from "vitest";
import { pong } from "../../../src/protocol/native/frames.js";
import { hello, idOf, joined, listed, logId } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();

/** A world whose clock does not begin at 0, as no clock does. */
function begin(): World {
  const world = new World();
  world.now = 7_000;
  return world;
}

/** A member of a mesh of two, of which the other one leads. */
function led(world: World): Node {
  return world.admitted(2, [1, 2]).hear({ type: "leader", id: idOf(1) });
}

/** Whom a member has named as leader, one after the other. */
function told(node: Node): (string | undefined)[] {
  return node.eventsOf("leader").map(({ leader }) => leader?.address);
}

/** The server takes it back. */
function comeBack(node: Node): void {
  node.session.connect();
  node.hear({ type: "admitted", log: logId, order: 2, revision: 2, observed: node.address, leaseMs: 20_000 });
}

const one = listed(1).address;
const two = listed(2).address;

describe("N21: a member knows who leads", () => {
  test("by the server's word, and not by what the directory says", () => {
    const world = begin();
    const node = world.admitted(2, [1, 2]);
    expect([told(node), node.member.leader]).toEqual([[], undefined]);
    node.hear({ type: "leader", id: idOf(1) });
    expect([told(node), node.member.leader]).toEqual([[one], listed(1)]);
    node.hear({ type: "leader", id: idOf(2) });
    world.pass(600_000);
    expect([told(node), node.member.leader]).toEqual([[one, two], listed(2)]);
  });

  test("once the directory lists whom the server has named", () => {
    const node = begin().admitted(2, [2]);
    node.hear({ type: "leader", id: idOf(1) });
    expect(told(node)).toEqual([]);
    node.entries(joined(listed(1), 3));
    expect(told(node)).toEqual([one]);
  });

  test("and takes whom the server has named last until the directory lists the next one, removed or not", () => {
    const node = led(begin());
    node.entries({ type: "left", revision: 3, id: idOf(1), reason: "enough" });
    expect(told(node)).toEqual([one]);
    node.hear({ type: "leader", id: idOf(3) });
    expect(told(node)).toEqual([one]);
    node.entries(joined(listed(3, 1), 4));
    expect(told(node)).toEqual([one, listed(3).address]);
  });

  test("for one lease after it has heard the server for the last time", () => {
    const world = begin();
    const node = led(world);
    world.pass(limits.probeMs + 1_000);
    // The answer to its probe was the last word of the server.
    node.loseSession();
    world.pass(7_000 + limits.probeMs + limits.leaseMs - world.now - 1);
    expect([told(node), node.member.leader]).toEqual([[one], listed(1)]);
    world.pass(1);
    expect([told(node), node.member.leader]).toEqual([[one, undefined], undefined]);
    world.pass(600_000);
    expect(told(node)).toEqual([one, undefined]);
  });

  test("for one lease also if the server falls silent, and its session is given up on the way", () => {
    const world = begin();
    const node = led(world);
    world.isServerAwake = false;
    world.pass(limits.silentMs);
    expect([node.notes, told(node)]).toEqual([["SILENT", "SERVER_AWAY"], [one]]);
    world.pass(limits.leaseMs - limits.silentMs - 1);
    expect(told(node)).toEqual([one]);
    world.pass(1);
    expect(told(node)).toEqual([one, undefined]);
  });

  test("for one lease also where its time has come, and is rounded away, before the clock says so", () => {
    const world = begin();
    world.now = 1_000_000;
    const node = led(world);
    node.clocks = { monotonicMs: 10, wallMs: 10 };
    node.hear({ type: "leader", id: idOf(1) }).loseSession();
    world.pass(limits.leaseMs - 1);
    const almost = 10 + limits.leaseMs - 2 ** -38;
    node.clocks = { monotonicMs: almost, wallMs: almost };
    world.pass(1);
    expect(told(node)).toEqual([one]);
    node.clocks = { monotonicMs: almost + 1, wallMs: almost + 1 };
    world.pass(1);
    expect(told(node)).toEqual([one, undefined]);
  });

  test("for one lease of the server, as that has said last", () => {
    const world = begin();
    const node = led(world).loseSession().reachAgain();
    node.hear(
      { type: "admitted", log: logId, order: 2, revision: 2, observed: node.address, leaseMs: 90_000 },
      { type: "leader", id: idOf(1) },
    );
    node.loseSession();
    world.pass(89_999);
    expect(told(node)).toEqual([one]);
    world.pass(1);
    expect(told(node)).toEqual([one, undefined]);
  });

  test("without a break if the server comes back within the lease", () => {
    const world = begin();
    const node = led(world).loseSession();
    world.pass(limits.leaseMs - 1);
    comeBack(node);
    world.pass(limits.leaseMs);
    expect(told(node)).toEqual([one]);
  });

  test("again at once when the server comes back later, and for a whole lease then", () => {
    const world = begin();
    const node = led(world).loseSession();
    world.pass(limits.leaseMs);
    comeBack(node);
    expect(told(node)).toEqual([one, undefined, one]);
    node.loseSession();
    world.pass(limits.leaseMs - 1);
    expect(told(node)).toEqual([one, undefined, one]);
    world.pass(1);
    expect(told(node)).toEqual([one, undefined, one, undefined]);
  });

  test("no longer by what somebody else says, or by a connection on which nothing is said", () => {
    const world = begin();
    const node = led(world).loseSession();
    world.pass(limits.leaseMs - 1);
    world.call(node).say("dialer", hello(1, 1, 2));
    node.session.connect();
    world.pass(1);
    expect(told(node)).toEqual([one, undefined]);
  });

  test("not once it has been stopped for a lease, until the server answers what it has asked since", () => {
    const world = begin();
    const node = led(world);
    world.pass(1);
    // Its own time stood still.
    node.clocks = { monotonicMs: world.now + limits.leaseMs, wallMs: world.now };
    node.handle({ type: "flush" });
    expect(told(node)).toEqual([one, undefined]);
    node.session.say("acceptor", pong);
    expect(told(node)).toEqual([one, undefined, one]);
  });

  test("not by what had been sent before it was stopped", () => {
    const world = begin();
    const node = led(world);
    world.pass(1);
    node.clocks = { monotonicMs: world.now, wallMs: world.now + limits.leaseMs };
    node.hear({ type: "leader", id: idOf(2) });
    expect([told(node), node.member.leader]).toEqual([[one, undefined], undefined]);
    expect(node.said.at(-1)?.type).toBe("ping");
  });

  test("until it leaves, and then waits for nothing", () => {
    const world = begin();
    const node = world
      .admitted(1, [1])
      .hear({ type: "leader", id: idOf(1) })
      .loseSession();
    expect(node.timeout).toBeLessThan(world.now + limits.leaseMs);
    node.leave();
    expect([node.member.leader, node.timeout]).toEqual([undefined, Number.POSITIVE_INFINITY]);
    world.pass(600_000);
    expect(told(node)).toEqual([one, undefined]);
    expect(node.events.at(-1)).toEqual({ type: "closed" });
  });

  test("until it leaves while the server is there, too", () => {
    const world = begin();
    const node = world.admitted(1, [1]).hear({ type: "leader", id: idOf(1) });
    node.leave();
    expect(node.member.leader).toBeUndefined();
    node.session.from("dialer").halfClose("acceptor");
    node.session.from("acceptor");
    world.pass(limits.lingerMs + limits.drainMs);
    expect(node.timeout).toBe(Number.POSITIVE_INFINITY);
  });

  test("not by what was said to the incarnation before it", () => {
    const node = led(begin());
    node.hear({ type: "refuse", code: "FENCED", message: "removed" });
    expect([told(node), node.member.leader]).toEqual([[one, undefined], undefined]);
  });
});

test("a classic member takes the first of its list, as long as it runs", () => {
  const world = begin();
  const node = world.node(1, { dialect: "classic" }).begin();
  node.session.send("acceptor", new TextEncoder().encode(`list:\n${one}\n${two}\n`));
  node.session.from("acceptor");
  world.pass(1_000);
  expect(node.member.leader).toEqual({ address: one, dialect: "classic" });
  node.handle({ type: "leave" });
  expect([node.member.leader, told(node)]).toEqual([undefined, [one, undefined]]);
});
