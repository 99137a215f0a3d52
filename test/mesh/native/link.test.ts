import { describe, expect, test } from "vitest";
import { encodeAcknowledgement } from "../../../src/protocol/native/acknowledgement.js";
import { encodeFrame, ping } from "../../../src/protocol/native/frames.js";
import { hello, idOf, listed } from "./names.js";
import type { Node } from "./node.js";
import { messageFrame } from "./recording-handler.js";
import type { Frame, Wire } from "./wire.js";
import { World } from "./world.js";

const { limits } = new World();

function numbers(frames: readonly Frame[], type: "acknowledgement" | "message"): number[] {
  return frames.flatMap((frame) => (frame.type === type && "number" in frame ? [frame.number] : []));
}

describe("messages", () => {
  test("arrive in order in both directions, with their topics", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    for (const text of ["a", "b", ""]) owner.send(later, text);
    later.send(owner, "c");
    wire.flow();
    expect([later.messages, owner.messages]).toEqual([["a", "b", ""], ["c"]]);
    expect(later.handlers.taken[0]).toEqual({ peer: owner.address, topic: "t", text: "a" });
  });

  test("that are sent while the connection is gone go out with the next one", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    wire.cut("dialer").cut("acceptor");
    owner.send(later, "a");
    later.send(owner, "b");
    world.live(1_000);
    expect([later.messages, owner.messages]).toEqual([["a"], ["b"]]);
    expect(owner.eventsOf("broken")).toHaveLength(1);
    expect(owner.eventsOf("relink")).toMatchObject([{ peer: later.address, direction: "dialed", dialect: "native" }]);
    expect(later.eventsOf("relink")).toMatchObject([{ direction: "accepted" }]);
  });

  test("after the goodbye go nowhere", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    const before = wire.frames("dialer").length;
    owner.leave();
    expect(owner.handler(later).link.isOpen).toBe(false);
    owner.send(later, "late");
    expect(wire.frames("dialer").slice(before)).toMatchObject([{ type: "goodbye" }]);
  });
});

/** The owner has told the later member that they do not agree; nothing begins anew between these two. */
function expectLost(world: World, owner: Node, later: Node, wire: Wire, code = "SESSION_LOST"): void {
  expect(wire.last("dialer", "refuse")).toMatchObject({ code });
  const reason = expect.stringMatching(new RegExp(`^${code} `));
  world.live(60_000);
  expect([owner.member.nativeLinks, later.member.nativeLinks]).toEqual([[], []]);
  for (const node of [owner, later]) {
    expect(node.eventsOf("unlink")).toMatchObject([{ reason }]);
    expect(node.eventsOf("broken")).toEqual([]);
    expect(node.said.findLast(({ type }) => type === "links")).toMatchObject({
      down: [[expect.anything(), "broken", 1, expect.stringMatching(new RegExp(`^the link has ended: ${code} `))]],
    });
  }
  expect([owner.handler(later).endings.length, later.handler(owner).endings.length]).toEqual([1, 1]);
  expect(owner.messages).toEqual([]);
  expect(owner.dials(later)).toHaveLength(1);
  expect([wire.dialer.isClosed, wire.acceptor.isClosed]).toEqual([true, true]);
}

