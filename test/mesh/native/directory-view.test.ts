import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { DirectoryView } from "../../../src/mesh/native/directory-view.js";
import { idOf, joined, listed, serverAddress } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();

test("a removed id never comes back, and is remembered for as long as there is room", () => {
  const roster = new DirectoryView(idOf(1), { ...defaultLimits, tombstones: 2 });
  roster.restore(
    [1, 2, 3, 4].map((number) => listed(number)),
    4,
    [],
    [],
  );
  for (const number of [2, 3]) roster.apply({ type: "lost", revision: number + 3, id: idOf(number), reason: "silent" });
  expect([2, 3, 4, 5].map((number) => roster.senderOf(idOf(number)))).toEqual([
    "removed",
    "removed",
    "later",
    "unknown",
  ]);
  roster.apply({ type: "left", revision: 7, id: idOf(4), reason: "left" });
  expect([2, 3, 4].map((number) => roster.senderOf(idOf(number)))).toEqual(["unknown", "removed", "removed"]);
});

test("an entry that comes again changes nothing", () => {
  const { owner, later, wire } = new World().pair();
  owner.entries(joined(listed(2)), joined(listed(1)));
  expect([owner.isUp(later), wire.isOpen, owner.dials(later).length]).toEqual([true, true, 1]);
  owner.send(later, "a");
  wire.flow();
  expect(later.messages).toEqual(["a"]);
});

const [oldLog, newLog, newestLog] = ["1", "2", "3"].map((digit) => digit.repeat(32)) as [string, string, string];

/** A member that the old log has listed with these. */
function viewOf(...numbers: readonly number[]): DirectoryView {
  const view = new DirectoryView(idOf(1), defaultLimits);
  view.enter(oldLog);
  view.restore(
    numbers.map((number) => listed(number)),
    Math.max(...numbers),
    [],
    [],
  );
  return view;
}

function ids(...numbers: readonly number[]): string[] {
  return numbers.map(idOf);
}

function listedIn(view: DirectoryView): string[] {
  return view.members.map(({ id }) => id);
}

describe("a log that the member did not know", () => {
  test("leaves all members listed that the old one had, and those that it lists itself are nothing new", () => {
    const view = viewOf(1, 2, 3);
    view.enter(newLog);
    expect(listedIn(view)).toEqual(ids(1, 2, 3));
    expect([view.self?.id, view.senderOf(idOf(2))]).toEqual([idOf(1), "later"]);
    expect(view.restore([listed(1), listed(3)], 50, [], [])).toEqual([
      { type: "kept", member: listed(1) },
      { type: "kept", member: listed(3) },
    ]);
    expect(view.apply(joined(listed(2), 51))).toEqual([{ type: "kept", member: listed(2) }]);
    expect(view.apply(joined(listed(4, 52)))).toEqual([{ type: "met", member: listed(4, 52) }]);
    expect(listedIn(view)).toEqual(ids(1, 2, 3, 4));
  });

  test("keeps the members in the order in which they joined, whatever it lists first", () => {
    const view = viewOf(1, 2, 5);
    view.enter(newLog);
    view.restore([listed(1), listed(4, 3)], 50, [], []);
    expect(listedIn(view)).toEqual(ids(1, 2, 4, 5));
  });

  test("G6: and that is read as a whole a second time drops only whom it has listed itself", () => {
    const view = viewOf(1, 2, 3);
    view.enter(newLog);
    view.restore([listed(1), listed(2)], 50, [], []);
    view.enter(newLog);
    expect(view.restore([listed(1)], 60, [], [])).toEqual([
      { type: "gone", id: idOf(2), order: 2, reason: "no longer in the directory" },
    ]);
    expect(listedIn(view)).toEqual(ids(1, 3));
  });

  test.each([
    ["lost", { type: "lost", revision: 51, id: idOf(3), reason: "not back within 20 s" }, "gone"],
    ["left", { type: "left", revision: 51, id: idOf(3), reason: "left" }, "left"],
  ] as const)("drops a member by the entry that it is %s, though it has never listed it", (_, entry, type) => {
    const view = viewOf(1, 2, 3);
    view.enter(newLog);
    view.restore([listed(1)], 50, [], []);
    expect(view.apply(entry)).toMatchObject([{ type, id: idOf(3), order: 3 }]);
    expect(listedIn(view)).toEqual(ids(1, 2));
    expect(view.senderOf(idOf(3))).toBe("removed");
  });

  test("drops a member whose place somebody takes, by an entry or by its address alone", () => {
    const view = viewOf(1, 2, 3);
    view.enter(newLog);
    view.restore([listed(1)], 50, [], []);
    const heirOf = (number: number, revision: number) => ({ ...listed(number, revision), id: idOf(1_000 + number) });
    view.apply({ type: "replaced", replaces: idOf(2), revision: 51, ...heirOf(2, 51) });
    expect(listedIn(view)).toEqual(ids(1, 3, 1_002));
    expect(view.apply(joined(heirOf(3, 52)))).toMatchObject([
      { type: "gone", id: idOf(3) },
      { type: "met", member: heirOf(3, 52) },
    ]);
    expect(listedIn(view)).toEqual(ids(1, 1_002, 1_003));
  });

  test("drops whom a whole directory says to be gone, and nobody of whom it says nothing", () => {
    const view = viewOf(1, 2, 3);
    view.enter(newLog);
    expect(view.restore([listed(1)], 50, [], [idOf(2), idOf(99)])).toMatchObject([
      { type: "gone", id: idOf(2) },
      { type: "kept", member: listed(1) },
    ]);
    expect(listedIn(view)).toEqual(ids(1, 3));
  });

  test("is followed by another one, and the members of both are still there", () => {
    const view = viewOf(1, 2, 3);
    view.enter(newLog);
    view.restore([listed(1), listed(9, 40)], 50, [], []);
    view.enter(newestLog);
    expect(listedIn(view)).toEqual(ids(1, 2, 3, 9));
    view.restore([listed(1)], 7, [], []);
    expect(listedIn(view)).toEqual(ids(1, 2, 3, 9));
    // What was read in any log counts for the claim; of the present one, what it has said itself.
    expect([view.revision, view.highest]).toEqual([7, 50]);
  });
});

