import { describe, expect, test } from "vitest";
import { nativeSessionTransitions } from "../../../src/mesh/native/session.js";
import type { Control } from "../../../src/protocol/native/control.js";
import { hello, idOf, joined, listed, logId } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();
const nonce = idOf(77);

/** A member that has been admitted and has lost its session. */
function away(rules: Parameters<World["node"]>[1] = {}): { world: World; node: Node } {
  const world = new World();
  const node = world
    .node(1, rules)
    .begin()
    .admit([listed(1), listed(2)]);
  node.loseSession();
  return { world, node };
}

/** It has come back, and asks for its place. */
function returning(): { world: World; node: Node } {
  const { world, node } = away();
  node.reachAgain();
  return { world, node };
}

function challenge(world: World, node: Node, id = idOf(1), mesh = "m"): string | undefined {
  const call = world.call(node).say("dialer", { type: "challenge", mesh, id, nonce }).from("acceptor");
  return call.frames("acceptor").at(-1)?.type;
}

describe("a registration", () => {
  test("says who asks, and proves the address by the nonce that came to it", () => {
    const world = new World();
    const node = world.node(1, { name: "first", meta: { rack: 4 } }).begin();
    expect(node.said).toEqual([
      { type: "register", mesh: "m", id: idOf(1), address: node.address, name: "first", meta: { rack: 4 } },
    ]);
    expect(challenge(world, node)).toBe("here");
    expect(node.said.at(-1)).toEqual({ type: "proof", nonce });
    node.hear({ type: "waiting", place: 3 });
    node.admit([listed(1), listed(2)]);
    expect(node.events.map(({ type }) => type)).toEqual(["connected", "waiting", "registered", "directory"]);
    expect(node.eventsOf("registered")).toEqual([{ type: "registered", address: node.address, order: 1 }]);
  });

  test.each([
    ["another incarnation", idOf(9), "m"],
    ["another mesh", idOf(1), "other"],
  ])("is not proved by a challenge for %s", (_, id, mesh) => {
    const world = new World();
    const node = world.node(1).begin();
    expect(challenge(world, node, id, mesh)).toBe("refuse");
    expect(node.said.map(({ type }) => type)).toEqual(["register"]);
    expect(node.notes).toEqual(["UNAWAITED_CHALLENGE"]);
  });

  test("that is refused ends the member", () => {
    const node = new World().node(1).begin();
    node.hear({ type: "refuse", code: "ADDRESS_IN_USE", message: "somebody lives there" });
    expect(node.eventsOf("ended")).toEqual([
      { type: "ended", reason: "ADDRESS_IN_USE: somebody lives there", failure: "REFUSED" },
    ]);
  });

  const busy = { type: "refuse", code: "BUSY", message: "no room", retryMs: 2_000 } as const;

  test("that the server refuses for now is made again on a new connection, not before the time that it has said", () => {
    const world = new World();
    const node = world.node(1).begin();
    const first = node.session;
    node.hear(busy);
    expect(node.notes).toEqual(["SERVER_BUSY"]);
    world.pass(1_999);
    expect(node.session).toBe(first);
    world.pass(1_001);
    expect(node.session).not.toBe(first);
    node.session.connect();
    // The log may have taken the first one all the same: with an order that this member does not know.
    expect(node.said).toMatchObject([{ type: "register", id: idOf(1_001), address: node.address }]);
    node.admit([{ ...listed(1), id: idOf(1_001) }]);
    expect(node.eventsOf("ended")).toEqual([]);
    expect(node.eventsOf("registered")).toHaveLength(1);
  });

  test("that is refused for now is put off by other times for other members, and never for as long as a server likes", () => {
    const pauses = [1, 2, 3].map((number) => {
      const world = new World();
      const node = world.node(number).begin();
      node.hear({ ...busy, retryMs: Number.MAX_SAFE_INTEGER });
      world.pass(limits.lingerMs);
      return node.timeout;
    });
    expect(new Set(pauses).size).toBe(3);
    for (const pause of pauses) expect(pause).toBeLessThanOrEqual(limits.lingerMs + 1.5 * limits.retryMaxMs);
  });

  test("may be given up while it is put off", () => {
    const world = new World();
    const node = world.node(1).begin();
    const first = node.session;
    node.hear(busy);
    node.leave();
    world.pass(10_000);
    expect(node.eventsOf("ended")).toMatchObject([{ reason: "left" }]);
    expect(node.session).toBe(first);
  });

  test("during which the server goes ends the member", () => {
    const node = new World().node(1).begin();
    node.loseSession();
    expect(node.eventsOf("ended")).toMatchObject([{ failure: "SERVER_VANISHED" }]);
  });

  test("is taken to the next of several servers when the first one accepts and says nothing, and waits longer where there is one", () => {
    const first = { host: "10.0.0.250", port: 80 };
    const second = { host: "10.0.0.251", port: 80 };
    for (const servers of [[first, second], [first]]) {
      const world = new World();
      const node = world.node(1);
      node.handle({ type: "connectToServer", servers });
      node.dialsTo("10.0.0.250:80").at(-1)?.connect();
      node.handle({ type: "listening", on: { host: "10.0.0.1", port: 7000 } });
      node.handle({ type: "register" });
      world.pass(world.limits.probeMs);
      expect(node.dialsTo("10.0.0.251:80")).toHaveLength(servers.length - 1);
      expect(node.eventsOf("ended")).toEqual([]);
    }
  });

  test("that cannot reach the server may be tried again", () => {
    const world = new World();
    const node = world.node(1);
    node.handle({ type: "connectToServer", servers: [{ host: "10.0.0.250", port: 80 }] });
    node.session.refuse();
    expect(node.eventsOf("unreachable")).toMatchObject([{ failure: "SERVER_UNREACHABLE" }]);
    node.begin().admit([listed(1)]);
    expect(node.eventsOf("registered")).toHaveLength(1);
  });

  test("is sent on a new connection if the server has closed an idle one", () => {
    const world = new World();
    const node = world.node(1);
    node.handle({ type: "connectToServer", servers: [{ host: "10.0.0.250", port: 80 }] });
    node.session.connect().halfClose("acceptor");
    node.session.from("acceptor");
    expect(node.notes).toEqual(["SERVER_IDLE_CLOSED"]);
    node.handle({ type: "listening", on: { host: "0.0.0.0", port: 7000 } });
    node.handle({ type: "register" });
    node.session.connect();
    expect(node.said).toMatchObject([{ type: "register", address: "10.0.0.99:7000" }]);
  });
});