describe("acknowledgements", () => {
  test("follow a while after the first message, for all that has come", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    for (const text of ["a", "b"]) owner.send(later, text);
    wire.from("dialer");
    world.pass(limits.acknowledgeMs - 1);
    expect(numbers(wire.frames("acceptor"), "acknowledgement")).toEqual([]);
    owner.send(later, "c");
    wire.from("dialer");
    world.pass(1);
    expect(numbers(wire.frames("acceptor"), "acknowledgement")).toEqual([3]);
    world.pass(1_000);
    expect(numbers(wire.frames("acceptor"), "acknowledgement")).toEqual([3]);
  });

  test("follow at once when many bytes have come", () => {
    const world = new World({ acknowledgeBytes: 100 });
    const { owner, later, wire } = world.pair();
    owner.send(later, "x".repeat(50));
    owner.send(later, "x".repeat(50));
    owner.send(later, "x");
    wire.from("dialer");
    expect(numbers(wire.frames("acceptor"), "acknowledgement")).toEqual([2]);
    world.pass(limits.acknowledgeMs);
    expect(numbers(wire.frames("acceptor"), "acknowledgement")).toEqual([2, 3]);
  });

  test("are owed anew on the next connection", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.send(later, "a");
    wire.from("dialer").cut("dialer").cut("acceptor");
    world.pass(limits.redialMinMs);
    const next = owner.newest(later).flow();
    owner.send(later, "b");
    next.from("dialer");
    world.pass(limits.acknowledgeMs);
    expect(numbers(next.frames("acceptor"), "acknowledgement")).toEqual([2]);
  });

  test("that come again tell the writer nothing new", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.send(later, "a");
    world.live(limits.acknowledgeMs);
    wire.send("acceptor", encodeAcknowledgement(1));
    wire.flow();
    expect(owner.handler(later).link.unacknowledgedBytes).toBe(0);
    expect(wire.isOpen).toBe(true);
  });

  test("tell the handler that something has moved, as handing it to the connection does", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    const handler = owner.handler(later);
    const before = handler.moves;
    owner.send(later, "a");
    expect([handler.moves, handler.link.waitingBytes, owner.unacknowledged(later)]).toEqual([before + 1, 0, 1]);
    wire.flow();
    expect(handler.moves).toBe(before + 1);
    world.live(limits.acknowledgeMs);
    expect([handler.moves, handler.link.unacknowledgedBytes, owner.unacknowledged(later)]).toEqual([before + 2, 0, 0]);
  });

  test.each(["owner", "later"] as const)("that come with the next connection tell the %s's handler too", (name) => {
    const world = new World();
    const { wire, ...nodes } = world.pair();
    const writer = nodes[name];
    const reader = nodes[name === "owner" ? "later" : "owner"];
    writer.send(reader, "a");
    wire.from("dialer").from("acceptor").cut("dialer").cut("acceptor");
    expect(writer.unacknowledged(reader)).toBe(1);
    const { moves } = writer.handler(reader);
    world.live(1_000);
    expect(reader.messages).toEqual(["a"]);
    expect(writer.unacknowledged(reader)).toBe(0);
    expect(writer.handler(reader).moves).toBeGreaterThan(moves);
  });

  test("of what has not been handed to a connection cannot be, and end the link at both ends", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.send(later, "a");
    wire.send("acceptor", encodeAcknowledgement(2));
    wire.from("acceptor");
    expectLost(world, owner, later, wire);
    expect(owner.eventsOf("unlink")).toMatchObject([{ unacknowledged: 1 }]);
  });

  test.each([
    ["more than was handed", 3],
    ["less than was acknowledged before", 1],
  ])("of %s cannot be in a goodbye either", (_, received) => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.send(later, "a");
    owner.send(later, "b");
    world.live(limits.acknowledgeMs);
    wire.say("acceptor", { type: "goodbye", reason: "left", received });
    expectLost(world, owner, later, wire);
  });
});

