import { afterEach, describe, expect, test, vi } from "vitest";
import { DirectoryView } from "../../../src/mesh/native/directory-view.js";
import { acceptorTransitions, highestAttemptAfter, ownerTransitions } from "../../../src/mesh/native/link-states.js";
import { bendHelloRule, changeTable, dropHelloRule, keepWhatIsGivenUp, reuseNumbers, worlds } from "./absence.js";
import { hello, joined, listed, serverAddress } from "./names.js";
import type { Node } from "./node.js";
import type { Wire } from "./wire.js";
import { World } from "./world.js";

afterEach(() => {
  vi.restoreAllMocks();
});

/** The hello of the owner's first attempt is late: the owner has given it up, and is up by the second. */
function lateHello(world: World): { owner: Node; later: Node; first: Wire; second: Wire } {
  const [owner, later] = world.mesh(2) as [Node, Node];
  // Without a server it can only dial.
  owner.loseSession();
  const first = owner.newest(later).connect();
  world.pass(world.limits.dialMs + world.limits.redialMinMs);
  const second = owner.newest(later).flow();
  expect(second).not.toBe(first);
  expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
  return { owner, later, first, second };
}

/** One real member of two; the other one is the test. */
function alone(number: 1 | 2, world = new World()): { world: World; node: Node } {
  return {
    world,
    node: world
      .node(number)
      .begin()
      .admit([listed(1), listed(2)]),
  };
}

describe("attempts that the owner has given up", () => {
  test.each(worlds)("A1 B5: a late, lower one leaves the current one alone ($world)", ({ isThere }) => {
    if (!isThere) dropHelloRule("A1");
    const { owner, first, second } = lateHello(new World());
    first.from("dialer", 1);
    if (isThere) expect(first.last("acceptor", "refuse")).toMatchObject({ code: "STALE_ATTEMPT", highest: 2 });
    second.flow();
    expect(second.isOpen).toBe(isThere);
    expect(owner.eventsOf("broken")).toHaveLength(isThere ? 0 : 1);
  });

  test.each(worlds)("A4: a late one of an equal number does too ($world)", ({ isThere }) => {
    reuseNumbers();
    if (!isThere) bendHelloRule("A4", { applies: ({ attempt, highest }) => attempt < highest });
    const { owner, first, second } = lateHello(new World());
    first.from("dialer", 1);
    second.flow();
    expect(second.isOpen).toBe(isThere);
    expect(owner.eventsOf("broken")).toHaveLength(isThere ? 0 : 1);
  });

  test.each(worlds)("A3: each has a number of its own, or it is refused for ever ($world)", ({ isThere }) => {
    if (!isThere) reuseNumbers();
    const world = new World();
    const [owner, later] = world.mesh(2) as [Node, Node];
    // The later member takes the hello; its answer never arrives.
    owner.newest(later).connect().from("dialer");
    world.pass(world.limits.dialMs);
    world.live(600_000);
    expect(owner.isUp(later)).toBe(isThere);
    const refused = owner.notes.filter((code) => code === "DIAL_FAILED");
    if (isThere) expect(refused).toHaveLength(0);
    else expect(refused.length).toBeGreaterThan(10);
  });

  test("A2: are closed at the owner's end before the next one is dialed", () => {
    const world = new World();
    const [owner, later] = world.mesh(2) as [Node, Node];
    owner.loseSession();
    const first = owner.newest(later).connect();
    world.pass(world.limits.dialMs);
    expect(first.dialer.isClosed).toBe(true);
    expect(owner.dials(later)).toHaveLength(1);
    world.pass(world.limits.redialMinMs);
    expect(owner.dials(later)).toHaveLength(2);
  });

  test("A2: an owner that keeps one loses a healthy link to the next", () => {
    const { world, node } = alone(2);
    const first = world.call(node);
    const second = world.call(node);
    first.say("dialer", hello(1)).from("acceptor");
    expect(first.last("acceptor", "answer")).toMatchObject({ attempt: 1 });
    // For this owner the first attempt is up now, and the second one has been on its way all the time.
    second.say("dialer", hello(2));
    expect(first.from("acceptor").isOpen).toBe(false);
  });

  test.each(worlds)("A0: an answer that comes later is not read ($world)", ({ isThere }) => {
    if (!isThere) keepWhatIsGivenUp();
    const world = new World();
    const [owner, later] = world.mesh(2) as [Node, Node];
    owner.loseSession();
    const first = owner.newest(later).connect().from("dialer");
    world.pass(world.limits.dialMs);
    expect(first.last("acceptor", "answer")).toMatchObject({ attempt: 1 });
    first.from("acceptor");
    // Without the rule it is not read either, because the attempt has been forgotten; but its connection stays.
    expect(owner.isUp(later)).toBe(false);
    expect(owner.openWires.includes(first)).toBe(!isThere);
    world.live(1_000);
    expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
    expect(owner.openWires.filter(({ to }) => to !== serverAddress)).toHaveLength(isThere ? 1 : 2);
  });
});

