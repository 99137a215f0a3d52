import { describe, expect, test } from "vitest";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

function membersOf(play: Play): readonly (readonly string[])[] {
  return play.machine.meshes.map((mesh) => play.machine.membersOf(mesh));
}

describe("N26: a mesh of which no session has lived for a lease", () => {
  test.each(["default", "jobs"])("is forgotten, without an entry, and its owner is told (%s)", (mesh) => {
    const play = new Play();
    const members = nativeMembers(play, 2, mesh);
    linkAll(members);
    for (const member of members) member.die();
    play.pass(play.limits.leaseMs - 1);
    expect(play.machine.membersOf(mesh)).toHaveLength(2);
    const { revision } = play.machine;
    play.pass(1);
    expect(membersOf(play)).toEqual([[]]);
    expect(play.machine.revision).toBe(revision);
    const addresses = members.map(({ address }) => address);
    const reason = "nobody of it was heard for 20 s";
    expect(play.eventsOf("forgotten")).toEqual([{ type: "forgotten", mesh, addresses, reason }]);
    expect(play.eventsOf("lost")).toEqual([]);
    expect(play.machine.nextTimeout()).toBeUndefined();
  });

  test("is not forgotten while one session of it lives, be it of one who stands in line", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const [a] = nativeMembers(play, 1) as [Player];
    const next = play.native("127.0.0.1:14009").register();
    play.listen(a.address, () => {});
    a.caller.close("ECONNRESET");
    play.pass(play.limits.probeMs - 1);
    expect(play.machine.members).toEqual([a.address]);
    expect(next.end.last("waiting")).toMatchObject({ place: 1 });
  });

  test("takes back who comes back as who it was, and never gives an order twice", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    const orders = [a.order, b.order];
    const { log = "" } = a.end.last("admitted") ?? {};
    for (const one of [a, b]) one.caller.close("ECONNRESET");
    play.pass(play.limits.leaseMs);
    a.resume(2, log);
    play.settle();
    expect(a.end.last("admitted")).toMatchObject({ order: orders[0] });
    expect(a.end.last("admitted")?.log).not.toBe(log);
    const anew = play.native("127.0.0.1:14009").register();
    play.settle();
    expect(anew.order).toBeGreaterThan(Math.max(...orders));
  });

  test("is kept for a member that proves in time that it is back, and for no more than one proof", () => {
    for (const isProved of [true, false]) {
      const play = new Play();
      const [a] = nativeMembers(play, 1) as [Player];
      const { leaseMs, challengeMs } = play.limits;
      let nonce = "";
      play.listen(a.address, (question) => {
        if (question.type === "challenge") nonce = question.nonce;
      });
      a.caller.close("ECONNRESET");
      play.pass(leaseMs - 1_000);
      const { log = "" } = a.end.last("admitted") ?? {};
      a.resume(1, log);
      play.pass(2_000);
      expect(play.machine.members).toEqual([a.address]);
      if (isProved) a.caller.say({ type: "proof", nonce });
      for (let passed = 0; passed < challengeMs && !isProved; passed += 1_000) {
        a.resume(1, log);
        play.pass(1_000);
      }
      expect(play.machine.members).toEqual(isProved ? [a.address] : []);
    }
  });

  test("waits for what the log has not answered", () => {
    const play = new Play();
    nativeMembers(play, 1);
    play.isLogSlow = true;
    const late = play.native("127.0.0.1:15001").register();
    for (const caller of play.callers.values()) caller.close("ECONNRESET");
    play.listen(late.address, undefined);
    play.pass(2 * play.limits.leaseMs);
    expect(play.machine.members).toHaveLength(1);
    play.isLogSlow = false;
    while (play.appends.length > 0) play.answer();
    play.pass(2 * play.limits.leaseMs);
    expect(play.machine.members).toEqual([]);
  });

  test("keeps nobody's address, name or slot", () => {
    const play = new Play({ capacity: 2, onFull: "hold" });
    for (const mesh of ["default", "jobs"]) {
      const members = nativeMembers(play, 2, mesh, mesh === "jobs" ? 14_001 : 15_001);
      for (const member of members) member.die();
    }
    play.pass(play.limits.leaseMs);
    const classic = play.call();
    classic.send("127.0.0.1:14001");
    expect(classic.text).toBe("list:\n127.0.0.1:14001");
    expect(nativeMembers(play, 2, "jobs", 16_001).map(({ order }) => order > 0)).toEqual([true, true]);
  });

  test("keeps no server from ending", () => {
    const play = new Play({ capacity: 2 });
    const [elsewhere] = nativeMembers(play, 1, "elsewhere", 15_001) as [Player];
    elsewhere.die();
    const [a, b] = nativeMembers(play, 2, "jobs") as [Player, Player];
    a.linked([b, 1]);
    b.linked([a, 1]);
    expect(play.eventsOf("teardown").map(({ mesh }) => mesh)).toEqual(["jobs"]);
    for (const one of [a, b]) one.caller.close();
    expect(play.eventsOf("closed")).toEqual([]);
    play.pass(play.limits.leaseMs);
    expect(play.eventsOf("closed")).toHaveLength(1);
  });
});

