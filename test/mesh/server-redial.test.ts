import { describe, expect, test } from "vitest";
import { idOf, listed, serverAddress } from "./native/names.js";
import type { Node } from "./native/node.js";
import { World } from "./native/world.js";

const { limits } = new World();
const to = { host: "10.0.0.250", port: 80 };

/** A member that looks for its server for so long. */
function seeker(lookMs: number): { world: World; node: Node } {
  const world = new World();
  const node = world.node(1);
  node.handle({ type: "connectToServer", to, lookMs });
  return { world, node };
}

/** The same, and nobody listens there until so much time has passed. */
function refuseFor(world: World, node: Node, ms: number): void {
  const end = world.now + ms;
  while (world.now < end) {
    if (!node.session.isConnected && !node.session.dialer.isClosed) node.session.refuse();
    world.pass(Math.min(100, end - world.now));
  }
}

function register(node: Node): void {
  node.handle({ type: "listening", on: { host: "10.0.0.1", port: 7000 } });
  node.handle({ type: "register" });
}

function closeSession(node: Node): void {
  node.session.halfClose("acceptor");
  node.session.from("acceptor");
}

describe("a server that is not there yet", () => {
  test("is dialed after pauses that grow, is said to be awaited once, and takes the node in when it is there", () => {
    const { world, node } = seeker(60_000);
    refuseFor(world, node, 20_000);
    const dials = node.dialsTo(serverAddress).length;
    expect(dials).toBeGreaterThan(5);
    expect(dials).toBeLessThan(45);
    expect(node.notes).toEqual(["SERVER_AWAITED"]);
    expect(node.noteMessages).toEqual(["no server at 10.0.0.250:80 yet (ECONNREFUSED); trying again for 60 s"]);
    expect(node.events).toEqual([]);
    world.pass(limits.serverRedialMaxMs);
    node.session.connect();
    register(node);
    node.admit([listed(1)]);
    world.pass(60_000);
    expect(node.eventsOf("registered")).toHaveLength(1);
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test("ends the node when the time is over, with the last failure as the cause", () => {
    const { world, node } = seeker(5_000);
    refuseFor(world, node, 4_999);
    expect(node.eventsOf("ended")).toEqual([]);
    world.pass(1);
    expect(node.eventsOf("ended")).toEqual([
      {
        type: "ended",
        reason: `after 5000 ms no connection to ${serverAddress}: ECONNREFUSED`,
        failure: "TIMED_OUT",
        cause: { code: "SERVER_UNREACHABLE", message: `${serverAddress}: ECONNREFUSED` },
      },
    ]);
    const dials = node.dialsTo(serverAddress).length;
    world.pass(60_000);
    expect(node.dialsTo(serverAddress)).toHaveLength(dials);
  });

  test("is looked for for ever, if that is wanted", () => {
    const { world, node } = seeker(Number.POSITIVE_INFINITY);
    refuseFor(world, node, 900_000);
    expect(node.eventsOf("ended")).toEqual([]);
    expect(node.session.dialer.isClosed && node.timeout === Number.POSITIVE_INFINITY).toBe(false);
  });

  test("ends one step only, without a search", () => {
    const world = new World();
    const node = world.node(1);
    node.handle({ type: "connectToServer", to });
    node.session.refuse();
    world.pass(60_000);
    expect(node.dialsTo(serverAddress)).toHaveLength(1);
    expect(node.eventsOf("unreachable")).toHaveLength(1);
  });
});

describe("a server that goes before it has taken the node in", () => {
  test.each([
    ["closes", closeSession],
    [
      "breaks",
      (node: Node) => {
        node.loseSession();
      },
    ],
  ])(
    "is looked for when the connection %s, and gets the same registration again under a fresh id: the first may count",
    (_, go) => {
      const { world, node } = seeker(30_000);
      node.session.connect();
      register(node);
      const [registration] = node.said;
      go(node);
      expect(node.notes).toEqual(["SERVER_AWAITED"]);
      world.pass(limits.redialMinMs);
      node.session.connect();
      expect(node.said).toEqual([{ ...registration, id: idOf(1_001) }]);
      node.admit([{ ...listed(1), id: idOf(1_001) }]);
      expect(node.eventsOf("registered")).toHaveLength(1);
    },
  );

  test("that is busy is dialed when it has said, and no longer than the time allows", () => {
    const { world, node } = seeker(3_000);
    node.session.connect();
    register(node);
    node.hear({ type: "refuse", code: "BUSY", message: "no room", retryMs: 60_000 });
    world.pass(3_000);
    expect(node.dialsTo(serverAddress)).toHaveLength(1);
    expect(node.eventsOf("ended")).toMatchObject([
      { failure: "TIMED_OUT", cause: { code: "BUSY", message: `${serverAddress}: BUSY: no room` } },
    ]);
  });
});

describe("a server that is there", () => {
  test("ends the search with a refusal", () => {
    const { world, node } = seeker(30_000);
    node.session.connect();
    register(node);
    node.hear({ type: "refuse", code: "FOREIGN_HOST", message: "another host" });
    world.pass(30_000);
    expect(node.eventsOf("ended")).toEqual([
      { type: "ended", reason: "FOREIGN_HOST: another host", failure: "REFUSED" },
    ]);
    expect(node.dialsTo(serverAddress)).toHaveLength(1);
  });

  test("ends the search when it proves to have another secret", () => {
    const { world, node } = seeker(30_000);
    node.handle({ type: "unproved", connection: "out:1", code: "SECRET_MISMATCH", message: "it has another secret" });
    world.pass(30_000);
    expect(node.eventsOf("ended")).toMatchObject([{ failure: "SECRET_MISMATCH" }]);
    expect(node.dialsTo(serverAddress)).toHaveLength(1);
  });

  test("ends the search when it does not answer in time", () => {
    const { world, node } = seeker(5_000);
    world.isServerAwake = false;
    node.session.connect();
    register(node);
    world.pass(5_000);
    expect(node.eventsOf("ended")).toMatchObject([
      { failure: "TIMED_OUT", reason: `after 5000 ms ${serverAddress} has not taken in 10.0.0.1:7000` },
    ]);
  });
});

describe("time in the waiting line", () => {
  test("does not count, and the rest of the time runs on if the server goes", () => {
    const { world, node } = seeker(5_000);
    refuseFor(world, node, 2_000);
    world.pass(1_000);
    node.session.connect();
    register(node);
    node.hear({ type: "waiting", place: 3 });
    const sinceMs = world.now;
    world.pass(3_600_000);
    node.hear({ type: "waiting", place: 1 });
    expect(node.eventsOf("ended")).toEqual([]);
    node.loseSession();
    const leftMs = 5_000 - sinceMs;
    refuseFor(world, node, leftMs - 1);
    expect(node.eventsOf("ended")).toEqual([]);
    world.pass(1);
    expect(node.eventsOf("ended")).toMatchObject([{ failure: "TIMED_OUT" }]);
  });
});
