import { describe, expect, test } from "vitest";
import type { MemberRules } from "../../../src/mesh/types.js";
import type { Control } from "../../../src/protocol/native/control.js";
import { idOf, listed } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();
function refusal(code: string, message = "because"): Control {
  return { type: "refuse", code, message };
}

const unproved = refusal("ADDRESS_UNPROVED", "10.0.0.1:7000: no answer");

/** A member of a mesh of two that listens where its machine reaches the server, or where its owner has said. */
function memberAt(host: string, isDefault: boolean, rules: Partial<MemberRules> = {}) {
  const world = new World();
  const node = world.node(1, rules);
  node.handle({ type: "connectToServer", servers: [{ host: "10.0.0.250", port: 80 }] });
  node.session.connect();
  node.handle({ type: "listening", on: { host, port: 7000 }, isDefault });
  node.handle({ type: "register" });
  node.admit([{ ...listed(1), address: node.member.own ?? listed(1).address }]);
  return { world, node };
}

/** The server takes in whoever has registered. */
function letIn(node: Node): void {
  const asked = node.said.find((frame) => frame.type === "register");
  if (asked?.type !== "register") throw new Error("it has not registered");
  node.admit([{ ...listed(1), id: asked.id }]);
}

/** The server answers every try to come back with this, until so much time has passed or the member has ended. */
function refuseFor(world: World, node: Node, ms: number, answer: Control): void {
  const end = world.now + ms;
  while (world.now < end && node.eventsOf("ended").length === 0) {
    if (!node.session.isConnected && !node.session.dialer.isClosed) node.session.connect();
    if (node.session.isOpen) node.hear(answer);
    world.pass(100);
  }
}

