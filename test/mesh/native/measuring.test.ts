import { describe, expect, test } from "vitest";
import type { ControlOf } from "../../../src/protocol/native/control.js";
import { idOf } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

function measured(node: Node): ControlOf<"measured">["links"][] {
  return node.said.flatMap((frame) => (frame.type === "measured" ? [frame.links] : []));
}

describe("a member at whose links somebody looks", () => {
  test("tells of those that are up, now and each second, with the round trip once it has one, until it is told to stop", () => {
    const world = new World();
    const [a, b, c] = world.mesh(3) as [Node, Node, Node];
    a.newest(b).flow();
    expect(measured(a)).toEqual([]);
    a.hear({ type: "measure", everyMs: 1_000 });
    world.pass(0);
    expect(measured(a)).toEqual([[[idOf(2), null, 0]]]);
    a.newest(c).flow();
    world.live(1_000);
    a.handler(b).waitingBytes = 100;
    world.live(1_000);
    const rows = measured(a).at(-1);
    expect(rows).toEqual([
      [idOf(2), 0, 100],
      [idOf(3), 0, 0],
    ]);
    const count = measured(a).length;
    a.hear({ type: "measure", everyMs: 0 });
    world.live(10_000);
    expect(measured(a)).toHaveLength(count);
  });

  test("does so once a second at most, whatever it is told", () => {
    const world = new World();
    const { owner } = world.pair();
    owner.hear({ type: "measure", everyMs: 1 });
    world.live(10_000);
    expect(measured(owner).length).toBeLessThanOrEqual(11);
  });

  test("forgets it with the session", () => {
    const world = new World();
    const { owner } = world.pair();
    owner.hear({ type: "measure", everyMs: 1_000 });
    world.live(2_000);
    owner.loseSession().reachAgain();
    owner.admit([], 1);
    world.live(5_000);
    expect(measured(owner)).toEqual([]);
  });
});
