import { expect, test } from "vitest";
import { idOf, listed } from "./names.js";
import { World } from "./world.js";

test("both ends may send from listing on, and what they sent goes out first, in order", () => {
  const world = new World();
  const [owner, later] = world.mesh(2) as [ReturnType<World["node"]>, ReturnType<World["node"]>];
  expect([owner.link(later)?.reachability, later.link(owner)?.reachability]).toEqual(["waiting", "waiting"]);
  for (const text of ["a", "b"]) owner.send(later, text);
  later.send(owner, "c");
  expect([owner.handler(later).ups, owner.unacknowledged(later)]).toEqual([0, 2]);
  owner.newest(later).flow();
  owner.send(later, "d");
  world.live(1_000);
  expect([later.messages, owner.messages]).toEqual([["a", "b", "d"], ["c"]]);
  expect([owner.handler(later).ups, later.handler(owner).ups]).toEqual([1, 1]);
  expect(owner.link(later)?.reachability).toBe("up");
});

test("what waits survives attempts that fail, and goes out once", () => {
  const world = new World();
  const [owner, later] = world.mesh(2) as [ReturnType<World["node"]>, ReturnType<World["node"]>];
  owner.send(later, "a");
  owner.newest(later).refuse();
  world.live(60_000);
  expect(owner.dials(later).length).toBeGreaterThan(1);
  expect(later.messages).toEqual(["a"]);
});

test.each([
  ["left", { type: "left", revision: 3, id: idOf(2), reason: "bye" }],
  ["lost", { type: "lost", revision: 3, id: idOf(2), reason: "silent" }],
  ["replaced", { type: "replaced", revision: 3, replaces: idOf(2), ...listed(2), id: idOf(9), order: 9 }],
] as const)("a link that was never up ends when its peer is %s, and what waited never goes to the next", (_, entry) => {
  const world = new World();
  const owner = world.admitted(1, [1, 2]);
  const peer = listed(2).address;
  const link = owner.member.nativeLink(peer);
  const handler = owner.handlers.at(peer);
  handler?.send("a");
  owner.entries(entry as never);
  expect(handler?.endings).toHaveLength(1);
  expect(handler?.ups).toBe(0);
  expect(owner.eventsOf("unlink")).toMatchObject([{ peer, unacknowledged: 1, wasUp: false }]);
  expect(link?.unacknowledgedBytes).toBe(0);
  expect(owner.member.nativeLink(peer)?.unacknowledgedBytes ?? 0).toBe(0);
});
