import { describe, expect, test } from "vitest";
import { type Control, encodeControl } from "../../../src/protocol/native/control.js";
import { hello, idOf, joined, listed } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

const { limits } = new World();
const fenced = { type: "refuse", code: "FENCED", message: "removed" } as const;
const lostSelf = { type: "lost", revision: 3, id: idOf(1), reason: "silent" } as const;
/** The first member's second incarnation. */
const again = { ...listed(1), id: idOf(1_001), order: 4 };

describe("a member that was removed", () => {
  /** The ways in which it learns of that. */
  const ways: Record<string, (node: Node) => void> = {
    "its own entry": (node) => void node.entries(lostSelf),
    "a whole directory without it": (node) => void node.hear({ type: "directory", revision: 3, members: [listed(2)] }),
    "a refusal on its session": (node) => void node.hear(fenced),
    "its own entry and a refusal at once": (node) => {
      const { session } = node;
      const entries = [lostSelf, joined(listed(3))];
      session.send("acceptor", concat(session, { type: "entries", entries }, fenced));
      session.from("acceptor");
    },
    "the refusal of its resume": (node) => {
      node.loseSession().reachAgain();
      node.hear(fenced);
    },
  };

  test.each(Object.entries(ways))("ends its links and joins anew with a new id when it learns so by %s", (_, learn) => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.send(later, "not acknowledged");
    learn(owner);
    expect(owner.eventsOf("fenced")).toHaveLength(1);
    expect(owner.eventsOf("unlink")).toMatchObject([{ peer: later.address, unacknowledged: 1 }]);
    expect(wire.dialer.isClosed).toBe(true);
    owner.session.connect();
    expect(owner.said).toMatchObject([{ type: "register", id: idOf(1_001), address: owner.address }]);
    owner.admit([listed(2), again], 4);
    expect(owner.eventsOf("registered").map(({ order }) => order)).toEqual([1, 4]);
    expect(owner.member.self?.id).toBe(idOf(1_001));
    expect(owner.eventsOf("ended")).toEqual([]);
  });

  test("links anew, in the other direction, and hears nothing that was meant for its old incarnation", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    later.send(owner, "for the old one");
    owner.entries(lostSelf);
    wire.from("acceptor");
    owner.session.connect();
    owner.admit([listed(2), again], 4);
    later.entries({ ...lostSelf, revision: 3 }, joined(again));
    world.live(1_000);
    expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
    expect(owner.link(later)?.isOwner).toBe(false);
    later.send(owner, "for the new one");
    world.live(1_000);
    expect(owner.messages).toEqual(["for the new one"]);
    expect(later.eventsOf("unlink")).toMatchObject([{ unacknowledged: 1 }]);
    expect(later.eventsOf("link")).toHaveLength(2);
  });

  test("refuses whoever still means its old incarnation", () => {
    const world = new World();
    const { owner } = world.pair();
    const parked = world.call(owner).say("dialer", hello(1, 9, 1));
    owner.entries(lostSelf);
    owner.session.connect();
    owner.admit([listed(2), again], 4);
    expect(parked.from("acceptor").last("acceptor", "refuse")).toMatchObject({ code: "WRONG_TARGET" });
    const call = world
      .call(owner)
      .say("dialer", hello(1, 2, 1))
      .from("acceptor");
    expect(call.last("acceptor", "refuse")).toMatchObject({ code: "WRONG_TARGET" });
  });

  test("reports the links of its new incarnation only", () => {
    const world = new World();
    const { owner, later } = world.pair();
    owner.entries(lostSelf);
    owner.session.connect();
    owner.admit([listed(2), again], 4);
    world.pass(limits.reportMs);
    expect(owner.session.last("dialer", "links")).toBeUndefined();
    later.entries(lostSelf, joined(again));
    world.live(1_000);
    expect(owner.session.last("dialer", "links")).toMatchObject({ up: [[idOf(2), 1]], down: [] });
  });
});

function concat(session: Node["session"], ...controls: readonly Control[]): Uint8Array {
  const before = session.acceptor.sent.length;
  for (const control of controls) session.send("acceptor", encodeControl(control));
  const pieces = session.acceptor.sent.slice(before);
  session.acceptor.onItsWay.splice(-pieces.length);
  return Uint8Array.of(...pieces.flatMap((piece) => [...piece]));
}
