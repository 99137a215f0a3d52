import { describe, expect, test } from "vitest";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

/** Members that have reported all their links. */
function linkedMembers(play: Play, count: number): Player[] {
  const players = nativeMembers(play, count);
  linkAll(players);
  return players;
}

function lostIn(play: Play): string[] {
  return play.eventsOf("lost").map(({ address }) => address);
}

/** The lease begins now. The peer goes on reporting, so that it does not fall silent itself. */
function expectLostWithLease(play: Play, absent: Player, peer: Player): void {
  for (let passed = 0; passed < play.limits.leaseMs - 1_000; passed += 1_000) {
    play.pass(1_000);
    peer.linked();
  }
  expect(lostIn(play)).toEqual([]);
  play.pass(1_000);
  expect(lostIn(play)).toEqual([absent.address]);
}

/** Lets time pass, and this one goes on reporting. */
function passAwake(play: Play, awake: Player, ms: number): void {
  for (let passed = 0; passed < ms; passed += 1_000) {
    play.pass(Math.min(1_000, ms - passed));
    awake.linked();
  }
}

/** Whoever listens at this address takes connections and does not answer; what it is asked to say is kept. */
function slowAt(play: Play, { address }: Player): { readonly nonces: string[] } {
  const nonces: string[] = [];
  play.listen(address, (question) => {
    if (question.type === "challenge") nonces.push(question.nonce);
  });
  return { nonces };
}