describe("the number of an attempt", () => {
  const leap = 2 ** 32;

  test.each(worlds)(
    "A5: more than 2^32 above the last one is refused, or one hello uses up all numbers ($world)",
    ({ isThere }) => {
      if (!isThere) dropHelloRule("A5");
      const { world, node } = alone(2);
      const greet = (attempt: number): Wire => world.call(node).say("dialer", hello(attempt)).from("acceptor");
      expect(greet(leap + 1).last("acceptor", isThere ? "refuse" : "answer")).toMatchObject(
        isThere ? { code: "BAD_FRAME", highest: 0 } : { attempt: leap + 1 },
      );
      greet(Number.MAX_SAFE_INTEGER);
      // The true owner, whose numbers are as small as they are.
      expect(greet(1).last("acceptor", isThere ? "answer" : "refuse")).toMatchObject(
        isThere ? { attempt: 1 } : { code: "STALE_ATTEMPT", highest: Number.MAX_SAFE_INTEGER },
      );
    },
  );

  test("A5: may be exactly 2^32 above every one taken before", () => {
    const { world, node } = alone(2);
    for (const attempt of [leap, 2 * leap]) {
      const wire = world.call(node).say("dialer", hello(attempt)).from("acceptor");
      expect(wire.last("acceptor", "answer")).toMatchObject({ attempt });
    }
  });

  /** The owner's newest attempt is refused as one that is stale. The number of its next one. */
  function afterRefusal(world: World, owner: Node, highest: number): number {
    const dials = (): Wire[] => owner.dialsTo(listed(2).address);
    const wire = dials().at(-1) as Wire;
    if (!wire.isConnected) wire.connect();
    wire.say("acceptor", { type: "refuse", code: "STALE_ATTEMPT", message: "stale", highest });
    for (let ms = 0; ms < 31_000 && dials().at(-1) === wire; ms += 50) world.pass(50);
    return dials().at(-1)?.connect().last("dialer", "hello")?.attempt ?? Number.NaN;
  }

  test("is raised by a refusal to what that names, but not by more than 2^32, which is noted", () => {
    const { world, node } = alone(1);
    expect(afterRefusal(world, node, 1 + leap)).toBe(2 + leap);
    expect(node.notes).toEqual(["DIAL_FAILED"]);
    expect(afterRefusal(world, node, Number.MAX_SAFE_INTEGER)).toBe(3 + 2 * leap);
    expect(node.notes).toEqual(["DIAL_FAILED", "BAD_FRAME"]);
  });

  test("stays one that a hello may hold, whatever refusals name", () => {
    expect(highestAttemptAfter(0)).toBe(leap);
    expect(highestAttemptAfter(2 ** 53 - leap - 5)).toBe(2 ** 53 - leap);
    expect(highestAttemptAfter(2 ** 53 - leap + 5)).toBe(2 ** 53 - leap + 5);
  });

  test("of an acceptor far ahead is caught up with, so that the link comes about", () => {
    const { world, node } = alone(1);
    const ahead = 5 * leap;
    const attempts = Array.from({ length: 5 }, () => afterRefusal(world, node, ahead));
    expect(attempts.at(-1)).toBe(ahead + 1);
  });
});

describe("the later member", () => {
  test("C6 C7: never dials by itself, however long the link is down", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    wire.cut("acceptor");
    world.pass(600_000);
    expect(later.dials(owner)).toEqual([]);
  });

  test.each(worlds)("C6: is refused as a dialer, or it collides with the owner's attempt ($world)", ({ isThere }) => {
    if (!isThere) {
      dropHelloRule("C6");
      changeTable(ownerTransitions, "dialing", "accepted", "up");
    }
    const { world, node: owner } = alone(1);
    const [own] = owner.dialsTo(listed(2).address) as [Wire];
    own.connect().from("dialer");
    const redial = world
      .call(owner)
      .say("dialer", hello(2, 2, 1))
      .from("acceptor");
    const answer = redial.last("acceptor", isThere ? "refuse" : "answer");
    expect(answer).toMatchObject(isThere ? { code: "NOT_OWNER" } : { attempt: 2 });
    // The later member may have answered on it meanwhile, and hold it for the link.
    expect(own.isOpen).toBe(isThere);
  });

  test("C7: redialing with a number that the owner knows would be refused for ever", () => {
    dropHelloRule("C6");
    const { world, node: owner } = alone(1);
    for (let round = 0; round < 20; round += 1) {
      const redial = world
        .call(owner)
        .say("dialer", hello(1, 2, 1))
        .from("acceptor");
      expect(redial.last("acceptor", "refuse")).toMatchObject({ code: "STALE_ATTEMPT", highest: 1 });
    }
  });
});