describe("a member that comes back", () => {
  test("is not there again before the time that a busy server has said", () => {
    const { world, node } = returning();
    const before = node.session;
    node.hear({ type: "refuse", code: "BUSY", message: "no room", retryMs: 2_000 });
    world.pass(1_999);
    expect(node.session).toBe(before);
    world.pass(1_001);
    expect(node.session).not.toBe(before);
  });
});

describe("the directory", () => {
  test("may come in parts, and counts when it is whole", () => {
    const world = new World();
    const node = world.node(1).begin();
    node.hear({ type: "admitted", log: logId, order: 1, revision: 3, observed: node.address, leaseMs: 20_000 });
    node.hear({ type: "directory", revision: 3, members: [listed(1), listed(2)], more: true });
    expect(node.eventsOf("directory")).toEqual([]);
    node.hear({ type: "directory", revision: 3, members: [listed(3)] });
    expect(node.eventsOf("directory")).toEqual([
      { type: "directory", members: [1, 2, 3].map((number) => listed(number)) },
    ]);
  });

  test("does not take an entry twice", () => {
    const world = new World();
    const node = world.admitted(1, [1]);
    node.entries(joined(listed(2)), joined(listed(2)));
    node.entries({ type: "lost", revision: 3, id: idOf(2), reason: "silent" });
    node.entries(joined(listed(2)));
    expect(node.member.members).toEqual([listed(1).address]);
    expect(node.member.revision).toBe(3);
  });

  test("is told with what the server says of the pairs, by address", () => {
    const node = new World().admitted(1, [1, 2]);
    node.hear({ type: "complete", revision: 2, members: 2, links: 1, unverified: 0 });
    node.hear({
      type: "degraded",
      revision: 2,
      count: 2,
      missing: [
        [idOf(1), idOf(2), "dialing", 3, "x", 30_000],
        [idOf(1), idOf(9), "broken", 1, "y", 0],
      ],
    });
    expect(node.eventsOf("complete")).toMatchObject([{ scope: "mesh", links: 1 }]);
    expect(node.eventsOf("degraded")).toMatchObject([
      {
        count: 2,
        missing: [
          { a: listed(1), b: listed(2), owner: listed(1), stage: "dialing", attempt: 3, reason: "x", since: -30_000 },
        ],
      },
    ]);
  });
});

