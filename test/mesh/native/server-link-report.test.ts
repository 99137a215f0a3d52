import { describe, expect, test } from "vitest";
import { Timers } from "../../../src/core/timers.js";
import { ServerLinkReport } from "../../../src/mesh/native/server-link-report.js";
import type { Member } from "../../../src/protocol/directory.js";
import { type ControlOf, encodeControl } from "../../../src/protocol/native/control.js";
import { idOf, listed, logId } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();

function told(node: Node): unknown[] {
  return node.said.filter(({ type }) => type === "links");
}

/** A member with a link to a classic peer, reported by now. */
function besideClassic(): { world: World; node: Node; classic: Member } {
  const world = new World();
  const classic: Member = { ...listed(2), dialect: "classic" };
  const node = world
    .node(1)
    .begin()
    .admit([listed(1), classic]);
  node.dialsTo(classic.address)[0]?.connect();
  world.pass(limits.reportMs);
  return { world, node, classic };
}

function start() {
  const timers = new Timers();
  const due: ControlOf<"links">[] = [];
  const reports = new ServerLinkReport(limits, timers, (now) => void due.push(...reports.take(now)));
  /** The reports that are due by then. */
  const takeDue = (now: number): ControlOf<"links">[] => {
    timers.fire(now);
    return due.splice(0);
  };
  return { reports, timers, takeDue };
}

describe("reports", () => {
  test("tell the first change at once, and gather those of a while behind it, each link with its newest state", () => {
    const { reports, timers, takeDue } = start();
    expect(timers.next()).toBeUndefined();
    reports.up(idOf(9), 1, 1_000);
    expect(timers.next()).toBe(1_000);
    expect(takeDue(1_000)).toEqual([{ type: "links", up: [[idOf(9), 1]], down: [] }]);
    reports.up(idOf(2), 1, 1_000);
    reports.down(idOf(3), 1, { stage: "dialing", reason: "ECONNREFUSED" }, 1_010);
    reports.up(idOf(3), 2, 1_020);
    reports.down(idOf(4), 1, { stage: "dialing", reason: "a" }, 1_030);
    expect(timers.next()).toBe(1_000 + limits.reportMs);
    expect(takeDue(1_000 + limits.reportMs - 1)).toEqual([]);
    expect(takeDue(1_000 + limits.reportMs)).toEqual([
      {
        type: "links",
        up: [
          [idOf(2), 1],
          [idOf(3), 2],
        ],
        down: [[idOf(4), "dialing", 1, "a"]],
      },
    ]);
    expect(timers.next()).toBeUndefined();
    reports.up(idOf(5), 0, 2_000);
    expect(takeDue(2_050)).toEqual([{ type: "links", up: [[idOf(5), 0]], down: [] }]);
  });

  test("of everything say so, also when there is nothing", () => {
    const { reports, takeDue } = start();
    reports.all(5);
    expect(takeDue(5)).toEqual([{ type: "links", full: true, up: [], down: [] }]);
    reports.up(idOf(2), 1, 10);
    takeDue(100);
    reports.down(idOf(3), 1, { stage: "hello", reason: "r" }, 110);
    reports.all(120);
    expect(takeDue(120)).toMatchObject([{ full: true, up: [[idOf(2), 1]], down: [[idOf(3), "hello", 1, "r"]] }]);
  });

  test("leave out who is no member any more", () => {
    const { reports, takeDue } = start();
    reports.up(idOf(2), 1, 0);
    reports.up(idOf(3), 1, 0);
    reports.forget(idOf(2));
    reports.all(1);
    expect(takeDue(1)).toMatchObject([{ up: [[idOf(3), 1]] }]);
  });

  test("fit into frames, however many links there are and however long the reasons", () => {
    const { reports, takeDue } = start();
    const reason = `${"R".repeat(40)} ${"\u4e2d".repeat(500)} (100 in a row)`;
    for (let order = 1; order <= 500; order += 1) reports.down(idOf(order), 1, { stage: "unreported", reason }, 0);
    reports.all(0);
    const parts = takeDue(0);
    expect(parts.flatMap(({ down }) => down)).toHaveLength(500);
    expect(parts.filter(({ full }) => full)).toHaveLength(1);
    expect(parts[0]?.full).toBe(true);
    for (const part of parts) expect(encodeControl(part).length - 5).toBeLessThanOrEqual(limits.controlBytes);
  });
});

