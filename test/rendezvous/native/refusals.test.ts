import { describe, expect, test } from "vitest";
import { encodeAcknowledgement } from "../../../src/protocol/native/acknowledgement.js";
import { type Control, encodeControl } from "../../../src/protocol/native/control.js";
import { encodeFrame } from "../../../src/protocol/native/frames.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { type Caller, nativeMembers, Play, type Player } from "../play.js";

const id = "0123456789abcdef0123456789abcdef";
const registration: Control = { type: "register", mesh: "default", id, address: "127.0.0.1:14001" };

/** An id that nobody has. */
function made(index: number): string {
  return (0xff_0000 + index).toString(16).padStart(32, "0");
}

function greeted(play: Play): Caller {
  const caller = play.call();
  caller.send(encodePreface());
  return caller;
}

describe("a native caller is refused, told why, and half-closed", () => {
  test.each<[what: string, code: string, bytes: Uint8Array]>([
    ["a frame that is longer than a first frame may be", "FRAME_TOO_LARGE", Uint8Array.of(0, 0, 0x10, 1, 1)],
    ["a frame of 4 GiB", "FRAME_TOO_LARGE", Uint8Array.of(255, 255, 255, 255, 1)],
    ["a frame of an unknown kind", "UNKNOWN_MESSAGE", encodeFrame(9, new Uint8Array(3))],
    ["a frame of kind 2, which means nothing", "UNKNOWN_MESSAGE", encodeFrame(2, new Uint8Array(8))],
    ["a control frame that holds no JSON", "BAD_FRAME", encodeFrame(1, new TextEncoder().encode("register"))],
    ["a message of an unknown type", "UNKNOWN_MESSAGE", encodeFrame(1, new TextEncoder().encode('{"type":"knock"}'))],
    ["a registration without an address", "BAD_FRAME", encodeFrame(1, new TextEncoder().encode('{"type":"register"}'))],
    ["a numbered frame, as members send one another", "UNEXPECTED_MESSAGE", encodeFrame(0x10, new Uint8Array(8))],
    ["a numbered frame without a number", "UNEXPECTED_MESSAGE", encodeFrame(0x1f, new Uint8Array(5))],
    ["an acknowledgement", "UNEXPECTED_MESSAGE", encodeAcknowledgement(1)],
    ["a report before it has registered", "UNEXPECTED_MESSAGE", encodeControl({ type: "links", up: [], down: [] })],
    ["a proof before it has registered", "UNEXPECTED_MESSAGE", encodeControl({ type: "proof", nonce: id })],
    ["a question that the server asks", "UNEXPECTED_MESSAGE", encodeControl({ type: "check", mesh: "default", id })],
    [
      "a hello, which members say to one another",
      "HELLO_AT_SERVER",
      encodeControl({ type: "hello", mesh: "default", from: id, to: id, attempt: 1, since: 0, received: 0 }),
    ],
  ])("for %s: %s", (_, code, bytes) => {
    const play = new Play();
    const caller = greeted(play);
    caller.send(bytes);
    expect(caller.end.last("refuse")).toMatchObject({ code });
    expect(caller.end.prefaces).toEqual([{ lowest: 2, highest: 2 }]);
    expect(caller.state).toBe("halfClosed");
    expect(play.notes).toEqual([code]);
    expect(play.dials).toEqual([]);
    play.pass(play.limits.lingerMs);
    expect(caller.state).toBe("aborted");
  });

  test("and nothing behind the refused frame is heard", () => {
    const play = new Play();
    const caller = greeted(play);
    caller.send(Uint8Array.of(...encodeFrame(9, new Uint8Array()), ...encodeControl(registration)));
    caller.say(registration);
    expect(caller.end.controls).toHaveLength(1);
    expect(play.dials).toEqual([]);
  });
});

test("kinds and messages that say they may be ignored are ignored", () => {
  const play = new Play();
  const [member] = nativeMembers(play, 1) as [Player];
  member.caller.send(encodeFrame(0x80, new Uint8Array(100)));
  member.caller.send(encodeFrame(1, new TextEncoder().encode('{"type":"later","optional":true}')));
  expect(member.caller.state).toBe("open");
  expect(play.notes).toEqual([]);
});