describe("N13: a member whose session has broken", () => {
  test("is looked after at once at its address, as the rendezvous, by mesh and id", () => {
    const play = new Play();
    const [a] = linkedMembers(play, 2) as [Player, Player];
    const before = play.dials.length;
    a.caller.close("ECONNRESET");
    expect(play.dials.slice(before)).toMatchObject([
      { to: a.address, identity: { mesh: "default", role: "rendezvous" } },
    ]);
  });

  test("is lost at once where nobody listens any more and no witness is left", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    b.unlinked(a, "broken", "ECONNRESET");
    a.die();
    expect(lostIn(play)).toEqual([a.address]);
    expect(play.eventsOf("lost")[0]?.reason).toBe("ECONNRESET; nobody listens there (ECONNREFUSED)");
    play.settle();
    expect(b.end.last("entries")?.entries).toMatchObject([{ type: "lost", id: a.id }]);
  });

  test("is not lost while a member with a session says that it holds a link with it", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 3) as [Player, Player, Player];
    a.die();
    play.pass(play.limits.silentMs - 1);
    expect(lostIn(play)).toEqual([]);
    b.unlinked(a, "broken", "ECONNRESET");
    expect(lostIn(play)).toEqual([]);
  });

  test("is lost with the report that lets the last witness go", () => {
    const play = new Play();
    const [a, b, c] = linkedMembers(play, 3) as [Player, Player, Player];
    a.die();
    b.unlinked(a, "broken", "ECONNRESET");
    c.caller.say({ type: "links", full: true, up: [[b.id, 1]], down: [] });
    expect(lostIn(play)).toEqual([a.address]);
  });

  test.each([
    // Its word counts no more when it is cut off from the server, though it may still hold the link.
    ["has no session itself", (witness: Player) => witness.caller.close("ECONNRESET")],
    ["has left", (witness: Player) => witness.leave()],
  ])("has no witness in a member that %s", (_, silence) => {
    const play = new Play();
    const [a, b, c] = linkedMembers(play, 3) as [Player, Player, Player];
    b.unlinked(a, "broken", "ECONNRESET");
    a.die();
    expect(lostIn(play)).toEqual([]);
    silence(c);
    expect(lostIn(play)).toEqual([a.address]);
  });

  test.each([
    ["answers with its id", true],
    ["does not answer", false],
  ])("is lost only when its lease has run out, if it %s at its address", (_, answers) => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    b.unlinked(a, "broken", "ECONNRESET");
    if (!answers) play.listen(a.address, () => {});
    a.caller.close("ECONNRESET");
    expectLostWithLease(play, a, b);
    expect(play.eventsOf("lost")[0]?.reason).toBe("ECONNRESET; not back within 20 s");
  });

  test.each(["another id", "another protocol"])("is lost at once when %s answers there", (what) => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    b.unlinked(a, "broken", "ECONNRESET");
    play.listen(a.address, (_, dialed) => {
      const bytes = new TextEncoder().encode("HTTP/1.1 400 Bad Request");
      if (what === "another id") play.reply(dialed, { type: "here", id: play.id() });
      else play.give({ type: "bytes", connection: dialed.connection, bytes });
    });
    a.caller.close("ECONNRESET");
    expect(lostIn(play)).toEqual([a.address]);
  });

  test("is not lost for a busy listener that refuses, or that closes without a word", () => {
    for (const refuses of [true, false]) {
      const play = new Play();
      const [a, b] = linkedMembers(play, 2) as [Player, Player];
      b.unlinked(a, "broken", "ECONNRESET");
      play.listen(a.address, (_, dialed) => {
        if (refuses) play.reply(dialed, { type: "refuse", code: "BUSY", message: "later" });
        else play.give({ type: "ended", connection: dialed.connection });
      });
      a.caller.close("ECONNRESET");
      expect(lostIn(play)).toEqual([]);
    }
  });

  test("is kept by a witness for one more lease, once its address has refused two dials a second apart", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    const before = play.dials.length;
    a.die();
    const { leaseMs, recheckMs } = play.limits;
    passAwake(play, b, recheckMs - 1);
    expect(play.dials).toHaveLength(before + 1);
    passAwake(play, b, 1);
    expect(play.dials).toHaveLength(before + 2);
    passAwake(play, b, leaseMs - 1);
    expect(lostIn(play)).toEqual([]);
    passAwake(play, b, 1);
    expect(lostIn(play)).toEqual([a.address]);
    expect(play.eventsOf("lost")[0]?.reason).toBe("ECONNRESET; nobody listens there (ECONNREFUSED)");
  });

  test("is kept by a witness that comes and goes for no longer than by one that stays", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    a.die();
    const { leaseMs, recheckMs } = play.limits;
    for (let passed = 0; passed < recheckMs + leaseMs; passed += 3_000) {
      play.pass(3_000);
      b.caller.close("ECONNRESET");
      b.resume(2, b.end.last("admitted")?.log);
      b.caller.say({ type: "links", full: true, up: [[a.id, 1]], down: [] });
    }
    expect(lostIn(play)).toEqual([a.address]);
  });

  test.each([
    ["takes connections and does not answer", "slow"],
    ["cannot be reached", "EHOSTUNREACH"],
    ["times out", "ETIMEDOUT"],
  ])("is kept by a witness for as long as it reports the link, if its address %s", (_, what) => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    if (what === "slow") slowAt(play, a);
    else
      play.dialed = ({ to, connection }) => {
        if (to === a.address) play.give({ type: "closed", connection, failure: what });
        return to === a.address;
      };
    a.caller.close("ECONNRESET");
    passAwake(play, b, 5 * play.limits.leaseMs);
    expect(lostIn(play)).toEqual([]);
    b.unlinked(a, "broken", "SILENT");
    expect(lostIn(play)).toEqual([a.address]);
  });

  test("is looked for again while a witness keeps it, and lost when its address refuses at last", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    slowAt(play, a);
    a.caller.close("ECONNRESET");
    passAwake(play, b, play.limits.leaseMs);
    play.listen(a.address, undefined);
    passAwake(play, b, 2 * play.limits.leaseMs + play.limits.recheckMs);
    expect(lostIn(play)).toEqual([a.address]);
  });

  test("is believed to live again when its own id answers after a refusal", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    play.listen(a.address, undefined);
    a.caller.close("ECONNRESET");
    play.listen(a.address, (_, dialed) => play.reply(dialed, { type: "here", id: a.id }));
    passAwake(play, b, 3 * play.limits.leaseMs);
    expect(lostIn(play)).toEqual([]);
  });

  test("counts as broken also when it half-closes without having said that it leaves", () => {
    const play = new Play();
    const [a] = linkedMembers(play, 2) as [Player, Player];
    const before = play.dials.length;
    a.caller.finish();
    expect(a.caller.state).toBe("halfClosed");
    expect(play.dials).toHaveLength(before + 1);
    expect([lostIn(play), play.eventsOf("left")]).toEqual([[], []]);
  });

  test("is not judged while no session of the mesh lives, and gets a whole lease when one does again", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    play.listen(a.address, () => {});
    a.caller.close("ECONNRESET");
    play.pass(1_000);
    b.caller.close("ECONNRESET");
    play.pass(play.limits.leaseMs - 1);
    expect(lostIn(play)).toEqual([]);
    b.resume(2);
    b.caller.say({ type: "links", full: true, up: [], down: [[a.id, "broken", 1, "ECONNRESET"]] });
    expectLostWithLease(play, a, b);
  });

  test("makes room for whoever waits in line, though all members have died at once", () => {
    const play = new Play({ capacity: 2, onFull: "hold" });
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    a.die();
    b.die();
    expect(lostIn(play)).toEqual([]);
    const next = play.native("127.0.0.1:14009").register();
    play.settle();
    expect(lostIn(play)).toEqual([a.address, b.address]);
    expect(next.order).toBeGreaterThan(0);
  });
});

