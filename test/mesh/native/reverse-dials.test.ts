import { afterEach, describe, expect, test, vi } from "vitest";
import { grantRules } from "../../../src/mesh/native/grant-rules.js";
import { Link } from "../../../src/mesh/native/link.js";
import { ownerTransitions } from "../../../src/mesh/native/link-states.js";
import { ReverseDialer } from "../../../src/mesh/native/reverse-dialer.js";
import type { ControlOf } from "../../../src/protocol/native/control.js";
import {
  bendHelloRule,
  changeTable,
  dropGrantRule,
  dropHelloRule,
  reuseNumbers,
  takeWithoutNumbers,
  worlds,
} from "./absence.js";
import { hello, idOf, listed } from "./names.js";
import type { Node } from "./node.js";
import type { Wire } from "./wire.js";
import { World } from "./world.js";

afterEach(() => {
  vi.restoreAllMocks();
});

const { limits } = new World();

function grant(attempt: number, owner = 1, later = 2): ControlOf<"grant"> {
  return { type: "grant", owner: idOf(owner), later: idOf(later), attempt };
}

/** The grants that a member has sent to its server. */
function grantsOf(node: Node): ControlOf<"grant">[] {
  return node.said.filter((frame): frame is ControlOf<"grant"> => frame.type === "grant");
}

/** The server passes the owner's newest grant on, and the later member dials. */
function passOn(owner: Node, later: Node): Wire {
  const newest = grantsOf(owner).at(-1);
  if (newest !== undefined) later.hear(newest);
  return later.newest(owner);
}

/** The owner's dial gets no answer, and so it has granted the next attempt. */
function granted(world: World): { owner: Node; later: Node } {
  const [owner, later] = world.mesh(2) as [Node, Node];
  world.pass(limits.openingMs + limits.redialMinMs);
  expect(grantsOf(owner)).toEqual([grant(2)]);
  return { owner, later };
}

/** The same, with the world. */
function grantedBoth(): { world: World; owner: Node; later: Node } {
  const world = new World();
  return { world, ...granted(world) };
}

/** One real member of two; the other one is the test. */
function alone(number: 1 | 2): { world: World; node: Node } {
  const world = new World();
  return { world, node: world.admitted(number, [1, 2]) };
}

