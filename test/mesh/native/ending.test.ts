import { describe, expect, test } from "vitest";
import type { Entry } from "../../../src/protocol/directory.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { hello, idOf, listed, serverAddress } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();

function left(number: number, revision: number): Entry {
  return { type: "left", revision, id: idOf(number), reason: "left" };
}

/** After how long `docker stop` kills what it has told to end. */
const dockerStopMs = 10_000;

test("a leave beside a peer that hangs, and a server that does, is over well before docker stop kills", () => {
  const world = new World();
  const { owner, later } = world.pair();
  owner.send(later, "never taken");
  owner.leave();
  // Nothing comes back from anybody.
  world.pass(dockerStopMs - 4_000);
  expect(owner.events.at(-1)).toEqual({ type: "closed" });
  expect(owner.eventsOf("unlink")).toMatchObject([{ unacknowledged: 1 }]);
});

describe("a goodbye", () => {
  test.each(["owner", "later"] as const)("of the %s ends the link, and nothing under way is lost", (name) => {
    const world = new World();
    const { wire, ...nodes } = world.pair();
    const goes = nodes[name];
    const stays = nodes[name === "owner" ? "later" : "owner"];
    goes.send(stays, "last words");
    stays.send(goes, "on its way");
    goes.leave();
    const [from, at] = name === "owner" ? (["dialer", "acceptor"] as const) : (["acceptor", "dialer"] as const);
    wire.from(from);
    // It answers with its own, and has nothing more to say.
    expect(wire.last(at, "goodbye")).toEqual({ type: "goodbye", reason: "left", received: 1 });
    expect([wire[from].hasEnded, wire[at].hasEnded]).toEqual([false, true]);
    world.flow();
    expect([stays.messages, goes.messages]).toEqual([["last words"], ["on its way"]]);
    expect(stays.eventsOf("unlink")).toMatchObject([
      { type: "unlink", peer: goes.address, reason: "left", unacknowledged: 0, wasUp: true },
    ]);
    expect(goes.eventsOf("unlink")).toMatchObject([{ reason: "left", unacknowledged: 0 }]);
    expect([wire.dialer.isClosed, wire.acceptor.isClosed]).toEqual([true, true]);
    expect([...stays.notes, ...goes.notes]).toEqual([]);
    world.pass(60_000);
    expect(world.wires.filter(({ to }) => to !== serverAddress)).toHaveLength(1);
  });

  test("of both at once crosses, and what either had sent is acknowledged", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.send(later, "a");
    later.send(owner, "b");
    owner.leave();
    later.leave();
    wire.flow();
    expect([owner.messages, later.messages]).toEqual([["b"], ["a"]]);
    expect(owner.eventsOf("unlink")).toMatchObject([{ unacknowledged: 0 }]);
    expect(later.eventsOf("unlink")).toMatchObject([{ unacknowledged: 0 }]);
    expect([...owner.notes, ...later.notes]).toEqual([]);
    expect(wire.frames("dialer").filter(({ type }) => type === "goodbye")).toHaveLength(1);
  });

  test.each([
    ["before", true],
    ["after", false],
  ])("that comes %s the entry that says the same ends the link once", (_, isFirst) => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.send(later, "last words");
    owner.leave();
    if (isFirst) wire.from("dialer");
    later.entries(left(1, 3));
    expect(later.eventsOf("unlink")).toEqual([]);
    wire.flow();
    expect(later.messages).toEqual(["last words"]);
    expect(later.eventsOf("unlink")).toMatchObject([{ reason: "left" }]);
    world.live(60_000);
    expect(later.eventsOf("unlink")).toHaveLength(1);
    expect(later.member.nativeLinks).toEqual([]);
  });

  test("that never comes is waited for as long as a link may drain", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    later.send(owner, "lost");
    later.entries(left(1, 3));
    world.pass(limits.drainMs - 1);
    expect(later.eventsOf("unlink")).toEqual([]);
    world.pass(1);
    expect(later.eventsOf("unlink")).toMatchObject([{ reason: "left", unacknowledged: 1 }]);
    expect(wire.acceptor.isClosed).toBe(true);
  });

  test("that is not answered in time is not waited for either", () => {
    const world = new World();
    const { owner, wire } = world.pair();
    owner.leave();
    world.pass(limits.drainMs);
    expect(wire.dialer.isClosed).toBe(true);
    expect(owner.eventsOf("unlink")).toHaveLength(1);
  });

  test("on a connection that breaks is one all the same", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    later.entries(left(1, 3));
    wire.cut("acceptor").cut("dialer");
    expect(later.eventsOf("unlink")).toMatchObject([{ reason: "left" }]);
    expect(later.eventsOf("broken")).toEqual([]);
    expect(owner.eventsOf("broken")).toHaveLength(1);
  });

  test("is no way back: the next hello of the same incarnation is refused", () => {
    const world = new World();
    const later = world.admitted(2, [1, 2]);
    const first = world.call(later).say("dialer", hello(1)).from("acceptor");
    first.say("dialer", { type: "goodbye", reason: "left", received: 0 });
    const second = world
      .call(later)
      .say("dialer", hello(2, 1, 2, 1))
      .from("acceptor");
    expect(second.last("acceptor", "refuse")).toMatchObject({ code: "GONE" });
    first.from("acceptor").halfClose("dialer");
    first.from("dialer");
    expect(later.eventsOf("unlink")).toHaveLength(1);
    const third = world
      .call(later)
      .say("dialer", hello(3, 1, 2, 1))
      .from("acceptor");
    expect(third.last("acceptor", "refuse")?.code).toMatch(/GONE|SESSION_LOST/);
  });

  test("is reported with its reason until the link has ended", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    world.pass(limits.reportMs);
    owner.leave();
    wire.from("dialer");
    world.pass(limits.reportMs);
    expect(later.session.last("dialer", "links")).toMatchObject({
      up: [],
      down: [[idOf(1), "broken", 1, "it has said goodbye"]],
    });
  });
});

