import { describe, expect, test } from "vitest";
import { encodeAcknowledgement } from "../../../src/protocol/native/acknowledgement.js";
import { encodeControl } from "../../../src/protocol/native/control.js";
import { encodeFrame } from "../../../src/protocol/native/frames.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { hello, idOf, joined, listed } from "./names.js";
import type { Node } from "./node.js";
import type { Wire } from "./wire.js";
import { World } from "./world.js";

const { limits } = new World();

/** The second of two members; the test is whoever calls. */
function listener(world = new World()): { world: World; node: Node } {
  return {
    world,
    node: world.admitted(2, [1, 2]),
  };
}

function refusal(wire: Wire): string | undefined {
  return wire.from("acceptor").last("acceptor", "refuse")?.code;
}

describe("a caller", () => {
  test.each<[string, Parameters<Wire["say"]>[1], string]>([
    ["that means somebody else", hello(1, 1, 7), "WRONG_TARGET"],
    ["that joined later", hello(9, 5), "NOT_OWNER"],
    ["that is the listener itself", hello(1, 2), "NOT_OWNER"],
    ["of another mesh", { ...hello(1), mesh: "other" }, "WRONG_MESH"],
    ["that the directory has as classic", hello(1, 4), "WRONG_DIALECT"],
    ["that has been removed", hello(1, 6), "GONE"],
    ["that says what only a server is told", { type: "leave", reason: "" }, "UNEXPECTED_MESSAGE"],
    ["that answers what nobody has asked", { type: "here", id: idOf(1) }, "UNEXPECTED_MESSAGE"],
    ["that goes on from what there never was", hello(1, 1, 2, 1), "SESSION_LOST"],
    ["with an unknown message", encodeFrame(1, new TextEncoder().encode('{"type":"dance"}')), "UNKNOWN_MESSAGE"],
    ["with a hello that is none", encodeFrame(1, new TextEncoder().encode('{"type":"hello"}')), "BAD_FRAME"],
    ["with an acknowledgement before its hello", encodeAcknowledgement(1), "UNEXPECTED_MESSAGE"],
    ["with a message before its hello", encodeFrame(0x10, new Uint8Array(9)), "UNEXPECTED_MESSAGE"],
    ["with a long message before its hello", encodeFrame(0x10, new Uint8Array(5_000)), "FRAME_TOO_LARGE"],
    ["with an empty numbered frame before its hello", encodeFrame(0x1f, new Uint8Array(0)), "BAD_FRAME"],
    ["with a frame of an unknown kind", encodeFrame(2, new Uint8Array(8)), "UNKNOWN_MESSAGE"],
    ["with a first frame that is too long", encodeFrame(1, new Uint8Array(5_000)), "FRAME_TOO_LARGE"],
  ])("%s is told why it is refused", (_, frame, code) => {
    const { world, node } = listener();
    node.entries(
      joined({ ...listed(6), id: idOf(6) }, 3),
      joined({ ...listed(4), dialect: "classic" }, 4),
      joined(listed(5)),
      { type: "lost", revision: 6, id: idOf(6), reason: "silent" },
    );
    const call = world.call(node).say("dialer", frame);
    expect(call.acceptor.onItsWay.at(-1)).toBe("end");
    expect(refusal(call)).toBe(code);
    expect(node.notes).toContain(code);
    // It is read to the end: what it still says does no harm.
    if (!call.dialer.isClosed) call.say("dialer", hello(9)).halfClose("dialer");
    call.from("dialer");
    expect(call.acceptor.isClosed).toBe(true);
    expect(node.isUp({ address: listed(1).address } as Node)).toBe(false);
  });

  test("for whom there is no room is told so and when to come back, once it has shown that it is native", () => {
    const world = new World({ handshakesPending: 1 });
    const { node } = listener(world);
    const silent = world.call(node);
    const call = world.call(node);
    expect(node.notes).toEqual([]);
    call.say("dialer", hello(1));
    expect(call.from("acceptor").last("acceptor", "refuse")).toMatchObject({ code: "BUSY", retryMs: 5_000 });
    expect(node.notes).toEqual(["BUSY"]);
    expect(silent.isOpen).toBe(true);
    const other = world.call(node);
    world.pass(limits.refusalMs);
    expect(node.notes).toEqual(["BUSY", "BUSY"]);
    expect(other.acceptor.sent).toEqual([]);
    expect(other.acceptor.onItsWay.at(-1)).toBe("end");
  });

  test("that is refused is not heard any more, not even to the end of what has come with it", () => {
    const { world, node } = listener();
    const call = world.call(node);
    const hellos = [encodeControl(hello(1, 1, 7)), encodeControl(hello(1))].flatMap((bytes) => [...bytes]);
    call.send("dialer", Uint8Array.of(...encodePreface(), ...hellos));
    call.from("dialer");
    expect(refusal(call)).toBe("WRONG_TARGET");
    expect(call.last("acceptor", "answer")).toBeUndefined();
    expect(node.member.nativeLinks).toEqual([]);
  });

  test("that is refused and does not close is cut in the end", () => {
    const { world, node } = listener();
    const call = world.call(node).say("dialer", hello(1, 1, 7));
    world.pass(limits.lingerMs - 1);
    expect(call.acceptor.isClosed).toBe(false);
    world.pass(1);
    expect(call.acceptor.isClosed).toBe(true);
  });

  test("with an old attempt is told the highest that was taken", () => {
    const { world, node } = listener();
    const first = world.call(node).say("dialer", hello(5)).from("acceptor");
    const stale = world.call(node).say("dialer", hello(5)).from("acceptor");
    expect(stale.last("acceptor", "refuse")).toMatchObject({ code: "STALE_ATTEMPT", highest: 5 });
    expect(first.isOpen).toBe(true);
  });

  test("may come in pieces of one byte", () => {
    const { world, node } = listener();
    const call = world.call(node);
    for (const byte of [...encodePreface(), ...encodeControl(hello(1))]) call.send("dialer", Uint8Array.of(byte));
    call.from("dialer").from("acceptor");
    expect(call.last("acceptor", "answer")).toMatchObject({ attempt: 1, since: 1, received: 0 });
  });

  test("of another version is sent the preface of this one, and no frame", () => {
    const { world, node } = listener();
    const call = world.call(node);
    call.send("dialer", encodePreface({ lowest: 3, highest: 9 }));
    call.from("dialer");
    expect(call.acceptor.sent).toEqual([encodePreface({ lowest: 2, highest: 2 })]);
    expect(node.notes).toEqual(["VERSION_MISMATCH"]);
    expect(call.acceptor.onItsWay.at(-1)).toBe("end");
  });

  test("that begins like one of ours and is not is turned away", () => {
    const { world, node } = listener();
    const call = world.call(node);
    call.send("dialer", Uint8Array.of(0xf7, 1, 2, 3));
    call.from("dialer");
    expect(node.notes).toEqual(["BAD_PREFACE"]);
    expect(refusal(call)).toBe("BAD_PREFACE");
  });

  test("that says nothing more is turned away when the time for its hello is over", () => {
    const { world, node } = listener();
    const call = world.call(node);
    call.send("dialer", encodePreface());
    call.from("dialer");
    world.pass(limits.handshakeMs - 1);
    expect(call.acceptor.hasEnded).toBe(false);
    world.pass(1);
    expect(refusal(call)).toBe("HANDSHAKE_TIMEOUT");
  });

  test("that closes before it has said hello is noticed", () => {
    const { world, node } = listener();
    const call = world.call(node);
    call.send("dialer", encodePreface());
    call.halfClose("dialer");
    call.from("dialer");
    expect(node.notes).toEqual(["NOTHING_SAID"]);
    expect(call.acceptor.isClosed).toBe(true);
  });
});