describe("an owner that cannot dial", () => {
  test("dials again as soon as the other end has said that it could not dial either", () => {
    const { world, owner, later } = grantedBoth();
    expect(owner.dialsTo(listed(2).address)).toHaveLength(1);
    passOn(owner, later).refuse();
    const failed = later.said.filter((frame) => frame.type === "grant");
    expect(failed).toEqual([{ ...grant(2), failed: expect.stringContaining("ECONNREFUSED") }]);
    owner.hear(...(failed as ControlOf<"grant">[]));
    world.pass(2 * limits.redialMinMs);
    expect(owner.dialsTo(listed(2).address)).toHaveLength(2);
    expect(owner.notes.filter((code) => code === "DIAL_FAILED")).toHaveLength(1);
  });

  test.each([
    ["of another attempt", { ...grant(1), failed: "DIAL_FAILED" }],
    ["of a link that it does not own", { ...grant(2, 2, 1), failed: "DIAL_FAILED" }],
    ["with somebody unknown", { ...grant(2, 1, 9), failed: "DIAL_FAILED" }],
  ])("goes on waiting when such a word is %s", (_, word) => {
    const { world, owner } = grantedBoth();
    owner.hear(word);
    world.pass(2 * limits.redialMinMs);
    expect(owner.dialsTo(listed(2).address)).toHaveLength(1);
    expect(owner.eventsOf("ended")).toEqual([]);
  });

  test("minds no such word of a dial of its own, or of a link that is up", () => {
    const { node } = alone(1);
    node.hear({ ...grant(1), failed: "DIAL_FAILED" });
    expect(node.notes).toEqual([]);
    const { owner, later } = grantedBoth();
    passOn(owner, later).flow();
    owner.hear({ ...grant(2), failed: "DIAL_FAILED" });
    expect([owner.isUp(later), owner.eventsOf("ended")]).toEqual([true, []]);
  });

  test("lets the other end open its next attempt, then dials again, and so on", () => {
    const { world, node } = alone(1);
    const dials = (): Wire[] => node.dialsTo(listed(2).address);
    dials()[0]?.refuse();
    world.pass(limits.redialMinMs);
    expect([grantsOf(node), dials().length]).toEqual([[grant(2)], 1]);
    world.pass(limits.openingMs);
    expect(node.notes).toEqual(["DIAL_FAILED", "DIAL_TIMEOUT"]);
    expect(node.member.missing[0]?.reason).toMatch(/^dialing, attempt 2: DIAL_TIMEOUT .*\(2 in a row\)/);
    world.pass(2 * limits.redialMinMs);
    dials().at(-1)?.refuse();
    world.pass(4 * limits.redialMinMs);
    expect(grantsOf(node).at(-1)).toEqual(grant(4));
  });

  test("dials again where there was a connection: this direction works", () => {
    const { world, node } = alone(1);
    const dials = (): Wire[] => node.dialsTo(listed(2).address);
    expect(dials()[0]?.connect().last("dialer", "hello")).toMatchObject({ attempt: 1 });
    dials()[0]?.cut("dialer");
    world.pass(limits.redialMinMs);
    expect([grantsOf(node), dials().length]).toEqual([[], 2]);
  });

  test("gives up a dial that has no connection soon, and one that has a connection later", () => {
    const { world, node } = alone(1);
    world.pass(limits.openingMs);
    expect(node.notes).toEqual(["DIAL_TIMEOUT"]);
    const other = alone(1);
    other.node.dialsTo(listed(2).address)[0]?.connect();
    other.world.pass(limits.dialMs - 1);
    expect(other.node.notes).toEqual([]);
  });

  test("goes on dialing while there is no server", () => {
    const { world, node } = alone(1);
    node.loseSession();
    world.pass(60_000);
    expect(grantsOf(node)).toEqual([]);
    expect(node.dialsTo(listed(2).address).length).toBeGreaterThan(3);
  });

  test("dials again after a refusal of the other end, which can be reached", () => {
    const { world, node } = alone(1);
    const refusal = { type: "refuse", code: "UNKNOWN_PEER", message: "not yet" } as const;
    node.dialsTo(listed(2).address)[0]?.connect().say("acceptor", refusal);
    world.pass(limits.redialMinMs);
    expect([grantsOf(node).length, node.dialsTo(listed(2).address).length]).toEqual([0, 2]);
  });

  test("is linked by the other end's dial, and messages go both ways", () => {
    const { owner, later } = granted(new World());
    const wire = passOn(owner, later).flow();
    expect(wire.last("dialer", "hello")).toMatchObject(hello(2, 2, 1));
    expect(wire.last("acceptor", "answer")).toMatchObject({ type: "answer", attempt: 2, since: 2, received: 0 });
    expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
    owner.send(later, "there");
    later.send(owner, "back");
    wire.flow();
    expect([later.messages, owner.messages]).toEqual([["there"], ["back"]]);
  });

  test("begins with what worked last when the connection breaks, and what was sent meanwhile arrives", () => {
    const world = new World();
    const { owner, later } = granted(world);
    const wire = passOn(owner, later).flow();
    owner.send(later, "m1");
    wire.lose("acceptor").cut("acceptor");
    owner.send(later, "m2");
    world.pass(limits.redialMinMs);
    expect(grantsOf(owner).at(-1)).toEqual(grant(3));
    passOn(owner, later).flow();
    expect([later.messages, owner.link(later)?.attempt]).toEqual([["m1", "m2"], 3]);
    expect(owner.dials(later)).toHaveLength(1);
  });

  test("agrees with the other end where it began to count, whichever answers were lost", () => {
    const world = new World();
    const { owner, later } = granted(world);
    // The later end never reads the answer to its first reverse dial, nor the owner that to its next dial.
    passOn(owner, later).connect().from("dialer").lose("acceptor").cut("acceptor").cut("dialer");
    expect([owner.link(later)?.resumeState.since, later.link(owner)?.resumeState.since]).toEqual([2, 0]);
    world.pass(limits.redialMinMs);
    passOn(owner, later).refuse();
    world.pass(limits.openingMs + 4 * limits.redialMinMs);
    owner.newest(later).connect().from("dialer").lose("acceptor").cut("acceptor").cut("dialer");
    later.send(owner, "m");
    world.pass(8 * limits.redialMinMs);
    owner.newest(later).refuse();
    world.pass(16 * limits.redialMinMs);
    passOn(owner, later).flow();
    expect([owner.isUp(later), owner.messages]).toEqual([true, ["m"]]);
  });
});