describe("a member that the server does not take back", () => {
  test("says each new code once, and ends with the newest one after a lease", () => {
    const { world, node } = memberAt("10.0.0.1", false);
    node.loseSession();
    refuseFor(world, node, 5_000, unproved);
    refuseFor(world, node, limits.leaseMs - 6_000, refusal("ADDRESS_IN_USE", "it belongs to a live member"));
    expect(node.eventsOf("ended")).toEqual([]);
    expect(node.notes).toEqual(["SERVER_AWAY", "ADDRESS_UNPROVED", "ADDRESS_IN_USE"]);
    refuseFor(world, node, limits.leaseMs, unproved);
    expect(node.eventsOf("ended")).toEqual([
      { type: "ended", reason: "ADDRESS_UNPROVED: 10.0.0.1:7000: no answer", failure: "REFUSED" },
    ]);
    expect(node.notes).toEqual(["SERVER_AWAY", "ADDRESS_UNPROVED", "ADDRESS_IN_USE"]);
  });

  test("has a whole lease again after it has been taken back", () => {
    const { world, node } = memberAt("10.0.0.1", false);
    for (let times = 0; times < 3; times += 1) {
      node.loseSession();
      refuseFor(world, node, limits.leaseMs - 1_000, unproved);
      world.pass(limits.serverRedialMaxMs);
      if (!node.session.isConnected) node.session.connect();
      node.admit([listed(1)]);
    }
    expect(node.eventsOf("ended")).toEqual([]);
    expect(node.notes.filter((code) => code === "ADDRESS_UNPROVED")).toHaveLength(3);
  });

  test("because the server is busy tries for as long as it takes", () => {
    const { world, node } = memberAt("10.0.0.1", false);
    node.loseSession();
    refuseFor(world, node, 3 * limits.leaseMs, refusal("BUSY"));
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test.each(["STORE_ROLLED_BACK", "STORE_CORRUPT"])(
    "because of its store (%s) says so once, and tries for as long as it takes",
    (code) => {
      const { world, node } = memberAt("10.0.0.1", false);
      node.loseSession();
      refuseFor(world, node, 3 * limits.leaseMs, refusal(code));
      expect(node.eventsOf("ended")).toEqual([]);
      expect(node.notes).toEqual(["SERVER_AWAY", code]);
      refuseFor(world, node, limits.leaseMs + 2 * limits.serverRedialMaxMs, unproved);
      expect(node.eventsOf("ended")).toHaveLength(1);
    },
  );
});

describe("a member whose machine has another address now", () => {
  test("listens there, and registers there with a new id, once the server refuses the old address", () => {
    const { world, node } = memberAt("10.0.0.99", true);
    node.loseSession();
    world.localHost = "10.0.0.33";
    node.reachAgain();
    expect(node.said).toMatchObject([{ type: "resume", address: "10.0.0.99:7000" }]);
    expect(node.eventsOf("moved")).toEqual([]);
    node.hear(unproved);
    expect(node.eventsOf("moved")).toEqual([{ type: "moved", host: "10.0.0.33" }]);
    node.handle({ type: "listening", on: { host: "10.0.0.33", port: 7333 }, isDefault: true });
    expect(node.eventsOf("fenced")).toEqual([
      { type: "fenced", reason: "this machine's address has changed from 10.0.0.99 to 10.0.0.33" },
    ]);
    node.session.connect();
    expect(node.said).toMatchObject([{ type: "register", id: idOf(1_001), address: "10.0.0.33:7333" }]);
    node.admit([{ ...listed(3), id: idOf(1_001), address: "10.0.0.33:7333" }], 3);
    expect(node.eventsOf("registered").map(({ address }) => address)).toEqual(["10.0.0.99:7000", "10.0.0.33:7333"]);
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test("registers there at once if it listens on all addresses", () => {
    const { world, node } = memberAt("0.0.0.0", false);
    node.loseSession();
    world.localHost = "10.0.0.33";
    node.reachAgain();
    node.hear(refusal("FOREIGN_HOST"));
    expect(node.eventsOf("moved")).toEqual([]);
    node.session.connect();
    expect(node.said).toMatchObject([{ type: "register", id: idOf(1_001), address: "10.0.0.33:7000" }]);
  });

  test("does so too if it has been removed meanwhile, and the server does not find its new incarnation", () => {
    const { world, node } = memberAt("10.0.0.99", true);
    node.loseSession();
    world.localHost = "10.0.0.33";
    node.reachAgain();
    node.hear(refusal("FENCED"));
    node.session.connect();
    expect(node.said).toMatchObject([{ type: "register", id: idOf(1_001), address: "10.0.0.99:7000" }]);
    node.hear(refusal("FOREIGN_HOST"));
    expect(node.eventsOf("moved")).toEqual([{ type: "moved", host: "10.0.0.33" }]);
    node.handle({ type: "listening", on: { host: "10.0.0.33", port: 7333 }, isDefault: true });
    node.session.connect();
    expect(node.said).toMatchObject([{ type: "register", id: idOf(3_001), address: "10.0.0.33:7333" }]);
  });

  test("registers with a new id each time that the server goes before it has let the next incarnation in", () => {
    const { node } = memberAt("10.0.0.99", true);
    node.loseSession().reachAgain().hear(refusal("FENCED"));
    node.session.connect();
    expect(node.said).toMatchObject([{ type: "register", id: idOf(1_001) }]);
    node.loseSession().reachAgain();
    expect(node.said).toMatchObject([{ type: "register", id: idOf(2_001) }]);
    node.admit([{ ...listed(3), id: idOf(2_001), address: "10.0.0.99:7000" }], 3);
    expect(node.eventsOf("registered")).toHaveLength(2);
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test("asks again at the next refusal if it cannot listen there, and ends after a lease", () => {
    const { world, node } = memberAt("10.0.0.99", true);
    node.loseSession();
    world.localHost = "10.0.0.33";
    refuseFor(world, node, 2 * limits.leaseMs, unproved);
    expect(node.eventsOf("moved").length).toBeGreaterThan(1);
    expect(node.eventsOf("ended")).toMatchObject([{ failure: "REFUSED" }]);
  });

  const settled: [how: string, host: string, isDefault: boolean, rules: Partial<MemberRules>][] = [
    ["has been told where to listen", "10.0.0.99", false, {}],
    ["advertises an address", "0.0.0.0", false, { advertise: "10.0.0.1:7000" }],
  ];

  test.each(settled)("stays where it is if it %s", (_, host, isDefault, rules) => {
    const { world, node } = memberAt(host, isDefault, rules);
    node.loseSession();
    world.localHost = "10.0.0.33";
    refuseFor(world, node, 2 * limits.leaseMs, unproved);
    expect(node.eventsOf("moved")).toEqual([]);
    expect(node.eventsOf("fenced")).toEqual([]);
    expect(node.eventsOf("ended")).toMatchObject([{ failure: "REFUSED" }]);
  });

  test("keeps its place if the server finds it at the old one still", () => {
    const { world, node } = memberAt("10.0.0.99", true);
    node.loseSession();
    world.localHost = "10.0.0.33";
    node.reachAgain();
    node.admit([listed(1)]);
    expect(node.eventsOf("moved")).toEqual([]);
    expect(node.eventsOf("registered")).toHaveLength(1);
  });
});

describe("two programs with one address", () => {
  /** Somebody else proves the address of this member as soon as it is in, for so long. Returns when it got in. */
  function pushOutFor(world: World, node: Node, ms: number): number[] {
    const admissions: number[] = [];
    const end = world.now + ms;
    while (world.now < end) {
      if (!node.session.isConnected && !node.session.dialer.isClosed) {
        node.session.connect();
        letIn(node);
        admissions.push(world.now);
        node.hear(refusal("FENCED", "somebody else has proved the address"));
      }
      world.pass(10);
    }
    return admissions;
  }

  test("push one another out ever more rarely, and say what it is", () => {
    const { world, node } = memberAt("10.0.0.1", false);
    node.hear(refusal("FENCED"));
    expect(pushOutFor(world, node, 5_000).length).toBeLessThan(12);
    expect(node.notes.filter((code) => code === "ADDRESS_SHARED").length).toBeGreaterThan(0);
    pushOutFor(world, node, 60_000);
    const late = pushOutFor(world, node, 600_000);
    // No more often than twice in the longest pause, and it goes on trying.
    expect(late.length).toBeLessThanOrEqual(600_000 / (limits.redialMaxMs / 2));
    expect(late.length).toBeGreaterThan(10);
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test("are not what a member has met that was removed once, or has lasted in between", () => {
    const { world, node } = memberAt("10.0.0.1", false);
    for (let times = 0; times < 6; times += 1) {
      node.hear(refusal("FENCED"));
      node.session.connect();
      letIn(node);
      world.pass(limits.admissionProvenMs);
    }
    expect(node.notes).toEqual([]);
  });
});
