import { describe, expect, test } from "vitest";
import { idOf } from "./names.js";
import type { Node } from "./node.js";
import type { Wire } from "./wire.js";
import { World } from "./world.js";

const { limits } = new World();

/** Somebody who says that it is the server looks whether the member is there. */
function look(world: World, node: Node): void {
  const call = world
    .call(node)
    .say("dialer", { type: "check", mesh: "m", id: idOf(1) })
    .from("acceptor");
  expect(call.last("acceptor", "here")).toEqual({ type: "here", id: idOf(1) });
}

/** A member with a session on which the server says nothing any more. */
function unheard(): { world: World; node: Node; session: Wire } {
  const world = new World();
  const node = world.admitted(1, [1]);
  world.isServerAwake = false;
  return { world, node, session: node.session };
}

describe("a session whose member the server looks for", () => {
  test("is given up soon if the server does not answer on it, and the member comes back", () => {
    const { world, node, session } = unheard();
    look(world, node);
    expect(node.said.at(-1)).toEqual({ type: "ping" });
    world.pass(limits.probeMs - 1);
    expect(session.dialer.isClosed).toBe(false);
    world.pass(1);
    expect(session.dialer.isClosed).toBe(true);
    expect(node.notes).toEqual(["SILENT", "SERVER_AWAY"]);
    node.reachAgain();
    expect(node.said).toMatchObject([{ type: "resume", id: idOf(1) }]);
  });

  test("has all the time again after any byte of the server", () => {
    const { world, node, session } = unheard();
    look(world, node);
    world.pass(limits.probeMs - 1);
    // The first byte of a frame, of which the rest is still on its way.
    session.say("acceptor", Uint8Array.of(0));
    world.pass(limits.silentMs - 1);
    expect(session.dialer.isClosed).toBe(false);
    world.pass(1);
    expect(session.dialer.isClosed).toBe(true);
  });

  test("lives on if the server answers each probe, however often a stranger looks", () => {
    const { world, node, session } = unheard();
    world.isServerAwake = true;
    for (let looks = 0; looks < 300; looks += 1) {
      look(world, node);
      world.pass(100);
    }
    world.pass(limits.silentMs);
    expect(session.isOpen).toBe(true);
    expect([node.session, node.notes]).toEqual([session, []]);
  });

  test("is given up no later, however often a stranger looks", () => {
    const { world, node, session } = unheard();
    for (let passed = 0; passed < limits.probeMs; passed += 1_000) {
      look(world, node);
      expect(session.dialer.isClosed).toBe(false);
      world.pass(1_000);
    }
    expect(session.dialer.isClosed).toBe(true);
  });
});