describe("that the mesh is whole", () => {
  const whole: Control = { type: "complete", revision: 2, members: 2, links: 1, unverified: 0 };

  test("is not told while a link of this node is broken: the server hears of that first, and is asked again", () => {
    const world = new World();
    const { owner, wire } = world.pair();
    owner.handle({ type: "watch", size: 2 });
    world.pass(world.limits.reportMs);
    const said = owner.said.length;
    wire.abort("acceptor");
    wire.from("acceptor");
    owner.hear(whole);
    expect(owner.eventsOf("complete")).toEqual([]);
    expect(owner.said.slice(said).map(({ type }) => type)).toEqual(["links", "watch"]);
    expect(owner.said[said]).toMatchObject({ up: [], down: [[idOf(2), "broken", 1, expect.any(String)]] });
    world.live(1_000);
    owner.hear(whole);
    expect(owner.eventsOf("complete")).toMatchObject([{ members: 2, links: 1 }]);
  });
});

describe("an end of the mesh", () => {
  const teardown = { type: "teardown", reason: "not complete within 60 s", deadlineMs: 10_000 } as const;

  test("is a failure where the server says what the mesh lacks, and none where it does not", () => {
    const [whole, other] = [1, 2].map((number) => new World().admitted(number, [number])) as [Node, Node];
    whole.hear(teardown);
    other.hear({ ...teardown, incomplete: "1 of 2 members are there" });
    expect(whole.eventsOf("ended")).toEqual([{ type: "ended", reason: "not complete within 60 s" }]);
    expect(other.eventsOf("ended")).toEqual([
      { type: "ended", reason: "not complete within 60 s: 1 of 2 members are there", failure: "INCOMPLETE" },
    ]);
  });
});