describe("the server is told", () => {
  test("once of links that come up together, by the ids of the peers and the attempts", () => {
    const world = new World();
    const [first, ...others] = world.mesh(4) as [Node, ...Node[]];
    for (const other of others) first.newest(other).flow();
    world.pass(limits.reportMs);
    expect(told(first)).toEqual([
      {
        type: "links",
        up: [
          [idOf(2), 1],
          [idOf(3), 1],
          [idOf(4), 1],
        ],
        down: [],
      },
    ]);
    expect(others.map((other) => told(other)[0])).toMatchObject(others.map(() => ({ up: [[idOf(1), 1]] })));
  });

  test("the same attempt by both ends, after whatever has happened", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    world.live(limits.reportMs);
    wire.cut("acceptor").cut("dialer");
    world.live(1_000);
    expect(told(owner).at(-1)).toMatchObject({ up: [[idOf(2), 2]] });
    expect(told(later).at(-1)).toMatchObject({ up: [[idOf(1), 2]] });
  });

  test("what is in the way of a link, from the end that knows", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    world.pass(limits.reportMs);
    wire.cut("dialer", "ETIMEDOUT").cut("acceptor");
    owner.notes.length = 0;
    world.pass(limits.redialMinMs);
    owner.newest(later).refuse();
    world.pass(limits.reportMs);
    expect(told(owner).at(-1)).toMatchObject({
      up: [],
      down: [[idOf(2), "dialing", 2, expect.stringContaining("DIAL_FAILED ECONNREFUSED (1 in a row)")]],
    });
    expect(told(later).at(-1)).toMatchObject({ down: [[idOf(1), "broken", 1, "ECONNRESET"]] });
    expect(owner.member.missing).toMatchObject([{ address: listed(2).address }]);
  });

  test("everything again when a session has come back", () => {
    const world = new World();
    const { owner, wire } = world.pair();
    world.pass(limits.reportMs);
    owner.loseSession().reachAgain();
    world.pass(1_000);
    expect(told(owner)).toEqual([]);
    owner.admit([listed(1), listed(2)]);
    world.pass(0);
    expect(told(owner)).toEqual([{ type: "links", full: true, up: [[idOf(2), 1]], down: [] }]);
    wire.cut("dialer");
    world.pass(limits.reportMs);
    expect(told(owner)[1]).toMatchObject({ up: [], down: [[idOf(2), expect.any(String), 1, expect.any(String)]] });
  });

  test("nothing more of those who have left, were lost or were replaced", () => {
    const world = new World();
    const [node, ...others] = world.mesh(4) as [Node, ...Node[]];
    for (const other of others) node.newest(other).flow();
    world.pass(limits.reportMs);
    // The goodbye is here before the entry that says the same.
    others[0]?.leave();
    node.newest(others[0] as Node).flow();
    world.pass(limits.reportMs);
    expect(told(node).at(-1)).toMatchObject({ down: [[idOf(2), expect.any(String), 1, expect.any(String)]] });
    node.entries(
      { type: "left", revision: 5, id: idOf(2), reason: "left" },
      { type: "lost", revision: 6, id: idOf(3), reason: "silent" },
      { type: "replaced", replaces: idOf(4), revision: 7, ...listed(4), id: idOf(1_004), order: 7, dialect: "classic" },
    );
    node.loseSession().reachAgain();
    node.hear({ type: "admitted", log: logId, order: 1, revision: 7, observed: node.address, leaseMs: 20_000 });
    world.pass(0);
    expect(told(node)).toEqual([{ type: "links", full: true, up: [], down: [] }]);
  });

  test("of classic peers too, and of them anew by a new incarnation", () => {
    const { world, node, classic } = besideClassic();
    expect(told(node)).toEqual([{ type: "links", up: [[idOf(2), 0]], down: [] }]);
    node.entries({ type: "lost", revision: 3, id: idOf(1), reason: "silent" });
    node.session.connect();
    node.admit([classic, { ...listed(1), id: idOf(1_001), order: 4 }], 4);
    world.pass(limits.reportMs);
    expect(told(node)).toEqual([{ type: "links", up: [[idOf(2), 0]], down: [] }]);
  });

  test("nothing of the peers of an earlier incarnation", () => {
    const { world, node } = besideClassic();
    node.entries({ type: "lost", revision: 3, id: idOf(1), reason: "silent" });
    node.session.connect();
    node.admit([{ ...listed(1), id: idOf(1_001), order: 4 }], 4);
    node.loseSession().reachAgain();
    node.hear({ type: "admitted", log: logId, order: 4, revision: 4, observed: node.address, leaseMs: 20_000 });
    world.pass(0);
    expect(told(node)).toEqual([{ type: "links", full: true, up: [], down: [] }]);
  });

  test("of a link that has ended although both ends are members", () => {
    const world = new World();
    const node = world.admitted(1, [1, 2]);
    const wire = node.dialsTo(listed(2).address)[0]?.connect();
    wire?.say("acceptor", { type: "answer", attempt: 9, since: 9, received: 0 });
    world.pass(limits.reportMs);
    expect(told(node)).toMatchObject([
      { down: [[idOf(2), "broken", expect.any(Number), expect.stringContaining("the link has ended: SESSION_LOST")]] },
    ]);
  });
});