test("a member may say more at a time than a stranger, up to the bound of control frames", () => {
  const play = new Play({ limits: { firstFrameBytes: 200, controlBytes: 4_000 } });
  const [member] = nativeMembers(play, 1) as [Player];
  const up = Array.from({ length: 60 }, (_, index): [string, number] => [made(index), 1]);
  member.caller.say({ type: "links", up, down: [] });
  expect(member.caller.state).toBe("open");
  const many = Array.from({ length: 600 }, (_, index): [string, number] => [made(index), 1]);
  member.caller.say({ type: "links", up: many, down: [] });
  expect(member.end.last("refuse")).toMatchObject({ code: "FRAME_TOO_LARGE" });
});

test("the answer to a dial-back that comes when it is not waited for any more counts for nothing", () => {
  const play = new Play();
  const [member] = nativeMembers(play, 1) as [Player];
  member.caller.say({ type: "proof", nonce: id });
  expect(member.caller.state).toBe("open");
  expect(play.notes).toEqual([]);
});

test("a member that is refused is a member still: it may come back, and is looked after", () => {
  const play = new Play();
  const [member] = nativeMembers(play, 2) as [Player, Player];
  const dials = play.dials.length;
  member.caller.say(registration);
  expect(member.end.last("refuse")).toMatchObject({ code: "UNEXPECTED_MESSAGE" });
  expect(play.dials).toHaveLength(dials + 1);
  expect(play.machine.members).toHaveLength(2);
  member.resume(2);
  play.settle();
  expect(member.order).toBe(1);
});

describe("versions", () => {
  test("none in common: answered with the server's own range and nothing else, then half-closed", () => {
    const play = new Play();
    const caller = play.call();
    caller.send(encodePreface({ lowest: 3, highest: 7 }));
    caller.say(registration);
    expect(caller.end.prefaces).toEqual([{ lowest: 2, highest: 2 }]);
    expect(caller.end.kinds).toEqual([]);
    expect(caller.state).toBe("halfClosed");
    expect(play.notes).toEqual(["VERSION_MISMATCH"]);
  });

  test("one in common: answered with exactly that one", () => {
    const play = new Play();
    const caller = play.call();
    caller.send(encodePreface({ lowest: 1, highest: 7 }));
    caller.send(Uint8Array.of(0, 0, 0, 0, 4));
    expect(caller.end.prefaces).toEqual([{ lowest: 2, highest: 2 }]);
    expect(caller.end.kinds).toEqual([5]);
  });

  test("what begins like a preface and is none is closed without a word", () => {
    const play = new Play();
    const caller = play.call();
    caller.send(Uint8Array.of(0xf7, 0x66, 0x6d, 0x00));
    expect(caller.sent).toEqual([]);
    expect(caller.state).toBe("halfClosed");
    expect(play.notes).toEqual(["BAD_PREFACE"]);
  });
});

