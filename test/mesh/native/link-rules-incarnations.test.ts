import { afterEach, describe, expect, test, vi } from "vitest";
import { Link } from "../../../src/mesh/native/link.js";
import { LinkDialer } from "../../../src/mesh/native/link-dialer.js";
import { dropHelloRule, worlds } from "./absence.js";
import { hello, idOf, joined, listed } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("D1: a hello for somebody else", () => {
  test.each(worlds)("is not taken by the next incarnation at the same address ($world)", ({ isThere }) => {
    if (!isThere) dropHelloRule("D1");
    const world = new World();
    const second = world.node(2, { draw: () => idOf(3) }).begin();
    second.admit([listed(1), { ...listed(2), id: idOf(3), order: 3 }], 3);
    const owner = world.admitted(1, [1, 2]);
    world.live(1_000);
    owner.send(second, "for the first");
    world.live(1_000);
    expect(owner.isUp(second)).toBe(!isThere);
    expect(second.messages).toEqual(isThere ? [] : ["for the first"]);
  });
});

describe("D2: an incarnation whose address somebody else has", () => {
  function replacedAt(order: "joined" | "lost first" | "replaced"): { world: World; later: Node; late: () => void } {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.send(later, "m1");
    wire.from("dialer");
    owner.send(later, "m2");
    const next = { ...listed(1), id: idOf(1_001), order: 4 };
    const lost = { type: "lost", id: idOf(1), reason: "silent" } as const;
    if (order === "joined") later.entries(joined(next));
    else if (order === "lost first") later.entries({ ...lost, revision: 3 }, joined(next));
    else later.entries({ type: "replaced", replaces: idOf(1), revision: 4, ...next });
    return { world, later, late: () => void wire.from("dialer") };
  }

  test.each(worlds)("is not heard any more ($world)", ({ isThere }) => {
    if (!isThere) vi.spyOn(Link.prototype, "drop").mockReturnValue();
    const { later, late } = replacedAt("joined");
    expect(later.eventsOf("unlink")).toMatchObject([{ unacknowledged: 0 }]);
    late();
    expect(later.messages).toEqual(isThere ? ["m1"] : ["m1", "m2"]);
  });

  test.each(["joined", "lost first", "replaced"] as const)("D2': ends once, however the log says it (%s)", (order) => {
    const { world, later, late } = replacedAt(order);
    late();
    if (order === "joined") later.entries({ type: "lost", revision: 5, id: idOf(1), reason: "silent" });
    expect(later.eventsOf("unlink")).toHaveLength(1);
    expect(later.messages).toEqual(["m1"]);
    expect(later.member.members).toHaveLength(2);
    // Its next hello finds nobody either.
    const call = world.call(later).say("dialer", hello(9)).from("acceptor");
    expect(["GONE", "SESSION_LOST"]).toContain(call.last("acceptor", "refuse")?.code);
    expect(later.member.nativeLinks).toEqual([]);
  });

  test("a hello of its that is parked is refused when its address has another owner", () => {
    const world = new World();
    const later = world.admitted(2, [2]);
    const call = world.call(later).say("dialer", hello(1));
    later.entries(joined({ ...listed(1), id: idOf(1_001), order: 4 }));
    call.from("acceptor");
    expect(later.member.nativeLinks).toEqual([]);
  });
});

describe("D4: a member that the directory does not name yet", () => {
  test.each(worlds)("waits for its entry, or is lost for good ($world)", ({ isThere }) => {
    if (!isThere) dropHelloRule("D4");
    const world = new World();
    const later = world.admitted(2, [2]);
    const owner = world.admitted(1, [1, 2]);
    owner.newest(later).flow();
    expect([owner.isUp(later), later.isUp(owner)]).toEqual([false, false]);
    // The log of the later member lags by a second; the entries of this test come in any order of admission.
    world.live(1_000);
    later.entries(joined(listed(1), 3));
    world.live(60_000);
    expect([owner.isUp(later), later.isUp(owner)]).toEqual([isThere, isThere]);
    expect(owner.dials(later)).toHaveLength(1);
  });

  test("is not taken before the listener itself has been admitted", () => {
    const world = new World();
    const later = world.node(2).begin();
    const call = world.call(later).say("dialer", hello(1)).from("acceptor");
    expect(call.frames("acceptor")).toEqual([]);
    later.admit([listed(1), listed(2)]);
    expect(call.from("acceptor").last("acceptor", "answer")).toMatchObject({ attempt: 1, since: 1 });
  });
});

describe("D8: a member that has been removed", () => {
  test.each(worlds)("is not up by an answer that is read later ($world)", ({ isThere }) => {
    if (!isThere) {
      vi.spyOn(LinkDialer.prototype, "drop").mockReturnValue();
      vi.spyOn(Link.prototype, "drop").mockReturnValue();
    }
    const world = new World();
    const [owner, later] = world.mesh(2) as [Node, Node];
    const wire = owner.newest(later).connect().from("dialer");
    owner.entries({ type: "lost", revision: 3, id: idOf(2), reason: "silent" });
    expect(wire.dialer.isClosed).toBe(isThere);
    // Without the rule the answer meets a link that has ended, which the table does not allow.
    if (isThere) wire.from("acceptor");
    else expect(() => wire.from("acceptor")).toThrow(/no answered in state ended/);
    expect(owner.isUp(later)).toBe(false);
  });

  test("is told so when it says hello", () => {
    const world = new World();
    const later = world.admitted(2, [1, 2]);
    later.entries({ type: "left", revision: 3, id: idOf(1), reason: "left" });
    const call = world.call(later).say("dialer", hello(1)).from("acceptor");
    expect(call.last("acceptor", "refuse")).toMatchObject({ code: "GONE" });
    expect(later.isUp({ address: listed(1).address } as Node)).toBe(false);
  });

  test("is told so when it has waited for its entry, and was removed in the same breath", () => {
    const world = new World();
    const later = world.admitted(2, [2]);
    const call = world.call(later).say("dialer", hello(1));
    later.entries(joined(listed(1), 3), { type: "lost", revision: 4, id: idOf(1), reason: "silent" });
    expect(call.from("acceptor").last("acceptor", "refuse")).toMatchObject({ code: "GONE" });
  });
});