describe("what a server that has another log is said", () => {
  test("G1: are all other native members, whether they are linked or not, and the ids that have ended", () => {
    const view = viewOf(1, 2, 3, 4);
    view.apply({ type: "lost", revision: 5, id: idOf(4), reason: "silent" });
    view.apply(joined({ ...listed(6), dialect: "classic" }));
    view.enter(newLog);
    view.restore([listed(1), listed(3)], 50, [], []);
    expect(view.known).toEqual({ members: [listed(2), listed(3)], gone: [idOf(4)] });
  });

  test("names who has said goodbye among those who have ended", () => {
    const view = viewOf(1, 2, 3);
    view.depart(idOf(2));
    view.depart(idOf(77));
    expect(view.known).toEqual({ members: [listed(3)], gone: [idOf(2)] });
  });

  test("is nothing once a new incarnation has begun, but that the former has ended", () => {
    const view = viewOf(1, 2, 3);
    view.restart(idOf(1_001));
    expect(view.known).toEqual({ members: [], gone: [idOf(1)] });
    expect(view.highest).toBe(3);
  });
});

describe("a member whose server was started again", () => {
  /** Its server lets it in again, with a log that lists nobody else. */
  function welcomed(node: Node): void {
    node.loseSession().reachAgain();
    node.hear(
      { type: "admitted", log: newLog, order: 1, revision: 50, observed: node.address, leaseMs: 20_000 },
      { type: "directory", revision: 50, members: [listed(1)] },
    );
  }

  test("G4: keeps every link for as long as the new log says nothing of the peer", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    welcomed(owner);
    world.live(600_000);
    expect([owner.isUp(later), wire.isOpen]).toEqual([true, true]);
    expect(owner.eventsOf("unlink")).toEqual([]);
    owner.send(later, "still here");
    world.live(0);
    expect(later.messages).toEqual(["still here"]);
    owner.entries({ type: "lost", revision: 51, id: idOf(2), reason: "not back within 20 s" });
    expect(owner.eventsOf("unlink")).toMatchObject([{ reason: "lost: not back within 20 s" }]);
  });

  test("G4: dials a remembered peer again when the link breaks", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    welcomed(owner);
    wire.cut("dialer").cut("acceptor");
    world.live(limits.redialMaxMs);
    expect(owner.isUp(later)).toBe(true);
  });

  test("says when its server was lost, and for how long", () => {
    const world = new World();
    const { owner } = world.pair();
    welcomed(owner);
    expect(owner.eventsOf("serverLost")).toHaveLength(1);
    expect(owner.eventsOf("serverBack")).toEqual([
      { type: "serverBack", awayMs: limits.redialMinMs, server: serverAddress },
    ]);
  });

  test("says whom it knows in parts that fit into frames, right behind its proof", () => {
    const world = new World();
    const node = world.admitted(
      1,
      Array.from({ length: 100 }, (_, index) => index + 1),
    );
    node.loseSession().reachAgain();
    world
      .call(node)
      .say("dialer", { type: "challenge", mesh: "m", id: idOf(1), nonce: "a".repeat(32) })
      .from("dialer");
    const types = node.said.map(({ type }) => type);
    expect(types.slice(0, 3)).toEqual(["resume", "proof", "known"]);
    const parts = node.said.filter((frame) => frame.type === "known");
    expect(parts.flatMap(({ members }) => members.map(({ id }) => id))).toHaveLength(99);
    expect(parts.map(({ more }) => more)).toEqual([...parts.slice(1).map(() => true), undefined]);
    expect(parts.length).toBeGreaterThan(1);
  });
});
