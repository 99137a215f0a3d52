import { describe, expect, test } from "vitest";
import type { Address } from "../../../src/protocol/address.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { type Caller, nativeMembers, Play } from "../play.js";

const a = "127.0.0.1:16001";

/** Somebody asks whether others reach an address, from the host of that address or another one. */
function ask(play: Play, address: Address = a, host = "127.0.0.1", mesh = "default"): Caller {
  const caller = play.call(host);
  caller.send(encodePreface());
  caller.say({ type: "probe", mesh, id: play.id(), address });
  return caller;
}

/** A listener that names the id that it is asked for. */
function listener(play: Play, address: Address = a): void {
  play.listen(address, (question, dialed) => play.reply(dialed, { type: "here", id: question.id }));
}

describe("whoever asks whether others reach an address", () => {
  test("is told that they do, when, and from where the question came; nothing is left of it", () => {
    const play = new Play();
    const { size } = play.machine;
    listener(play);
    play.pass(1_234);
    const caller = ask(play);
    expect(caller.end.controls).toEqual([
      { type: "probed", reached: true, reason: "it is there", observed: "127.0.0.1:40001", at: 1_234, members: 0 },
    ]);
    expect(caller.state).toBe("halfClosed");
    caller.close();
    expect([play.machine.size, play.machine.members, play.events, play.machine.revision]).toEqual([size, [], [], 0]);
  });

  test("is told why they do not", () => {
    const play = new Play();
    expect(ask(play).end.last("probed")).toMatchObject({
      reached: false,
      reason: "nobody listens there (ECONNREFUSED)",
    });
    play.listen(a, (_, dialed) => play.reply(dialed, { type: "here", id: play.id() }));
    expect(ask(play).end.last("probed")).toMatchObject({ reached: false, reason: "another member answers there" });
    play.listen(a, () => {});
    const waiting = ask(play);
    play.pass(play.limits.challengeMs);
    expect(waiting.end.last("probed")).toMatchObject({ reached: false, reason: "no answer within 10 s" });
  });

  test("takes no place of a mesh, also while it is asked: the last one goes to whoever registers", () => {
    const play = new Play({ capacity: 2 });
    const [member] = nativeMembers(play, 1);
    play.listen(a, () => {});
    const caller = ask(play);
    const second = play.native("127.0.0.1:16002").register();
    expect(second.end.last("admitted")).toBeDefined();
    play.pass(play.limits.challengeMs);
    expect(caller.end.last("probed")).toMatchObject({ members: 2, code: "MESH_SEALED" });
    expect(play.machine.members).toEqual([member?.address, second.address]);
  });

  test("is told that it would stand in line, or be refused and why, and is dialed all the same", () => {
    const full = new Play({ capacity: 1, onFull: "hold" });
    nativeMembers(full, 1);
    listener(full);
    expect(ask(full).end.last("probed")).toMatchObject({ reached: true, waits: true, members: 1 });
    const meshes = new Play({ limits: { meshes: 1 } });
    listener(meshes);
    expect(ask(meshes, a, "127.0.0.1", "other").end.last("probed")).toMatchObject({ code: "TOO_MANY_MESHES" });
    expect(meshes.machine.meshes).toEqual(["default"]);
  });

  test("cannot make the server dial another host, unless a registration could", () => {
    const play = new Play();
    const foreign = "10.0.0.9:80";
    listener(play, foreign);
    expect(ask(play, foreign).end.last("probed")).toMatchObject({ reached: false, code: "FOREIGN_HOST" });
    expect(play.dials).toEqual([]);
    const allowing = new Play({ mayAdvertise: (host) => host === "10.0.0.9" });
    listener(allowing, foreign);
    const answer = ask(allowing, foreign).end.last("probed");
    expect([answer?.reached, answer?.code]).toEqual([true, undefined]);
  });

  test("gets one dial and one answer for each connection", () => {
    const play = new Play();
    play.listen(a, () => {});
    const caller = ask(play);
    caller.say({ type: "probe", mesh: "default", id: play.id(), address: a });
    expect(caller.end.last("refuse")).toMatchObject({ code: "UNEXPECTED_MESSAGE" });
    expect(play.dials.map(({ isOpen }) => isOpen)).toEqual([false]);
  });

  test("waits for its turn among dials, and is given up with its connection", () => {
    const play = new Play({ limits: { dialBacks: 1 } });
    play.listen(a, () => {});
    const [first, second] = [ask(play), ask(play)];
    expect(play.dials).toHaveLength(1);
    second.close();
    first.close();
    expect(play.dials).toHaveLength(1);
    const slow = ask(play);
    play.pass(play.limits.handshakeMs);
    expect(slow.end.last("probed") ?? slow.end.last("refuse")).toBeDefined();
  });

  test("with a secret has to have proved it, for this mesh", () => {
    const play = new Play({ isKeyed: true });
    listener(play);
    const plain = ask(play);
    expect(plain.end.last("refuse")).toMatchObject({ code: "SECRET_REQUIRED" });
    const caller = play.call();
    caller.secure({ mesh: "default", role: "rendezvous" });
    caller.send(encodePreface());
    caller.say({ type: "probe", mesh: "other", id: play.id(), address: a });
    expect(caller.end.last("refuse")).toMatchObject({ code: "WRONG_MESH" });
    expect(play.dials).toEqual([]);
    const trusted = play.call();
    trusted.secure({ mesh: "default", role: "rendezvous" });
    trusted.send(encodePreface());
    trusted.say({ type: "probe", mesh: "default", id: play.id(), address: a });
    expect(trusted.end.last("probed")).toMatchObject({ reached: true });
  });
});