describe("a peer that does not keep to the protocol", () => {
  const payload = new Uint8Array(0);
  test.each<[string, Uint8Array, string]>([
    ["sends a numbered frame without a number", encodeFrame(0x10, Uint8Array.of(0, 0, 0, 0, 1)), "BAD_FRAME"],
    ["sends an acknowledgement that is none", encodeFrame(3, Uint8Array.of(1)), "BAD_FRAME"],
    ["sends a frame of an unknown kind", encodeFrame(2, payload), "UNKNOWN_MESSAGE"],
    ["announces a frame that is too large", Uint8Array.of(255, 0, 0, 0, 0x10), "FRAME_TOO_LARGE"],
    [
      "says what only a server says",
      encodeFrame(1, new TextEncoder().encode('{"type":"waiting","place":1}')),
      "UNEXPECTED_MESSAGE",
    ],
  ])("and %s is told so, and the link ends at both ends: the same would come again and again", (_, bytes, code) => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    wire.send("acceptor", bytes);
    wire.from("acceptor");
    expectLost(world, owner, later, wire, code);
  });

  test.each(["owner", "later"] as const)(
    "or takes only shorter frames: the %s's link ends, and is not dialed again",
    (name) => {
      const world = new World({ messageBytes: 1_000 });
      const { owner, later } = world.pair();
      const nodes = { owner, later };
      const writer = nodes[name];
      const reader = name === "owner" ? later : owner;
      writer.send(reader, "x".repeat(1_000));
      writer.send(reader, "not heard");
      world.live(60_000);
      expect([owner.dials(later).length, owner.member.nativeLinks, later.member.nativeLinks]).toEqual([1, [], []]);
      for (const node of [owner, later]) {
        expect(node.eventsOf("unlink")).toMatchObject([{ reason: expect.stringMatching(/^FRAME_TOO_LARGE /) }]);
      }
      expect(writer.eventsOf("unlink")).toMatchObject([{ unacknowledged: 2 }]);
    },
  );

  test.each<[string, Uint8Array]>([
    ["leaves a frame out", messageFrame(2, "")],
    ["sends a frame of number 0", messageFrame(0, "")],
    ["sends what the handler does not take", encodeFrame(0x1f, Uint8Array.of(0, 0, 0, 0, 0, 1))],
    ["sends a message that is none", encodeFrame(0x10, Uint8Array.of(0, 0, 0, 0, 0, 1, 0, 9))],
  ])("and %s is told so, and the link ends at both ends: to go on would be a loss in silence", (_, bytes) => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    wire.send("acceptor", bytes);
    wire.send("acceptor", messageFrame(1, "not heard"));
    wire.from("acceptor");
    expectLost(world, owner, later, wire);
  });

  test("or refuses the link for a reason of its own, is read to the end, and the next attempt is up", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    wire.say("acceptor", { type: "refuse", code: "BUSY", message: "no" });
    expect(wire.dialer.onItsWay).toEqual(["end"]);
    expect(owner.eventsOf("broken")).toMatchObject([{ reason: "BUSY no" }]);
    world.live(limits.redialMinMs + limits.lingerMs);
    expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
  });

  describe.each([
    ["owner", "later"],
    ["later", "owner"],
  ] as const)("or has no room for what comes, as the %s", (full, sender) => {
    test("says so, is dialed after ever longer pauses while it takes nothing, and takes everything in the end", () => {
      const world = new World();
      const pair = world.pair();
      const { owner, later } = pair;
      const handler = pair[full].handler(pair[sender]);
      handler.isFull = true;
      pair[sender].send(pair[full], "first");
      pair[sender].send(pair[full], "second");
      world.flow();
      expect(pair[full].notes).toEqual(["OVERLOADED"]);
      expect(pair[sender].eventsOf("broken")).toMatchObject([{ reason: expect.stringMatching(/^OVERLOADED /) }]);
      const upAt = [world.now];
      handler.onMoved = () => void upAt.push(world.now);
      for (let seconds = 0; seconds < 600 && upAt.length < 16; seconds += 1) world.live(1_000);
      const pauses = upAt.slice(1).map((at, index) => at - (upAt[index] ?? 0));
      expect(pauses.length).toBeGreaterThanOrEqual(15);
      for (const [times, pause] of pauses.entries()) {
        const wholeMs = Math.min(limits.redialMaxMs, limits.redialMinMs * 2 ** times);
        expect(pause).toBeGreaterThanOrEqual(wholeMs / 2);
        expect(pause).toBeLessThanOrEqual(wholeMs);
      }
      handler.isFull = false;
      world.live(limits.redialMaxMs);
      expect(pair[full].messages).toEqual(["first", "second"]);
      expect(owner.isUp(later)).toBe(true);
    });

    test("is dialed again after the shortest pause whenever it has taken something", () => {
      const world = new World();
      const pair = world.pair();
      const { owner, later } = pair;
      const handler = pair[full].handler(pair[sender]);
      handler.onTaken = () => {
        handler.isFull = true;
      };
      // It is told so when the link is up again.
      handler.onMoved = () => {
        handler.isFull = false;
      };
      for (let count = 0; count < 10; count += 1) pair[sender].send(pair[full], `${count}`);
      world.live(9 * limits.redialMinMs);
      expect(pair[full].messages).toHaveLength(10);
      expect(owner.dials(later)).toHaveLength(10);
    });
  });

  test("only in what may be ignored is not interrupted", () => {
    const world = new World();
    const { wire } = world.pair();
    wire.send("acceptor", encodeFrame(0x80, payload));
    wire.send("acceptor", encodeFrame(1, new TextEncoder().encode('{"type":"joke","optional":true}')));
    wire.flow();
    expect(wire.isOpen).toBe(true);
  });
});