describe("the owner of a link with an incarnation that is over", () => {
  function minutesOfDialing(world: World, owner: Node): number {
    world.live(600_000);
    return owner.dialsTo(listed(2).address).length;
  }

  /** The second incarnation has the address of the first, and the owner's log lags behind. */
  function laggingOwner(world: World): Node {
    world.node(2, { draw: () => listed(3).id }).begin();
    return world.admitted(1, [1, 2]);
  }

  test.each(worlds)("D0f: dials it once, and not before the log says something new ($world)", ({ isThere }) => {
    // A refusal that does not say that it is final.
    if (!isThere) bendHelloRule("D1", { verdict: "UNKNOWN_PEER" });
    const world = new World();
    const dials = minutesOfDialing(world, laggingOwner(world));
    if (isThere) expect(dials).toBe(1);
    else expect(dials).toBeGreaterThan(20);
  });

  test("D0f: dials it again when a whole directory still names it", () => {
    const world = new World();
    const owner = laggingOwner(world);
    world.live(60_000);
    owner.hear({ type: "directory", revision: 3, members: [listed(1), listed(2)] });
    world.live(60_000);
    expect(owner.dialsTo(listed(2).address)).toHaveLength(2);
  });

  test.each(worlds)("D0g: reads why it was refused, because no reset overtakes that ($world)", ({ isThere }) => {
    const world = new World();
    const owner = laggingOwner(world).loseSession();
    for (let round = 0; round < 12; round += 1) {
      const wire = owner.dialsTo(listed(2).address)[round];
      if (wire === undefined) break;
      wire.connect().from("dialer");
      expect(wire.acceptor.onItsWay.at(-1)).toBe("end");
      // What happens without the rule: a reset, and the refusal is still on its way.
      if (!isThere) {
        wire.abort("acceptor");
        wire.overtake("acceptor");
      }
      wire.flow();
      for (let ms = 0; ms < 31_000 && owner.dialsTo(listed(2).address).length === round + 1; ms += 50) world.pass(50);
    }
    expect(owner.dialsTo(listed(2).address)).toHaveLength(isThere ? 1 : 13);
  });

  test.each(worlds)("D8 D0f: is told so by whoever remembers the removal ($world)", ({ isThere }) => {
    // A member that forgets who has been removed lets its hellos wait for an entry, again and again.
    if (!isThere) {
      const senderOf = DirectoryView.prototype.senderOf;
      vi.spyOn(DirectoryView.prototype, "senderOf").mockImplementation(function (this: DirectoryView, id) {
        const sender = senderOf.call(this, id);
        return sender === "removed" ? "unknown" : sender;
      });
    }
    const world = new World();
    const later = world.admitted(2, [1, 2]);
    later.entries({ type: "lost", revision: 3, id: listed(1).id, reason: "it was away" });
    const owner = world.admitted(1, [1, 2]);
    const dials = minutesOfDialing(world, owner);
    if (isThere) expect(dials).toBe(1);
    else expect(dials).toBeGreaterThan(10);
    expect(later.isUp(owner)).toBe(false);
  });
});

test("an owner and a later member are up by the same attempt, whatever was lost before", () => {
  const world = new World();
  const [owner, later] = world.mesh(2) as [Node, Node];
  owner.loseSession();
  for (const loss of ["hello", "answer", "both ends"] as const) {
    const wire = owner.newest(later).connect();
    if (loss !== "hello") wire.from("dialer");
    wire.cut("dialer");
    if (loss === "both ends") wire.cut("acceptor");
    world.pass(1_000);
  }
  world.live(10);
  expect([owner.link(later)?.attempt, later.link(owner)?.attempt]).toEqual([4, 4]);
  later.entries(joined(listed(3)));
  expect(later.dialsTo(listed(3).address)).toHaveLength(1);
  expect(acceptorTransitions.waiting).not.toHaveProperty("dial");
});