describe("a reverse dial", () => {
  test("is made once for each grant, and given up after a while", () => {
    const { world, node } = alone(2);
    node.hear(grant(1));
    world.pass(limits.dialMs);
    expect(node.notes).toEqual(["DIAL_TIMEOUT"]);
    world.pass(600_000);
    expect(node.dialsTo(listed(1).address)).toHaveLength(1);
    expect(node.member.missing[0]?.reason).toMatch(/^dialing, attempt \d+: its reverse dial failed: DIAL_TIMEOUT/);
  });

  test("that the owner refuses says so, and the owner can still dial", () => {
    const { world, node } = alone(2);
    node.hear(grant(1));
    const refusal = { type: "refuse", code: "STALE_ATTEMPT", message: "too late", highest: 7 } as const;
    node.dialsTo(listed(1).address)[0]?.connect().say("acceptor", refusal);
    expect(node.notes).toEqual(["DIAL_FAILED"]);
    expect(world.call(node).say("dialer", hello(2)).from("acceptor").last("acceptor", "answer")).toMatchObject({
      attempt: 2,
    });
  });

  test("ends the link if the two ends do not agree", () => {
    const { node } = alone(2);
    node.hear(grant(1));
    const wire = node.dialsTo(listed(1).address)[0]?.connect();
    wire?.say("acceptor", { type: "answer", attempt: 2, since: 2, received: 0 });
    expect(wire?.last("dialer", "refuse")).toMatchObject({ code: "SESSION_LOST" });
    expect(node.eventsOf("unlink")).toHaveLength(1);
  });

  test("takes the place of the one before, and a hello of a higher attempt takes its place [B1]", () => {
    const { world, node } = alone(2);
    node.hear(grant(1), grant(2));
    const [first, second] = node.dialsTo(listed(1).address) as [Wire, Wire];
    expect([first.dialer.isClosed, second.dialer.isClosed]).toEqual([true, false]);
    second.connect();
    const direct = world.call(node).say("dialer", hello(3)).from("acceptor");
    expect(direct.last("acceptor", "answer")).toMatchObject({ attempt: 3 });
    expect(second.dialer.isClosed).toBe(true);
  });

  test("is given up when its owner is removed, and when the node leaves", () => {
    for (const end of [
      (node: Node) => node.entries({ type: "lost", revision: 3, id: idOf(1), reason: "gone" }),
      (node: Node) => node.leave(),
    ]) {
      const { node } = alone(2);
      node.hear(grant(1));
      const wire = node.dialsTo(listed(1).address)[0]?.connect();
      end(node);
      expect(wire?.dialer.isClosed).toBe(true);
    }
  });

  test("is answered with GONE where the link has ended", () => {
    const { world, node } = alone(1);
    const wire = node.dialsTo(listed(2).address)[0]?.connect();
    wire?.say("acceptor", { type: "answer", attempt: 1, since: 7, received: 0 });
    const reverse = world
      .call(node)
      .say("dialer", hello(1, 2, 1))
      .from("acceptor");
    expect(reverse.last("acceptor", "refuse")).toMatchObject({ code: "GONE" });
  });
});

