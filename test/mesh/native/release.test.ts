import { describe, expect, test } from "vitest";
import { idOf, listed, logId, serverAddress } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();

/** Members that are linked with one another, and whose server has released them. */
function releasedMesh(count: number): { world: World; nodes: Node[] } {
  const world = new World();
  const nodes = world.mesh(count);
  world.flow();
  for (const node of nodes) node.hear({ type: "leader", id: idOf(1) });
  for (const node of nodes) node.hear({ type: "release", reason: "enough" });
  return { world, nodes };
}

function downs(node: Node): unknown[] {
  return node.eventsOf("unlink").map(({ peer, reason }) => [peer, reason]);
}

describe("N19: a member whose server has released the mesh", () => {
  test("says so, closes its session, and looks for no server", () => {
    const { world, nodes } = releasedMesh(2);
    const [a] = nodes as [Node, Node];
    expect(a.eventsOf("released")).toEqual([{ type: "released", reason: "enough" }]);
    expect(a.eventsOf("serverLost")).toEqual([]);
    const dials = a.dialsTo(serverAddress).length;
    a.session.halfClose("acceptor");
    a.session.from("acceptor");
    world.live(600_000);
    expect([a.dialsTo(serverAddress).length, a.eventsOf("ended")]).toEqual([dials, []]);
  });

  test("has the members that it had, its links go on, and nobody leads", () => {
    const { world, nodes } = releasedMesh(3);
    const [a, b] = nodes as [Node, Node, Node];
    expect(a.member.entries).toEqual([1, 2, 3].map((number) => listed(number)));
    expect([a.member.leader, a.eventsOf("leader").at(-1)?.leader]).toEqual([undefined, undefined]);
    world.live(600_000);
    a.send(b, "still here");
    world.flow();
    expect(b.handlers.taken.map(({ text }) => text)).toEqual(["still here"]);
    expect(nodes.map(downs)).toEqual([[], [], []]);
  });

  test("links again by the owner's dial, when a connection breaks", () => {
    const { world, nodes } = releasedMesh(2);
    const [a, b] = nodes as [Node, Node];
    a.newest(b).abort("acceptor");
    world.live(limits.redialMaxMs);
    expect([a, b].map((node) => node.eventsOf("relink").length)).toEqual([1, 1]);
    world.live(2 * limits.leaseMs);
    expect([downs(a), downs(b)]).toEqual([[], []]);
  });

  test("ends a link for good by the lease of the server that has released it", () => {
    const world = new World();
    const node = world.admitted(2, [1, 2]).loseSession().reachAgain();
    node.hear(
      { type: "admitted", log: logId, order: 2, revision: 2, observed: node.address, leaseMs: 7_000 },
      { type: "release", reason: "enough" },
    );
    world.pass(6_999);
    expect(node.eventsOf("unlink")).toEqual([]);
    world.pass(1);
    expect(node.eventsOf("unlink")).toMatchObject([{ reason: "not linked for 7 s: no hello from its owner yet" }]);
  });

  test("ends a link for good that is broken for one lease, with its reason; who was there is no member any more", () => {
    const { world, nodes } = releasedMesh(3);
    const [a, b, c] = nodes as [Node, Node, Node];
    // kill -9: b does nothing any more, its connections break, and nobody listens there.
    b.isListening = false;
    b.handle = () => {};
    Object.defineProperty(b, "timeout", { value: Number.POSITIVE_INFINITY });
    a.newest(b).abort("acceptor");
    b.newest(c).abort("dialer");
    world.flow();
    const others = [a, c];
    world.live(limits.leaseMs - 1);
    expect(others.map(downs)).toEqual([[], []]);
    world.live(1_000);
    for (const node of others) {
      expect(downs(node)).toEqual([[b.address, expect.stringMatching(/^not linked for 20 s: ./)]]);
      expect(node.member.members).toEqual([a.address, c.address]);
    }
    world.live(600_000);
    expect(others.map(({ member }) => member.rank)).toEqual([0, 1]);
  });

  test("ends a link that has never been up after one lease, too", () => {
    const world = new World();
    const a = world.admitted(1, [1, 2]);
    a.hear({ type: "release", reason: "enough" });
    world.live(limits.leaseMs + 1_000);
    expect(a.eventsOf("unlink")).toMatchObject([{ peer: listed(2).address, wasUp: false }]);
    expect(a.timeout).toBe(Number.POSITIVE_INFINITY);
  });

  test("sees that a peer leaves, which then is no member any more", () => {
    const { world, nodes } = releasedMesh(3);
    const [a, b, c] = nodes as [Node, Node, Node];
    b.leave();
    world.live(1_000);
    expect([downs(a), downs(c)]).toEqual([[[b.address, "left"]], [[b.address, "left"]]]);
    expect(a.eventsOf("directory").at(-1)?.members).toEqual([listed(1), listed(3)]);
    expect(b.events.at(-1)).toEqual({ type: "closed" });
  });

  test("takes nobody back with whom the link has ended", () => {
    const { world, nodes } = releasedMesh(2);
    const [a, b] = nodes as [Node, Node];
    b.isListening = false;
    a.newest(b).abort("acceptor");
    world.live(limits.leaseMs + 1_000);
    const call = world.call(a);
    call.say("dialer", { type: "hello", mesh: "m", from: idOf(2), to: idOf(1), attempt: 9, since: 0, received: 0 });
    expect(call.frames("acceptor")).toMatchObject([{ type: "refuse", code: "GONE" }]);
  });

  test("hears of it also when it comes back", () => {
    const world = new World();
    const node = world.admitted(1, [1]).loseSession().reachAgain();
    node.hear({ type: "release", reason: "enough" });
    world.live(600_000);
    expect(node.eventsOf("released")).toHaveLength(1);
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test("gets no key, and loses those that it holds when their lease is over", () => {
    const world = new World();
    const node = world.admitted(1, [1]);
    node.handle({ type: "claim", key: "waits", number: 1, waits: true });
    node.hear({ type: "release", reason: "enough" });
    node.handle({ type: "claim", key: "new", number: 2, waits: true });
    expect(node.eventsOf("claimRefused")).toMatchObject([
      { number: 1, code: "RELEASED" },
      { number: 2, code: "RELEASED" },
    ]);
  });

  test("ends when it leaves, with the reason", () => {
    const { world, nodes } = releasedMesh(2);
    const [a] = nodes as [Node, Node];
    a.leave();
    world.live(limits.drainMs);
    expect(a.eventsOf("ended")).toEqual([{ type: "ended", reason: "left" }]);
    expect(a.events.at(-1)).toEqual({ type: "closed" });
  });
});
