import { describe, expect, test } from "vitest";
import { idOf, logId } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();

/** A world whose clock does not begin at 0, as no clock does. */
function begin(): World {
  const world = new World();
  world.now = 7_000;
  return world;
}

/** What a member has said of whether it knows who leads. */
function told(node: Node): boolean[] {
  return node.eventsOf("informed").map(({ isInformed }) => isInformed);
}

/** The server takes it back. */
function comeBack(node: Node): void {
  node.session.connect();
  node.hear({ type: "admitted", log: logId, order: 1, revision: 1, observed: node.address });
}

describe("a member knows who leads", () => {
  test("from its admission on, and not before", () => {
    const world = begin();
    const node = world.node(1).begin();
    expect([told(node), node.member.isInformed]).toEqual([[], false]);
    node.admit([{ id: idOf(1), order: 1, address: node.address, dialect: "native" }]);
    expect([told(node), node.member.isInformed]).toEqual([[true], true]);
    world.pass(600_000);
    expect(told(node)).toEqual([true]);
  });

  test("for one lease after it has heard the server for the last time", () => {
    const world = begin();
    const node = world.admitted(1, [1]);
    world.pass(limits.probeMs + 1_000);
    // The answer to its probe was the last word of the server.
    node.loseSession();
    const end = 7_000 + limits.probeMs + limits.leaseMs;
    world.pass(end - world.now - 1);
    expect([told(node), node.member.isInformed]).toEqual([[true], true]);
    world.pass(1);
    expect([told(node), node.member.isInformed]).toEqual([[true, false], false]);
    world.pass(600_000);
    expect(told(node)).toEqual([true, false]);
  });

  test("for one lease also if the server falls silent, and its session is given up on the way", () => {
    const world = begin();
    const node = world.admitted(1, [1]);
    world.isServerAwake = false;
    world.pass(limits.silentMs);
    expect([node.notes, told(node)]).toEqual([["SILENT", "SERVER_AWAY"], [true]]);
    world.pass(limits.leaseMs - limits.silentMs - 1);
    expect(told(node)).toEqual([true]);
    world.pass(1);
    expect(told(node)).toEqual([true, false]);
  });

  test("without a break if the server comes back within the lease", () => {
    const world = begin();
    const node = world.admitted(1, [1]).loseSession();
    world.pass(limits.leaseMs - 1);
    comeBack(node);
    world.pass(limits.leaseMs);
    expect(told(node)).toEqual([true]);
  });

  test("again at once when the server comes back later", () => {
    const world = begin();
    const node = world.admitted(1, [1]).loseSession();
    world.pass(limits.leaseMs);
    expect(told(node)).toEqual([true, false]);
    comeBack(node);
    expect([told(node), node.member.isInformed]).toEqual([[true, false, true], true]);
  });

  test("for a whole lease again, however soon the new session breaks", () => {
    const world = begin();
    const node = world.admitted(1, [1]).loseSession();
    world.pass(3 * limits.leaseMs);
    comeBack(node);
    node.loseSession();
    world.pass(limits.leaseMs - 1);
    expect(told(node)).toEqual([true, false, true]);
    world.pass(1);
    expect(told(node)).toEqual([true, false, true, false]);
  });

  test("no longer by what somebody else says, or by a connection on which nothing is said", () => {
    const world = begin();
    const { owner, later, wire } = world.pair();
    owner.loseSession();
    world.pass(limits.leaseMs - 1);
    later.send(owner, "a");
    wire.flow();
    owner.session.connect();
    world.pass(1);
    expect(told(owner)).toEqual([true, false]);
  });

  test("until it leaves, and then waits for nothing", () => {
    const world = begin();
    const node = world.admitted(1, [1]).loseSession();
    expect(node.timeout).toBeLessThan(world.now + limits.leaseMs);
    node.leave();
    expect([node.member.isInformed, node.timeout]).toEqual([false, Number.POSITIVE_INFINITY]);
    world.pass(600_000);
    expect(told(node)).toEqual([true]);
    expect(node.events.at(-1)).toEqual({ type: "closed" });
  });

  test("until it leaves while the server is there, too", () => {
    const world = begin();
    const node = world.admitted(1, [1]);
    node.leave();
    expect(node.member.isInformed).toBe(false);
    node.session.from("dialer").halfClose("acceptor");
    node.session.from("acceptor");
    world.pass(limits.lingerMs + limits.drainMs);
    expect(node.timeout).toBe(Number.POSITIVE_INFINITY);
  });
});

test("a classic member knows as long as it runs", () => {
  const node = new World().node(1, { dialect: "classic" });
  expect(node.member.isInformed).toBe(true);
  node.handle({ type: "leave" });
  expect([node.member.isInformed, told(node)]).toEqual([false, []]);
});