describe("a hello from somebody whom the directory does not name yet", () => {
  test("waits for so long, and is then refused", () => {
    const { world, node } = listener();
    const call = world.call(node).say("dialer", hello(1, 9));
    world.pass(limits.parkedMs - 1);
    expect(refusal(call)).toBeUndefined();
    world.pass(1);
    expect(refusal(call)).toBe("UNKNOWN_PEER");
  });

  test("waits no longer because the directory moves, and keeps its place", () => {
    const { world, node } = listener(new World({ parked: 1 }));
    const call = world.call(node).say("dialer", hello(1, 9));
    world.pass(limits.parkedMs - 1);
    node.entries(joined(listed(5)));
    expect(refusal(call)).toBeUndefined();
    world.pass(1);
    expect(refusal(call)).toBe("UNKNOWN_PEER");
  });

  test("waits only where there is room, and makes room when its caller goes", () => {
    const { world, node } = listener(new World({ parked: 2 }));
    const calls = [9, 8, 7].map((number) => world.call(node).say("dialer", hello(1, number)));
    expect(calls.map(refusal)).toEqual([undefined, undefined, "PARKING_FULL"]);
    calls[0]?.abort("dialer");
    calls[0]?.from("dialer");
    expect(refusal(world.call(node).say("dialer", hello(1, 7)))).toBeUndefined();
    expect(node.notes).toEqual(["PARKING_FULL"]);
  });

  test("is refused if anything else follows before its answer", () => {
    const { world, node } = listener();
    const call = world.call(node).say("dialer", hello(1, 9), hello(2, 9));
    expect(refusal(call)).toBe("UNEXPECTED_MESSAGE");
    node.entries(joined(listed(9)));
    expect(call.from("acceptor").last("acceptor", "answer")).toBeUndefined();
  });

  test("is judged by what the directory says when it moves", () => {
    const { world, node } = listener();
    const calls = [8, 9].map((number) => world.call(node).say("dialer", hello(1, number)));
    node.entries(joined({ ...listed(8), dialect: "classic" }), joined(listed(9)));
    expect(calls.map(refusal)).toEqual(["WRONG_DIALECT", "NOT_OWNER"]);
  });

  test("of two attempts is taken once, by the higher one", () => {
    const world = new World();
    const node = world.node(2).begin();
    const first = world.call(node).say("dialer", hello(1));
    const second = world.call(node).say("dialer", hello(2));
    node.admit([listed(1), listed(2)]);
    expect(second.from("acceptor").last("acceptor", "answer")).toMatchObject({ attempt: 2, since: 2 });
    expect(first.acceptor.isClosed).toBe(true);
    expect(node.member.nativeLinks).toHaveLength(1);
  });
});