describe("a session that breaks", () => {
  test("is resumed from the newest revision, and links live on meanwhile", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.loseSession();
    expect(owner.notes).toEqual(["SERVER_AWAY"]);
    expect(owner.noteMessages).toEqual([
      "the connection to the server at 10.0.0.250:80 broke (ECONNRESET); looking for it",
    ]);
    owner.send(later, "meanwhile");
    wire.flow();
    expect(later.messages).toEqual(["meanwhile"]);
    owner.reachAgain();
    expect(owner.said).toEqual([
      {
        type: "resume",
        mesh: "m",
        id: idOf(1),
        address: owner.address,
        log: logId,
        revision: 2,
        order: 1,
        highest: 2,
      },
    ]);
    expect(challenge(world, owner)).toBe("here");
    expect(owner.said.slice(-2)).toEqual([
      { type: "proof", nonce },
      { type: "known", members: [listed(2)], gone: [] },
    ]);
    owner.hear({ type: "admitted", log: logId, order: 1, revision: 4, observed: owner.address, leaseMs: 20_000 });
    owner.entries(joined(listed(3)), joined(listed(4)));
    expect(owner.member.revision).toBe(4);
    expect(owner.dialsTo(listed(4).address)).toHaveLength(1);
    expect(owner.eventsOf("unlink")).toEqual([]);
    expect(owner.eventsOf("registered")).toHaveLength(1);
    expect(wire.isOpen).toBe(true);
  });

  test("and comes back with a whole directory ends the links with those who are not in it", () => {
    const world = new World();
    const [node, second, third] = world.mesh(3) as [Node, Node, Node];
    for (const other of [second, third]) node.newest(other).flow();
    node.loseSession().reachAgain();
    node.admit([listed(1), listed(3), listed(5)]);
    expect(node.eventsOf("unlink")).toMatchObject([
      { type: "unlink", peer: second.address, reason: "no longer in the directory", unacknowledged: 0, wasUp: true },
    ]);
    expect(node.isUp(third)).toBe(true);
    expect(node.dialsTo(listed(5).address)).toHaveLength(1);
    const call = world
      .call(node)
      .say("dialer", hello(9, 2, 1))
      .from("acceptor");
    expect(call.last("acceptor", "refuse")).toMatchObject({ code: "GONE" });
  });

  test("forgets the half of a directory that it had read", () => {
    const world = new World();
    const node = world.node(1).begin();
    node.hear({ type: "admitted", log: logId, order: 1, revision: 3, observed: node.address, leaseMs: 20_000 });
    node.hear({ type: "directory", revision: 3, members: [listed(1), listed(2)], more: true });
    node.loseSession().reachAgain();
    node.admit([listed(1), listed(3)]);
    expect(node.member.members).toEqual([listed(1).address, listed(3).address]);
  });

  test("does not prove anything before it has asked for its place", () => {
    const { world, node } = away();
    expect(challenge(world, node)).toBe("refuse");
    world.pass(limits.redialMinMs);
    // The dial is under way.
    expect(challenge(world, node)).toBe("refuse");
    node.session.connect();
    expect(challenge(world, node)).toBe("here");
    expect(node.said.map(({ type }) => type)).toEqual(["resume", "proof", "known"]);
  });

  test("is tried again and again, with pauses that grow up to a limit", () => {
    const { world, node } = away();
    let tries = 1;
    for (let failures = 1; failures < 12; failures += 1) {
      world.pass(Math.min(limits.serverRedialMaxMs, limits.redialMinMs * 2 ** (failures - 1)) / 2 - 1);
      expect(node.dialsTo("10.0.0.250:80")).toHaveLength(tries);
      world.pass(limits.serverRedialMaxMs);
      tries += 1;
      expect(node.dialsTo("10.0.0.250:80")).toHaveLength(tries);
      node.session.refuse();
    }
    expect(node.notes).toEqual(["SERVER_AWAY", ...node.notes.slice(1).filter((code) => code !== "SERVER_AWAY")]);
    world.pass(limits.serverRedialMaxMs);
    node.session.connect();
    node.admit([listed(1), listed(2)]);
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test("whose resume is not answered is tried again", () => {
    const { world, node } = returning();
    const { session } = node;
    world.isServerAwake = false;
    world.pass(limits.handshakeMs);
    expect(session.dialer.isClosed).toBe(true);
    world.pass(limits.serverRedialMaxMs);
    expect(node.session).not.toBe(session);
  });

  test("whose resume is refused for the moment is tried again", () => {
    const { world, node } = returning();
    const { session } = node;
    node.hear({ type: "refuse", code: "ADDRESS_UNPROVED", message: "no answer" });
    world.pass(limits.serverRedialMaxMs);
    expect(node.session).not.toBe(session);
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test("ends the member when the server has been away for too long", () => {
    const { world, node } = away({ serverLostMs: 60_000 });
    for (let ms = 0; ms < 59_000; ms += 1_000) {
      world.pass(1_000);
      if (!node.session.dialer.isClosed) node.session.refuse();
    }
    expect(node.eventsOf("ended")).toEqual([]);
    world.pass(1_000);
    expect(node.eventsOf("ended")).toMatchObject([{ failure: "SERVER_VANISHED" }]);
  });
});

test("the table of a session leads from every state to its end", () => {
  for (const [state, row] of Object.entries(nativeSessionTransitions))
    expect([state, row.over]).toEqual([state, "over"]);
});
