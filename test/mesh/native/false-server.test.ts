import { describe, expect, test } from "vitest";
import type { Member } from "../../../src/protocol/directory.js";
import { idOf, joined, listed, logId } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

/** A member at a server that names these, in parts of so many. */
function told(members: readonly Member[], each: number, world = new World()): Node {
  const node = world.node(1).begin();
  node.hear({ type: "admitted", log: logId, order: 1, revision: 9, observed: node.address, leaseMs: 20_000 });
  for (let from = 0; from < members.length && node.session.isOpen; from += each) {
    const more = from + each < members.length ? ({ more: true } as const) : {};
    node.hear({ type: "directory", revision: 9, members: members.slice(from, from + each), ...more });
  }
  return node;
}

function members(count: number): Member[] {
  return Array.from({ length: count }, (_, index) => listed(index + 1));
}

/** Leaves, and lets ten minutes pass in which nobody is reached. */
function dialsAfterLeaving(world: World, node: Node): number {
  world.pass(50);
  node.leave();
  const before = world.wires.length;
  world.pass(600_000);
  return world.wires.length - before;
}

describe("a directory that names an id twice", () => {
  const twice = [listed(1), listed(2), { ...listed(2), address: "10.0.0.3:7000" } as const];

  test.each([1, 3])("is refused with BAD_FRAME, also in parts (%d a part), and nobody is dialed for it", (each) => {
    const node = told(twice, each);
    expect(node.notes).toEqual(["BAD_FRAME", "SERVER_AWAY"]);
    const detail = `the directory names ${idOf(2)} twice`;
    expect(node.session.last("dialer", "refuse")).toMatchObject({ code: "BAD_FRAME", message: detail });
    expect(node.dialsTo(listed(2).address)).toEqual([]);
  });

  test("leaves nothing that dials after the member has left", () => {
    const world = new World();
    expect(dialsAfterLeaving(world, told(twice, 3, world))).toBe(0);
  });
});

describe("a server over TCP that names a local socket", () => {
  const socket = { ...listed(2), address: "unix:/run/docker.sock" } as const;

  function expectEnded(node: Node): void {
    expect(node.notes).toEqual(["LOCAL_MIX", "SERVER_AWAY"]);
    const said = { code: "LOCAL_MIX", message: "this server names unix:/run/docker.sock" };
    expect(node.session.last("dialer", "refuse")).toMatchObject(said);
    expect(node.dialsTo(socket.address)).toEqual([]);
  }

  test("is left with LOCAL_MIX if that is a member of its directory, and nobody dials it", () => {
    expectEnded(told([listed(1), socket], 1));
  });

  test("is left with LOCAL_MIX if that is a member in its entries", () => {
    const node = told(members(1), 1);
    node.entries(joined({ ...socket, order: 10 }));
    expectEnded(node);
  });

  test("is left with LOCAL_MIX if that is another server", () => {
    const node = told(members(1), 1);
    node.hear({ type: "servers", servers: [socket.address] });
    expectEnded(node);
  });
});

describe("an entry for an id that is listed", () => {
  test.each([
    ["at its own address", listed(2).address],
    ["at another one", "10.0.0.3:7000"],
  ] as const)("changes nothing, %s: there is one link, and none after the end", (_, address) => {
    const world = new World();
    const node = told(members(2), 2, world);
    node.entries(joined({ ...listed(2), address, order: 10 }));
    expect(node.member.members).toEqual([listed(1).address, listed(2).address]);
    expect(node.dialsTo(listed(2).address)).toHaveLength(1);
    expect(dialsAfterLeaving(world, node)).toBe(0);
    expect(node.eventsOf("closed")).toHaveLength(1);
  });
});

describe("a directory without an end", () => {
  const limits = { directoryMembers: 10 };

  test("is refused with BAD_FRAME as soon as its parts name more members than a directory may", () => {
    const fits = told(members(10), 2, new World(limits));
    expect(fits.member.members).toHaveLength(10);
    const node = told(members(40), 2, new World(limits));
    expect(node.notes).toEqual(["BAD_FRAME", "SERVER_AWAY"]);
    const said = { code: "BAD_FRAME", message: "the directory names more than 10 members and claims" };
    expect(node.session.last("dialer", "refuse")).toMatchObject(said);
    expect(node.member.members).toEqual([]);
  });

  test("is refused, too, if it goes on in entries", () => {
    const node = told(members(9), 9, new World(limits));
    node.entries(joined(listed(10)));
    expect(node.session.isOpen).toBe(true);
    node.entries(joined(listed(11)));
    expect(node.session.last("dialer", "refuse")).toMatchObject({ code: "BAD_FRAME" });
    expect(node.member.members).toHaveLength(10);
  });
});