describe("a silent session", () => {
  test("is probed, and given up with SILENT when nothing has come for too long", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    const awake = (ms: number): void => {
      for (let passed = 0; passed < ms; passed += 1_000) {
        play.pass(1_000);
        b.linked();
      }
    };
    awake(play.limits.probeMs);
    expect(a.end.kinds.at(-1)).toBe(4);
    awake(play.limits.silentMs - play.limits.probeMs - 1_000);
    expect(a.caller.state).toBe("open");
    awake(1_000);
    expect(play.notes).toContain("SILENT");
    expect(a.caller.state).toBe("halfClosed");
    expect(b.caller.state).toBe("open");
    expect(lostIn(play)).toEqual([]);
  });

  test("is not silent while it answers probes", () => {
    const play = new Play();
    const [a] = nativeMembers(play, 1) as [Player];
    const pong = Uint8Array.of(0, 0, 0, 0, 5);
    for (let passed = 0; passed < 10 * play.limits.silentMs; passed += play.limits.probeMs) {
      play.pass(play.limits.probeMs);
      a.caller.send(pong);
    }
    expect(a.caller.state).toBe("open");
    expect(play.notes).toEqual([]);
  });
});

describe("a member that comes back", () => {
  test("proves its address again, keeps its id and order, and the mesh notices nothing", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    const heard = b.end.controls.length;
    a.caller.close("ECONNRESET");
    const before = play.dials.length;
    const { order } = a;
    a.resume(2);
    play.settle();
    expect(play.dials.slice(before)).toMatchObject([{ to: a.address }]);
    expect(a.order).toBe(order);
    play.pass(play.limits.leaseMs / 2);
    expect(b.end.controls).toHaveLength(heard);
    expect(lostIn(play)).toEqual([]);
  });

  test("is told again that the mesh is whole, as it may have missed that", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    a.linked([b, 1]);
    a.caller.close("ECONNRESET");
    b.linked([a, 1]);
    expect(a.end.last("complete")).toBeUndefined();
    a.resume(2);
    a.reportAll([b, 1]);
    play.settle();
    expect(a.end.controls.map(({ type }) => type)).toEqual(["admitted", "leader", "complete"]);
    expect(b.end.all("complete")).toHaveLength(1);
  });

  test("takes the place of a session of its own that the server still believes in, which is closed", () => {
    const play = new Play();
    const [a] = linkedMembers(play, 2) as [Player, Player];
    const old = a.caller;
    a.resume(2);
    expect(old.state).toBe("halfClosed");
    old.close();
    a.caller.say({ type: "links", full: true, up: [], down: [] });
    expect(a.caller.state).toBe("open");
    play.pass(play.limits.probeMs - 1);
    expect([lostIn(play), play.eventsOf("left")]).toEqual([[], []]);
  });

  test("is never refused for capacity, and not because the mesh is sealed", () => {
    for (const onFull of ["hold", "teardown"] as const) {
      const play = new Play({ capacity: 2, onFull });
      const [a] = nativeMembers(play, 2) as [Player, Player];
      a.caller.close("ECONNRESET");
      a.resume(2);
      play.settle();
      expect(a.end.last("refuse")).toBeUndefined();
      expect(a.order).toBe(1);
    }
  });

  test("is told FENCED when its id has been removed, or when the log is no longer young and does not have it", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    b.unlinked(a, "broken", "ECONNRESET");
    const { log = "" } = a.end.last("admitted") ?? {};
    a.die();
    passAwake(play, b, play.limits.leaseMs);
    const dials = play.dials.length;
    a.resume(2, log);
    const [stranger, foreign] = [14_007, 14_008].map((port) => play.native(`127.0.0.1:${port}`)) as [Player, Player];
    stranger.resume(2, log);
    foreign.resume(2, play.id());
    for (const { end, caller } of [a, stranger, foreign]) {
      expect(end.last("refuse")).toMatchObject({ code: "FENCED" });
      expect(caller.state).toBe("halfClosed");
    }
    expect(play.dials).toHaveLength(dials);
  });

  test("is told FENCED when it names another address than its own", () => {
    const play = new Play();
    const [a] = nativeMembers(play, 1) as [Player];
    const liar = play.call();
    liar.send(encodePreface());
    const { log = "" } = a.end.last("admitted") ?? {};
    liar.say({
      type: "resume",
      mesh: "default",
      id: a.id,
      address: "127.0.0.1:9999",
      log,
      revision: 1,
      order: 1,
      highest: 1,
    });
    expect(liar.end.last("refuse")).toMatchObject({ code: "FENCED" });
  });

  test("is told FENCED when it is removed while it proves that it is itself", () => {
    const play = new Play();
    const [a] = linkedMembers(play, 2) as [Player, Player];
    const { nonces } = slowAt(play, a);
    a.caller.close("ECONNRESET");
    a.resume(2);
    play.native(a.address).register();
    play.settle();
    expect(play.eventsOf("joined").at(-1)).toMatchObject({ address: a.address, replaces: a.id });
    a.caller.say({ type: "proof", nonce: nonces[0] ?? "" });
    expect(a.end.last("refuse")).toMatchObject({ code: "FENCED" });
  });

  test("is not lost while it proves that it is back, though its lease runs out meanwhile", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    b.unlinked(a, "broken", "ECONNRESET");
    const { nonces } = slowAt(play, a);
    a.caller.close("ECONNRESET");
    passAwake(play, b, play.limits.leaseMs - 100);
    a.resume(2);
    passAwake(play, b, 5_000);
    expect(lostIn(play)).toEqual([]);
    a.caller.say({ type: "proof", nonce: nonces[0] ?? "" });
    play.settle();
    expect(a.end.last("admitted")).toMatchObject({ order: a.order });
  });

  test("wins no time by proofs that come to nothing, however many follow one another", () => {
    const play = new Play();
    const [a, b] = linkedMembers(play, 2) as [Player, Player];
    b.unlinked(a, "broken", "ECONNRESET");
    slowAt(play, a);
    a.caller.close("ECONNRESET");
    const { log = "" } = a.end.last("admitted") ?? {};
    const { leaseMs, challengeMs } = play.limits;
    for (let passed = 0; passed < leaseMs + challengeMs; passed += 1_000) {
      a.resume(2, log);
      passAwake(play, b, 1_000);
    }
    expect(lostIn(play)).toEqual([a.address]);
  });

  test("cannot be posed as by who does not answer at its address", () => {
    const play = new Play();
    const [a] = nativeMembers(play, 1) as [Player];
    const liar = play.call();
    liar.send(encodePreface());
    const { log = "" } = a.end.last("admitted") ?? {};
    liar.say({ type: "resume", mesh: "default", id: a.id, address: a.address, log, revision: 1, order: 1, highest: 1 });
    expect(liar.end.last("refuse")).toMatchObject({ code: "ADDRESS_UNPROVED" });
    expect(a.caller.state).toBe("open");
    a.leave();
    expect(play.eventsOf("left")).toHaveLength(1);
  });
});