describe("the limits of handshakes", () => {
  test("hold until the address is proved: a registration that is not costs no more than its time", () => {
    const play = new Play({ limits: { handshakeMs: 3_000, challengeMs: 10_000 } });
    const player = play.native("127.0.0.1:14001");
    play.listen(player.address, () => {});
    player.register();
    play.pass(3_000);
    expect(player.end.last("refuse")).toMatchObject({ code: "HANDSHAKE_TIMEOUT" });
    expect(play.dials.map(({ isOpen }) => isOpen)).toEqual([false]);
  });

  test("hold no more once it is proved, also not for who waits in line", () => {
    const play = new Play({ capacity: 1, onFull: "hold", limits: { handshakesPending: 1 } });
    nativeMembers(play, 1);
    const waiting = play.native("127.0.0.1:14002").register();
    for (let passed = 0; passed < 2 * play.limits.handshakeMs; passed += play.limits.probeMs) {
      play.pass(play.limits.probeMs);
      waiting.caller.send(Uint8Array.of(0, 0, 0, 0, 5));
    }
    expect(waiting.caller.state).toBe("open");
    expect(waiting.end.last("waiting")).toBeDefined();
  });

  test("count native and classic callers together, and beyond them there is BUSY", () => {
    const play = new Play({ limits: { handshakesPending: 2 } });
    greeted(play);
    play.call();
    const [native, classic] = [play.call(), play.call()];
    expect([native.state, classic.state, native.sent, classic.sent]).toEqual(["open", "open", [], []]);
    native.send(encodePreface());
    expect(native.end.last("refuse")).toMatchObject({ code: "BUSY", retryMs: 5_000 });
    classic.send("1");
    expect(classic.text).toMatch(/^refused BUSY: /);
    expect([native.state, classic.state]).toEqual(["halfClosed", "halfClosed"]);
    expect(play.notes).toEqual(["BUSY", "BUSY"]);
  });

  test("that are refused and say nothing are told soon, in the dialect that is spoken here", () => {
    for (const [dialect, isNative] of [
      ["any", false],
      ["native", true],
    ] as const) {
      const play = new Play({ dialect, limits: { handshakesPending: 1 } });
      play.call();
      const silent = play.call();
      play.pass(play.limits.refusalMs - 1);
      expect(silent.sent).toEqual([]);
      play.pass(1);
      expect(silent.end.last("refuse")?.code).toBe(isNative ? "BUSY" : undefined);
      expect(silent.text.startsWith("refused BUSY: ")).toBe(!isNative);
    }
  });

  test("that are refused and told linger in a bounded number, the oldest no longer", () => {
    for (const isKeyed of [false, true]) {
      const play = new Play({ isKeyed, limits: { handshakesPending: 1, refusalsPending: 2 } });
      const callers = Array.from({ length: 4 }, () => play.call());
      for (const caller of callers) caller.send("1");
      expect(callers.slice(1).map(({ state }) => state)).toEqual(["aborted", "halfClosed", "halfClosed"]);
    }
  });

  test("that are refused wait for their first byte in a bounded number, the oldest no longer", () => {
    const play = new Play({ limits: { handshakesPending: 1, refusalsPending: 2 } });
    play.call();
    const [first, second, third] = [play.call(), play.call(), play.call()];
    expect([first.state, second.state, third.state]).toEqual(["halfClosed", "open", "open"]);
    second.close();
    play.pass(play.limits.refusalMs);
    expect(play.notes).toEqual(["BUSY", "NOTHING_SAID", "BUSY"]);
  });
});

describe("a server that runs out of descriptors", () => {
  test("keeps an eighth of its connections for saying so, and then closes at once", () => {
    const play = new Play({ limits: { connections: 16 } });
    const members = nativeMembers(play, 14);
    expect(play.machine.members).toHaveLength(14);
    const refused = play.native("127.0.0.1:15000").register();
    expect(refused.end.last("refuse")).toMatchObject({ code: "NO_DESCRIPTORS", retryMs: 5_000 });
    play.call();
    expect(play.call().state).toBe("aborted");
    expect(play.notes).toEqual(["NO_DESCRIPTORS", "NO_DESCRIPTORS"]);
    for (const { caller } of members.slice(0, 2)) caller.close();
    play.pass(play.limits.leaseMs);
    const late = play.native("127.0.0.1:15001").register();
    play.settle();
    expect(play.machine.members).toContain(late.address);
  });

  test("counts what it has dialed", () => {
    const play = new Play({ limits: { connections: 4 } });
    for (const port of [15_001, 15_002]) {
      const tarpit = play.native(`127.0.0.1:${port}`);
      play.listen(tarpit.address, () => {});
      tarpit.register();
    }
    expect(play.call().state).toBe("aborted");
  });
});

test("dial-backs are bounded: further ones wait, newcomers and members that are looked for in turns", () => {
  const play = new Play({ limits: { dialBacks: 2 } });
  const [member] = nativeMembers(play, 1) as [Player];
  const before = play.dials.length;
  const players = [1, 2, 3, 4].map((index) => {
    const player = play.native(`127.0.0.1:${15_000 + index}`);
    play.listen(player.address, () => {});
    return player.register();
  });
  expect(play.dials).toHaveLength(before + 2);
  member.caller.close("ECONNRESET");
  expect(play.dials).toHaveLength(before + 2);
  players[0]?.caller.close();
  players[1]?.caller.close();
  expect(
    play.dials
      .slice(before + 2)
      .map(({ to }) => to)
      .sort(),
  ).toEqual([member.address, players[2]?.address, players[3]?.address].sort());
  expect(play.dials.slice(before + 2, before + 4).map(({ to }) => to)).toContain(member.address);
});