describe("a member that was not linked with one that leaves", () => {
  test("does not dial it any more", () => {
    const world = new World();
    const [owner, later] = world.mesh(2) as [Node, Node];
    const wire = owner.newest(later).connect();
    owner.entries(left(2, 3));
    expect(wire.dialer.isClosed).toBe(true);
    world.pass(60_000);
    expect(owner.dials(later)).toHaveLength(1);
    expect(owner.eventsOf("unlink")).toMatchObject([{ unacknowledged: 0, wasUp: false }]);
  });
});

describe("the end of a member", () => {
  /** Three members: the second is up with the first, and has a dial to the third under way. */
  function inTheMiddle(): { world: World; node: Node; others: Node[] } {
    const world = new World();
    const [first, node, third] = world.mesh(3) as [Node, Node, Node];
    first.newest(node).flow();
    node.newest(third).connect();
    world.call(node);
    world.call(node).send("dialer", encodePreface());
    world.call(node).say("dialer", hello(1, 9));
    return { world, node, others: [first, third] };
  }

  function settle(world: World, node: Node): void {
    world.flow();
    node.session.from("dialer");
    node.session.halfClose("acceptor");
    node.session.from("acceptor");
    world.live(limits.drainMs);
  }

  test("by its own wish is told to the server first, and closes every connection", () => {
    const { world, node } = inTheMiddle();
    node.leave();
    expect(node.said.at(-1)).toEqual({ type: "leave", reason: "left" });
    expect(node.isListening).toBe(false);
    settle(world, node);
    expect(node.openWires).toEqual([]);
    expect(node.events.at(-1)).toEqual({ type: "closed" });
    expect(node.notes).toEqual([]);
    expect(node.timeout).toBe(Number.POSITIVE_INFINITY);
  });

  test("by a teardown closes every connection too, and tells the reason", () => {
    const { world, node } = inTheMiddle();
    node.hear({ type: "teardown", reason: "the capacity is reached", deadlineMs: 10_000 });
    expect(node.eventsOf("ended")).toEqual([{ type: "ended", reason: "the capacity is reached" }]);
    expect(node.said.filter(({ type }) => type === "leave")).toEqual([]);
    settle(world, node);
    expect(node.openWires).toEqual([]);
    expect(node.events.at(-1)).toEqual({ type: "closed" });
    expect(node.eventsOf("unlink")).toMatchObject([
      { reason: "the capacity is reached", wasUp: false },
      { reason: "the capacity is reached", wasUp: true },
    ]);
  });

  test("of everybody at once leaves nobody with an open connection or a fault to tell", () => {
    const world = new World();
    const nodes = world.mesh(4);
    world.live(1_000);
    for (const node of nodes) node.hear({ type: "teardown", reason: "done", deadlineMs: 10_000 });
    for (const node of nodes) settle(world, node);
    for (const node of nodes) {
      expect(node.openWires).toEqual([]);
      expect(node.eventsOf("unlink")).toHaveLength(3);
      expect(node.events.at(-1)).toEqual({ type: "closed" });
      expect(node.notes).toEqual([]);
    }
  });

  test("is not disturbed by what the server still says", () => {
    const { world, node } = inTheMiddle();
    node.leave();
    node.entries(left(3, 4)).hear({ type: "complete", revision: 4, members: 3, links: 3, unverified: 0 });
    node.hear({ type: "teardown", reason: "too late", deadlineMs: 1 });
    expect(node.eventsOf("ended")).toHaveLength(1);
    settle(world, node);
    expect(node.notes).toEqual([]);
    expect(node.openWires).toEqual([]);
  });

  test("does not wait for a server or a peer that says nothing", () => {
    const { world, node } = inTheMiddle();
    node.leave();
    world.isServerAwake = false;
    world.pass(limits.drainMs + limits.lingerMs);
    expect(node.openWires).toEqual([]);
    expect(node.events.at(-1)).toEqual({ type: "closed" });
  });

  test("turns away who calls later", () => {
    const { world, node } = inTheMiddle();
    node.leave();
    const call = world.call(node);
    expect(call.dialer.isClosed).toBe(true);
    expect(node.dialsTo(listed(3).address)).toHaveLength(1);
  });

  test("while the server is away ends the links all the same", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.loseSession();
    owner.leave();
    wire.flow();
    expect(later.eventsOf("unlink")).toMatchObject([{ reason: "left", unacknowledged: 0 }]);
    expect(owner.openWires).toEqual([]);
    expect(owner.events.at(-1)).toEqual({ type: "closed" });
    world.pass(60_000);
    expect(owner.dialsTo(serverAddress)).toHaveLength(1);
  });

  test("before it was admitted leaves nothing behind", () => {
    const world = new World();
    const node = world.node(1).begin();
    node.leave();
    node.session.from("dialer");
    node.session.halfClose("acceptor");
    node.session.from("acceptor");
    expect(node.openWires).toEqual([]);
    expect(node.events.at(-1)).toEqual({ type: "closed" });
  });
});