describe("a silent connection", () => {
  test("is asked whether it lives, and goes on if it does", () => {
    const world = new World();
    const { owner, wire } = world.pair();
    world.live(60_000);
    expect(wire.isOpen).toBe(true);
    expect(wire.frames("dialer").filter(({ type }) => type === "ping").length).toBeGreaterThan(5);
    expect(owner.eventsOf("broken")).toEqual([]);
  });

  test("answers a ping, whatever else it does", () => {
    const { wire } = new World().pair();
    wire.send("dialer", ping);
    wire.from("dialer");
    expect(wire.frames("acceptor").at(-1)).toEqual({ type: "pong" });
  });

  test("answers each of several pings, once what was said before has gone, but no more than a few of them", () => {
    const { later, wire } = new World().pair();
    later.isFlushing = false;
    const pongs = (): number => wire.frames("acceptor").filter(({ type }) => type === "pong").length;
    const before = pongs();
    for (let number = 0; number < 4; number += 1) wire.send("dialer", ping);
    wire.from("dialer");
    expect(pongs() - before).toBe(1);
    wire.acceptor.tell({ type: "flushed" });
    expect(pongs() - before).toBe(4);
    for (let number = 0; number < 1_000; number += 1) wire.send("dialer", ping);
    wire.from("dialer");
    wire.acceptor.tell({ type: "flushed" });
    expect(pongs() - before).toBe(20);
  });

  test("is given up by both ends, and the owner dials again", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    world.pass(limits.silentMs - 1);
    expect(wire.isOpen).toBe(true);
    world.pass(1);
    expect([wire.dialer.isClosed, wire.acceptor.isClosed]).toEqual([true, true]);
    expect([owner.notes, later.notes]).toEqual([["SILENT"], ["SILENT"]]);
    expect(owner.eventsOf("broken")).toMatchObject([{ reason: "SILENT" }]);
    expect(owner.eventsOf("unlink")).toEqual([]);
    world.live(1_000);
    expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
  });

  test("with the server is given up too, and the server is dialed again", () => {
    const world = new World();
    const node = world.admitted(1, [1]);
    world.isServerAwake = false;
    const first = node.session;
    world.pass(limits.silentMs + limits.redialMinMs);
    expect(first.dialer.isClosed).toBe(true);
    expect(node.session).not.toBe(first);
    expect(node.notes).toEqual(["SILENT", "SERVER_AWAY"]);
  });
});

test("a link that goes on by a higher attempt has one connection, of which both ends know", () => {
  const world = new World();
  const { owner, later, wire } = world.pair();
  // Only the owner has noticed that the old one is broken.
  wire.cut("dialer").lose("dialer");
  world.pass(limits.redialMinMs);
  owner.newest(later).flow();
  expect(wire.acceptor.isClosed).toBe(true);
  // The old one is not asked whether it lives: nothing is sent on a closed connection.
  world.live(limits.silentMs);
  expect([owner.link(later)?.attempt, later.link(owner)?.attempt]).toEqual([2, 2]);
  expect(later.eventsOf("relink")).toHaveLength(1);
  const connection = later.link(owner)?.connection?.id;
  expect(later.member.nameOf(connection ?? "in:99")).toBe(owner.address);
  expect(world.call(later).say("dialer", hello(2)).from("acceptor").last("acceptor", "refuse")).toMatchObject({
    code: "STALE_ATTEMPT",
    highest: 2,
  });
  expect(later.isUp({ address: listed(1).address } as Node)).toBe(true);
  expect(owner.member.self?.id).toBe(idOf(1));
});