describe("the two dialects", () => {
  test("do not mix: a classic hello in the name of a native member is no link", () => {
    const { world, node } = listener();
    const call = world.call(node);
    call.send("dialer", new TextEncoder().encode(`Hello from:${listed(1).address}`));
    call.from("dialer");
    world.pass(limits.quietMs + limits.parkedMs);
    expect(node.eventsOf("link")).toEqual([]);
    expect(call.acceptor.isClosed || call.acceptor.hasEnded).toBe(true);
    expect(node.member.nativeLinks).toEqual([]);
  });

  test("have one door: a classic member refuses a native caller in native", () => {
    const world = new World();
    const node = world.node(2, { dialect: "classic", mesh: "default" });
    const call = world.call(node).say("dialer", hello(1));
    expect(refusal(call)).toBe("WRONG_DIALECT");
  });

  test("a classic later member is greeted in classic, and never dialed in native", () => {
    const world = new World();
    const node = world
      .node(1)
      .begin()
      .admit([listed(1), { ...listed(2), dialect: "classic" }]);
    const [wire] = node.dialsTo(listed(2).address) as [Wire];
    wire.connect();
    expect(new TextDecoder().decode(wire.dialer.sent[0])).toBe(`Hello from:${node.address}`);
    expect(node.eventsOf("link")).toMatchObject([{ dialect: "classic" }]);
    expect(node.dialsTo(listed(2).address)).toHaveLength(1);
  });
});

describe("the server's calls", () => {
  test("a challenge that nobody awaits is refused, and nothing is proved", () => {
    const { world, node } = listener();
    const said = node.said.length;
    const call = world.call(node).say("dialer", { type: "challenge", mesh: "m", id: idOf(2), nonce: idOf(7) });
    expect(refusal(call)).toBe("UNAWAITED_CHALLENGE");
    expect(node.said).toHaveLength(said);
  });

  test("a check is answered with the listener's own id, whatever it asks for", () => {
    const { world, node } = listener();
    const call = world
      .call(node)
      .say("dialer", { type: "check", mesh: "x", id: idOf(9) })
      .from("acceptor");
    expect(call.frames("acceptor")).toEqual([{ type: "here", id: idOf(2) }]);
    expect(call.acceptor.hasEnded).toBe(true);
    expect(node.session.isOpen).toBe(true);
  });

  test("a check for this very member makes it ask its server for a sign of life, and believes nobody else", () => {
    const { world, node } = listener();
    const session = node.session;
    const call = world
      .call(node)
      .say("dialer", { type: "check", mesh: "m", id: idOf(2) })
      .from("acceptor");
    expect(call.frames("acceptor")).toEqual([{ type: "here", id: idOf(2) }]);
    expect(session.dialer.isClosed).toBe(false);
    expect(node.session).toBe(session);
    expect(session.last("dialer", "ping")).toBeDefined();
  });
});