describe("N26: an address at which nobody answers", () => {
  test("goes at once to whoever proves it in another mesh, and its old holder is gone there", () => {
    const play = new Play();
    const [a, witness] = nativeMembers(play, 2) as [Player, Player];
    witness.linked([a, 1]);
    a.die();
    const heir = play.native(a.address, "jobs").register();
    play.settle();
    expect(heir.order).toBeGreaterThan(0);
    expect(play.machine.membersOf("default")).toEqual([witness.address]);
    expect(play.machine.membersOf("jobs")).toEqual([a.address]);
    expect(play.eventsOf("lost")[0]?.reason).toBe('its address belongs to a member of "jobs" now');
    play.native(a.address, "third").register();
    expect(play.machine.membersOf("third")).toEqual([]);
  });

  test("goes also to whoever proves it in line, and is the line's from then on", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const [a] = nativeMembers(play, 1) as [Player];
    nativeMembers(play, 1, "jobs", 15_001);
    a.die();
    const heir = play.native(a.address, "jobs").register();
    expect(heir.end.last("waiting")).toMatchObject({ place: 1 });
    expect(play.machine.membersOf("default")).toEqual([]);
    const third = play.native(a.address, "third").register();
    expect(third.end.last("refuse")).toMatchObject({ code: "ADDRESS_IN_USE" });
  });

  test("is not had by whoever does not answer there", () => {
    const play = new Play();
    const [a] = nativeMembers(play, 1) as [Player];
    a.die();
    const liar = play.native(a.address, "jobs");
    play.listen(a.address, undefined);
    liar.register();
    expect(liar.end.last("refuse")).toMatchObject({ code: "ADDRESS_UNPROVED" });
    expect(play.machine.members).toEqual([a.address]);
  });

  test("is refused while the session of its member lives", () => {
    const play = new Play();
    const [a] = nativeMembers(play, 1) as [Player];
    const dials = play.dials.length;
    const other = play.native(a.address, "jobs").register();
    expect(other.end.last("refuse")).toMatchObject({ code: "ADDRESS_IN_USE" });
    expect(play.dials).toHaveLength(dials);
    expect(play.machine.members).toEqual([a.address]);
  });

  test("is its member's again once that has come back", () => {
    const play = new Play();
    const [a] = nativeMembers(play, 1) as [Player];
    a.caller.close("ECONNRESET");
    a.resume(1);
    play.settle();
    const other = play.native(a.address, "jobs").register();
    expect(other.end.last("refuse")).toMatchObject({ code: "ADDRESS_IN_USE" });
  });
});

test("a mesh is on loopback or not as those of its members who live: a dead one decides nothing", () => {
  const play = new Play();
  const [dead] = nativeMembers(play, 1) as [Player];
  dead.die();
  const first = play.native("10.0.0.1:4001").register();
  play.settle();
  expect(first.order).toBeGreaterThan(0);
  const late = play.native("127.0.0.1:14002").register();
  expect(late.end.last("refuse")).toMatchObject({ code: "LOOPBACK_MIX" });
});

describe("the names of meshes", () => {
  test("are free a lease after their last session, however many there were", () => {
    const play = new Play({ limits: { meshes: 8 } });
    for (let index = 1; index < 8; index += 1) {
      const [member] = nativeMembers(play, 1, `mesh ${index}`, 15_000 + index) as [Player];
      play.listen(member.address, () => {});
      member.caller.close("ECONNRESET");
    }
    const early = play.native("127.0.0.1:14001", "new").register();
    expect(early.end.last("refuse")).toMatchObject({ code: "TOO_MANY_MESHES" });
    play.pass(play.limits.leaseMs);
    expect(play.machine.meshes).toEqual(["default"]);
    expect(nativeMembers(play, 1, "new")[0]?.order).toBeGreaterThan(0);
  });

  test("of meshes whose members were all found dead make room at once", () => {
    const play = new Play({ limits: { meshes: 8 } });
    for (let index = 1; index < 8; index += 1) {
      const [member] = nativeMembers(play, 1, `mesh ${index}`, 15_000 + index) as [Player];
      if (index !== 3) member.die();
    }
    for (let index = 1; index < 7; index += 1) {
      expect(nativeMembers(play, 1, `new ${index}`, 14_000 + index)[0]?.order).toBeGreaterThan(0);
    }
    const last = play.native("127.0.0.1:14001", "last").register();
    expect(last.end.last("refuse")).toMatchObject({ code: "TOO_MANY_MESHES" });
    expect(play.machine.membersOf("mesh 3")).toHaveLength(1);
  });

  test("never include the one of classic members, also when that mesh has ended", () => {
    const play = new Play({ capacity: 2, limits: { meshes: 2 } });
    nativeMembers(play, 1, "other", 16_001);
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    a.linked([b, 1]);
    b.linked([a, 1]);
    expect(play.eventsOf("teardown").map(({ mesh }) => mesh)).toEqual(["default"]);
    const late = play.native("127.0.0.1:14009", "third").register();
    expect(late.end.last("refuse")).toMatchObject({ code: "TOO_MANY_MESHES" });
    const classic = play.call();
    classic.send("127.0.0.1:14010");
    expect(classic.text).toContain("MESH_SEALED");
  });
});
