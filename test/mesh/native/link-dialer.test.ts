import { describe, expect, test } from "vitest";
import { encodeAcknowledgement } from "../../../src/protocol/native/acknowledgement.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { idOf, joined, listed } from "./names.js";
import type { Node } from "./node.js";
import { messageFrame } from "./recording-handler.js";
import { World } from "./world.js";

const { limits } = new World();

/** The first of so many members; the others are names in the directory. */
function owner(others = 1, world = new World()): { world: World; node: Node } {
  const members = Array.from({ length: others + 1 }, (_, index) => listed(index + 1));
  return { world, node: world.node(1).begin().admit(members) };
}

/** How often it has dialed the second member. */
function dials(node: Node): number {
  return node.dialsTo(listed(2).address).length;
}

describe("an owner", () => {
  test("says hello with its first attempt when the connection is there, and not before", () => {
    const { node } = owner();
    const [wire] = node.dialsTo(listed(2).address);
    expect(wire?.dialer.sent).toEqual([]);
    wire?.connect();
    expect(wire?.frames("dialer")).toEqual([
      { type: "hello", mesh: "m", from: idOf(1), to: idOf(2), attempt: 1, since: 0, received: 0, batches: true },
    ]);
  });

  test("that meets another version sends nothing more, and dials again after a pause", () => {
    const { world, node } = owner();
    const [wire] = node.dialsTo(listed(2).address);
    const sent = wire?.connect().dialer.sent.length;
    wire?.send("acceptor", encodePreface({ lowest: 3, highest: 4 }));
    wire?.from("acceptor");
    expect(wire?.dialer.sent).toHaveLength(sent ?? -1);
    expect(wire?.dialer.onItsWay.at(-1)).toBe("end");
    expect(node.notes).toContain("VERSION_MISMATCH");
    world.pass(limits.redialMinMs);
    expect(dials(node)).toBe(2);
  });

  test("dials only those who joined after it", () => {
    const world = new World();
    const node = world.admitted(2, [1, 2, 3]);
    expect(node.dialsTo(listed(1).address)).toEqual([]);
    expect(node.dialsTo(listed(3).address)).toHaveLength(1);
    node.entries(joined(listed(4)));
    expect(node.dialsTo(listed(4).address)).toHaveLength(1);
  });

  test("with the same order as another member is the one with the smaller id", () => {
    const world = new World();
    const node = world.node(2).begin();
    node.admit([{ ...listed(1), order: 2 }, listed(2), { ...listed(3), order: 2 }]);
    expect([dialsOf(1), dialsOf(3)]).toEqual([0, 1]);

    function dialsOf(number: number): number {
      return node.dialsTo(listed(number).address).length;
    }
  });

  test("has a few attempts open at once, and starts the next when one is over", () => {
    const { world, node } = owner(12);
    const open = (): number => node.openWires.length - 1;
    expect(open()).toBe(limits.dialsInFlight);
    for (const wire of node.openWires.slice(1, 4)) wire.refuse();
    expect(open()).toBe(limits.dialsInFlight);
    const [, wire] = node.openWires;
    wire?.connect().say("acceptor", { type: "answer", attempt: 1, since: 1, received: 0 });
    world.pass(0);
    expect(open()).toBe(limits.dialsInFlight + 1);
  });

  test("is linked within a second with one that answers, beside 40 that accept and never say a word, and 40 that never accept", () => {
    const world = new World();
    const honest = world.node(82);
    const members = Array.from({ length: 82 }, (_, index) => listed(index + 1));
    const node = world.node(1).begin().admit(members);
    honest.begin().admit(members);
    for (let passed = 0; passed < 1_000 && !node.isUp(honest); passed += 10) {
      for (const wire of node.openWires) {
        const isTarpit = members.slice(1, 41).some(({ address }) => address === wire.to);
        if (isTarpit && !wire.isConnected) wire.connect();
      }
      node.dials(honest).at(-1)?.flow();
      world.pass(10);
    }
    expect(node.isUp(honest)).toBe(true);
  });

  test("takes an answer that comes long after others have been dialed in its place", () => {
    const { world, node } = owner(12);
    const [, late] = node.openWires;
    world.pass(limits.openingMs - 1);
    expect(node.openWires).toHaveLength(13);
    late?.connect().say("acceptor", { type: "answer", attempt: 1, since: 1, received: 0 });
    expect(node.member.nativeLinks).toHaveLength(1);
  });

  test("without a server closes its own end when the time is over, and dials again after a pause", () => {
    const { world, node } = owner();
    node.loseSession();
    const peerWires = (): number => node.openWires.filter(({ to }) => to === listed(2).address).length;
    node.notes.length = 0;
    world.pass(limits.dialMs - 1);
    expect(peerWires()).toBe(1);
    world.pass(1);
    expect(peerWires()).toBe(0);
    expect([node.notes, dials(node)]).toEqual([["DIAL_TIMEOUT"], 1]);
    world.pass(limits.redialMinMs);
    expect(dials(node)).toBe(2);
  });

  test("does not wait longer for an answer than for a connection", () => {
    const { world, node } = owner();
    node.dialsTo(listed(2).address)[0]?.connect();
    world.pass(limits.dialMs);
    expect(node.notes).toEqual(["DIAL_TIMEOUT"]);
  });

  test.each(["ECONNREFUSED", "EMFILE"])("is told why a dial failed, and by %s whose fault it is", (errno) => {
    const { node } = owner();
    node.dialsTo(listed(2).address)[0]?.refuse(errno);
    expect(node.notes).toEqual([errno === "EMFILE" ? "NO_DESCRIPTORS" : "DIAL_FAILED"]);
    expect(node.member.missing).toEqual([
      {
        address: listed(2).address,
        reason: expect.stringMatching(new RegExp(`^dialing, attempt 1: .*${errno}.*1 in a row`)),
      },
    ]);
  });

  test("waits longer after each failure, up to a limit", () => {
    const { world, node } = owner(1, new World({ dialMs: 1e9 }));
    // With a server every second attempt is the other end's.
    node.loseSession();
    for (let failures = 0; failures < 30; failures += 1) {
      node.dialsTo(listed(2).address).at(-1)?.refuse();
      const halfMs = Math.min(limits.redialMaxMs, limits.redialMinMs * 2 ** failures) / 2;
      world.pass(halfMs - 1);
      expect(dials(node)).toBe(failures + 1);
      world.pass(halfMs + 1);
      expect(dials(node)).toBe(failures + 2);
    }
  });

  test("that meets its own port has met nobody, and dials again", () => {
    const { world, node } = owner();
    node.loseSession();
    node.notes.length = 0;
    const [wire] = node.dialsTo(listed(2).address);
    const connection = wire?.dialer.stand?.connection ?? "out:0";
    const self = { host: "10.0.0.2", port: 7000 };
    if (wire !== undefined) wire.isConnected = true;
    node.handle({ type: "connected", connection, local: self, remote: self });
    expect([wire?.dialer.isClosed, wire?.dialer.sent.length, node.notes]).toEqual([true, 0, ["DIAL_FAILED"]]);
    world.pass(limits.redialMinMs);
    expect(dials(node)).toBe(2);
  });

  test.each(["WRONG_TARGET", "GONE", "WRONG_MESH", "WRONG_DIALECT"])(
    "that is refused with %s dials no more",
    (code) => {
      const { world, node } = owner();
      const wire = node.dialsTo(listed(2).address)[0]?.connect();
      wire?.say("acceptor", { type: "refuse", code, message: "no" });
      expect(wire?.dialer.hasEnded).toBe(true);
      world.pass(600_000);
      expect(dials(node)).toBe(1);
      expect(node.member.missing[0]?.reason).toBe(`refused, attempt 1: ${code} no`);
    },
  );

  test.each(["UNKNOWN_PEER", "PARKING_FULL", "NOT_OWNER", "BUSY"])("that is refused with %s tries again", (code) => {
    const { world, node } = owner();
    node.dialsTo(listed(2).address)[0]?.connect().say("acceptor", { type: "refuse", code, message: "no" });
    world.pass(limits.redialMinMs);
    expect(dials(node)).toBe(2);
  });

  test("that is refused as stale goes on above the highest attempt that was taken", () => {
    const { world, node } = owner();
    const [first] = node.dialsTo(listed(2).address);
    first?.connect().say("acceptor", { type: "refuse", code: "STALE_ATTEMPT", message: "", highest: 41 });
    world.pass(limits.redialMinMs);
    const next = node.dialsTo(listed(2).address)[1]?.connect();
    expect(next?.last("dialer", "hello")).toMatchObject({ attempt: 42 });
  });

  test.each([
    ["of another attempt", { type: "answer", attempt: 2, since: 1, received: 0 }],
    ["that begins another state", { type: "answer", attempt: 1, since: 2, received: 0 }],
    ["that has received what was not sent", { type: "answer", attempt: 1, since: 1, received: 1 }],
  ] as const)("ends the link at an answer %s", (_, answer) => {
    const { world, node } = owner();
    const wire = node.dialsTo(listed(2).address)[0]?.connect().say("acceptor", answer);
    expect(wire?.last("dialer", "refuse")).toMatchObject({ code: "SESSION_LOST" });
    world.pass(600_000);
    expect(dials(node)).toBe(1);
  });

  test.each([
    ["a numbered frame", messageFrame(1, "")],
    ["an acknowledgement", encodeAcknowledgement(0)],
    ["a goodbye", { type: "goodbye", reason: "", received: 0 } as const],
  ])("takes %s before the answer for a failure", (_, frame) => {
    const { world, node } = owner();
    const wire = node.dialsTo(listed(2).address)[0]?.connect().say("acceptor", frame);
    expect(wire?.last("dialer", "refuse")).toMatchObject({ code: "UNEXPECTED_MESSAGE" });
    world.pass(limits.redialMinMs);
    expect(dials(node)).toBe(2);
  });

  test("hears what comes right behind the answer", () => {
    const { node } = owner();
    const answer = { type: "answer", attempt: 1, since: 1, received: 0 } as const;
    node.dialsTo(listed(2).address)[0]?.connect().say("acceptor", answer, messageFrame(1, "a"));
    expect(node.messages).toEqual(["a"]);
  });

  test("dials again soon when a connection breaks that had been up", () => {
    const { world, node } = owner();
    for (let attempt = 1; attempt < 10; attempt += 1) {
      const wire = node.dialsTo(listed(2).address).at(-1);
      wire?.connect().say("acceptor", { type: "answer", attempt, since: 1, received: 0 });
      wire?.cut("dialer");
      world.pass(limits.redialMinMs);
      expect(dials(node)).toBe(attempt + 1);
    }
  });
});