describe("a grant", () => {
  test.each<[string, ControlOf<"grant">, string]>([
    ["for another incarnation", grant(1, 1, 7), "WRONG_TARGET"],
    ["of somebody unknown", grant(1, 7), "WRONG_TARGET"],
    ["of one that joined later", grant(1, 3), "WRONG_TARGET"],
    ["more than 2^32 above the last attempt", grant(2 ** 32 + 1), "BAD_FRAME"],
  ])("%s is ignored and noted", (_, control, code) => {
    const node = new World().admitted(2, [1, 2, 3]);
    const dials = node.openWires.length;
    node.hear(control);
    expect([node.notes, node.openWires.length]).toEqual([[code], dials]);
  });

  test("is ignored on a link that one end has said goodbye on", () => {
    const { owner, later, wire } = new World().pair();
    owner.leave();
    wire.from("dialer", 1);
    later.hear(grant(2));
    expect([later.notes, later.dials(owner)]).toEqual([["GONE"], []]);
  });

  test.each(worlds)("C1: has a number of its own, or it is ignored for ever ($world)", ({ isThere }) => {
    const world = new World();
    const [owner, later] = world.mesh(2) as [Node, Node];
    if (!isThere) reuseNumbers();
    // The hello arrives, its answer does not, and from then on the owner can dial no more.
    owner.newest(later).connect().from("dialer").lose("acceptor").cut("dialer");
    world.pass(limits.redialMinMs);
    owner.newest(later).refuse();
    world.pass(4 * limits.redialMinMs);
    const dials = later.dials(owner).length;
    later.hear(...grantsOf(owner).slice(-1));
    expect(later.dials(owner)).toHaveLength(dials + (isThere ? 1 : 0));
    expect(later.notes.includes("STALE_ATTEMPT")).toBe(!isThere);
  });

  test("C2': comes after the owner has closed its dial, whose answer is not read any more", () => {
    const world = new World();
    const [owner, later] = world.mesh(2) as [Node, Node];
    const dial = owner.newest(later).connect().from("dialer");
    expect(dial.last("acceptor", "answer")).toMatchObject({ attempt: 1 });
    world.pass(limits.dialMs + limits.redialMinMs);
    expect([dial.dialer.isClosed, grantsOf(owner)]).toEqual([true, [grant(2)]]);
    dial.from("acceptor");
    passOn(owner, later).flow();
    expect([owner.isUp(later), later.isUp(owner), owner.link(later)?.attempt]).toEqual([true, true, 2]);
  });

  test("C2': of an owner that keeps its dial ends a healthy link", () => {
    const { world, node } = alone(2);
    const dial = world.call(node).say("dialer", hello(1)).from("acceptor");
    // For this owner the dial is up now, and the grant has been on its way all the time.
    node.hear(grant(2));
    expect(dial.isOpen).toBe(false);
  });

  test.each(worlds)("C3: takes its number at once, or a late hello closes its dial ($world)", ({ isThere }) => {
    const world = new World();
    const [owner, later] = world.mesh(2) as [Node, Node];
    const late = owner.newest(later).connect();
    world.pass(limits.dialMs + limits.redialMinMs);
    if (!isThere) takeNumberWhenConnected();
    const reverse = passOn(owner, later);
    late.from("dialer", 1);
    expect(reverse.dialer.isClosed).toBe(!isThere);
    if (!isThere) return;
    reverse.flow();
    expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
  });

  test.each(worlds)("C4: that was withdrawn leaves a healthy link alone ($world)", ({ isThere }) => {
    if (!isThere) dropGrantRule("C4");
    const world = new World();
    const { owner, later } = granted(world);
    world.pass(limits.openingMs + 2 * limits.redialMinMs);
    const dial = owner.newest(later).flow();
    expect(owner.link(later)?.attempt).toBe(3);
    later.hear(grant(2));
    expect([dial.isOpen, later.isUp(owner)]).toEqual([isThere, isThere]);
    expect(later.notes.includes("STALE_ATTEMPT")).toBe(isThere);
  });

  test.each(worlds)("C5: that was withdrawn is used up, and its hello refused ($world)", ({ isThere }) => {
    if (!isThere) {
      bendHelloRule("C5", { applies: () => false });
      dropHelloRule("C6");
      changeTable(ownerTransitions, "up", "accepted", "up");
    }
    const world = new World();
    const { owner, later } = granted(world);
    const reverse = passOn(owner, later).connect();
    world.pass(limits.openingMs + 2 * limits.redialMinMs);
    const dial = owner.newest(later).connect().from("dialer").from("acceptor");
    expect([owner.isUp(later), dial.isOpen]).toEqual([true, true]);
    reverse.from("dialer");
    if (isThere) expect(reverse.last("acceptor", "refuse")).toMatchObject({ code: "STALE_ATTEMPT", highest: 3 });
    expect([dial.flow().isOpen, later.isUp(owner)]).toEqual([isThere, isThere]);
  });

  test.each([
    { rule: "with", numbers: "with", delivered: ["m1"] },
    { rule: "with", numbers: "without", delivered: ["m1"] },
    { rule: "without", numbers: "with", delivered: ["m1"] },
    { rule: "without", numbers: "without", delivered: ["m1", "m1"] },
  ] as const)("C8: closes the old connection before it is dialed, $rule the rule, $numbers numbers", (row) => {
    const world = new World();
    const { owner, later } = granted(world);
    const wire = passOn(owner, later).flow();
    owner.send(later, "m1");
    // Only the owner sees the reset; its message is still on its way when the grant comes.
    wire.cut("acceptor");
    if (row.rule === "without") vi.spyOn(Link.prototype, "drop").mockReturnValue();
    if (row.numbers === "without") takeWithoutNumbers();
    world.pass(limits.redialMinMs);
    const next = passOn(owner, later).connect();
    wire.from("acceptor");
    next.flow();
    expect(later.messages).toEqual(row.delivered);
  });
});

/** The number of a grant counts when the reverse dial has a connection, and not before. */
function takeNumberWhenConnected(): void {
  const { dial, connected } = ReverseDialer.prototype;
  const numbers = new WeakMap<object, () => void>();
  vi.spyOn(ReverseDialer.prototype, "dial").mockImplementation(function (this: ReverseDialer, link, attempt, now) {
    const before = link.attempt;
    dial.call(this, link, attempt, now);
    link.attempt = before;
    if (link.connection !== undefined)
      numbers.set(link.connection, () => {
        link.attempt = attempt;
      });
  });
  vi.spyOn(ReverseDialer.prototype, "connected").mockImplementation(function (this: ReverseDialer, connection) {
    numbers.get(connection)?.();
    connected.call(this, connection);
  });
}

test("every rule by which a grant is ignored has a test above", () => {
  expect(grantRules.map(({ verdict }) => verdict)).toEqual(["WRONG_TARGET", "GONE", "STALE_ATTEMPT", "BAD_FRAME"]);
});