describe("with a secret", () => {
  const keyed = (): Play => new Play({ isKeyed: true });
  const rendezvous = { mesh: "default", role: "rendezvous" } as const;

  test("a native caller in plain text is refused with SECRET_REQUIRED in its own dialect", () => {
    const play = keyed();
    const caller = greeted(play);
    expect(caller.end.last("refuse")).toMatchObject({ code: "SECRET_REQUIRED" });
    expect(caller.state).toBe("halfClosed");
    caller.say(registration);
    expect(play.notes).toEqual(["SECRET_REQUIRED"]);
    expect(play.dials).toEqual([]);
  });

  test("a classic caller is refused with SECRET_REQUIRED in text, which the log keeps", () => {
    const play = keyed();
    const caller = play.call();
    caller.send("127.0.0.1:14001");
    expect(caller.text).toMatch(/^refused SECRET_REQUIRED: /);
    expect(play.notes).toEqual(["SECRET_REQUIRED"]);
    expect(play.machine.members).toEqual([]);
  });

  test("a browser still gets its 400", () => {
    const play = keyed();
    const caller = play.call();
    caller.send("GET / HTTP/1.1\r\n");
    expect(caller.text).toMatch(/^HTTP\/1\.1 400/);
  });

  test("who has proved it for the mesh that it names is taken in, and may advertise any host", () => {
    const play = keyed();
    const player = play.native("10.0.0.9:14001", "default", "10.0.0.1");
    player.caller.secure(rendezvous);
    player.register();
    expect(play.machine.members).toEqual([player.address]);
  });

  test.each([
    ["another mesh", "WRONG_MESH", { mesh: "cache", role: "rendezvous" }],
    ["another role", "WRONG_ROLE", { mesh: "default", role: "member" }],
  ] as const)("who has proved it for %s is refused with %s", (_, code, identity) => {
    const play = keyed();
    const player = play.native("127.0.0.1:14001");
    player.caller.secure(identity);
    player.register();
    expect(player.end.last("refuse")).toMatchObject({ code });
    expect(play.dials).toEqual([]);
  });

  test("a resume has to name the mesh of its key, too", () => {
    const play = keyed();
    const player = play.native("127.0.0.1:14001");
    player.caller.secure({ mesh: "cache", role: "rendezvous" });
    player.caller.send(encodePreface());
    player.caller.say({
      type: "resume",
      mesh: "default",
      id,
      address: player.address,
      log: id,
      revision: 1,
      order: 1,
      highest: 1,
    });
    expect(player.end.last("refuse")).toMatchObject({ code: "WRONG_MESH" });
  });

  test("who fails to prove it is noted once, with the reason", () => {
    const play = keyed();
    const caller = play.call();
    const { connection } = caller;
    play.give({ type: "unproved", connection, code: "SECRET_MISMATCH", message: "another secret" });
    caller.close();
    expect(play.notes).toEqual(["SECRET_MISMATCH"]);
    expect(caller.sent).toEqual([]);
  });

  test("in the middle of the proof nothing is said in plain text, also when it takes too long", () => {
    const play = keyed();
    const caller = play.call();
    play.pass(play.limits.firstByteMs);
    expect(play.notes).toEqual(["HANDSHAKE_TIMEOUT"]);
    expect(caller.sent).toEqual([]);
    expect(caller.state).toBe("halfClosed");
  });

  test("a handshake has its time from its first byte, whatever of it has come and been proved", () => {
    const play = keyed();
    const half = play.call();
    const late = play.call();
    play.pass(30_000);
    for (const { connection } of [half, late]) play.give({ type: "proving", connection });
    play.pass(play.limits.handshakeMs - 1);
    late.secure(rendezvous);
    expect([half.state, late.state]).toEqual(["open", "open"]);
    play.pass(1);
    expect([half.state, late.state]).toEqual(["halfClosed", "halfClosed"]);
    expect(play.notes).toEqual(["HANDSHAKE_TIMEOUT", "HANDSHAKE_TIMEOUT"]);
  });

  test("who has proved it and then speaks classic is refused with WRONG_DIALECT", () => {
    const play = keyed();
    const caller = play.call();
    caller.secure(rendezvous);
    caller.send("127.0.0.1:14001");
    expect(caller.text).toMatch(/^refused WRONG_DIALECT: /);
  });

  test("a dial-back that finds somebody without it proves nothing", () => {
    const play = keyed();
    const player = play.native("127.0.0.1:14001");
    player.caller.secure(rendezvous);
    play.dialed = ({ connection }) => {
      play.give({ type: "unproved", connection, code: "SECRET_MISMATCH", message: "it has no secret" });
      return true;
    };
    player.register();
    expect(player.end.last("refuse")).toMatchObject({
      code: "ADDRESS_UNPROVED",
      message: "127.0.0.1:14001: SECRET_MISMATCH: it has no secret",
    });
  });
});
