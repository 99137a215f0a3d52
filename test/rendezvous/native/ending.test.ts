import { describe, expect, test } from "vitest";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

/** The types of what a member has been told, from its teardown or completeness on. */
function lastWords({ end }: Player, count: number): string[] {
  return end.controls.slice(-count).map(({ type }) => type);
}

describe("N18: a member that leaves", () => {
  test("is logged as having left before its session is closed, with its reason", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    play.isLogSlow = true;
    a.leave("going home");
    expect(play.appends).toMatchObject([{ mesh: "default", change: { type: "left", id: a.id, reason: "going home" } }]);
    expect(a.caller.state).toBe("halfClosed");
    play.answer();
    play.settle();
    expect(b.end.last("entries")?.entries).toMatchObject([{ type: "left", id: a.id, reason: "going home" }]);
    expect(play.eventsOf("left")).toMatchObject([{ id: a.id, reason: "going home", dialect: "native" }]);
  });

  test("is known to have left, though the server closes before the gap between two updates is over", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    a.leave("going home");
    play.give({ type: "close" });
    expect(b.end.last("entries")?.entries).toMatchObject([{ type: "left", id: a.id, reason: "going home" }]);
    expect(b.caller.state).toBe("halfClosed");
  });

  test("is not looked after at its address, and is left once, however its connection ends", () => {
    const play = new Play();
    const [a] = nativeMembers(play, 2) as [Player, Player];
    const dials = play.dials.length;
    a.leave();
    a.caller.finish();
    a.caller.close("ECONNRESET");
    expect(play.dials).toHaveLength(dials);
    expect(play.eventsOf("left")).toHaveLength(1);
    expect(play.eventsOf("lost")).toEqual([]);
  });

  test("is taken out again if it goes while its append is under way", () => {
    const play = new Play();
    play.isLogSlow = true;
    const a = play.native("127.0.0.1:14001").register();
    a.caller.close("ECONNRESET");
    play.answer();
    expect(play.appends).toMatchObject([{ change: { type: "left", id: a.id } }]);
    play.answer();
    expect(play.machine.members).toEqual([]);
    expect(play.eventsOf("lost")).toEqual([]);
  });

  test("may leave while it proves its address, or while it waits in line", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const first = play.native("127.0.0.1:14001").register();
    const waiting = play.native("127.0.0.1:14002").register();
    const proving = play.native("127.0.0.1:14003");
    play.listen(proving.address, () => {});
    proving.register();
    waiting.leave();
    proving.leave();
    first.leave();
    play.pass(play.limits.challengeMs);
    expect(play.machine.members).toEqual([]);
    expect(play.eventsOf("joined")).toHaveLength(1);
    expect(play.notes).toEqual([]);
  });
});

describe("N5: a mesh that has reached its capacity and is to end", () => {
  test("refuses newcomers with MESH_SEALED and does not dial them, and takes one when a member leaves", () => {
    const play = new Play({ capacity: 3 });
    const [a] = nativeMembers(play, 3) as [Player, Player, Player];
    const dials = play.dials.length;
    const late = play.native("127.0.0.1:14009").register();
    expect(late.end.last("refuse")).toMatchObject({ code: "MESH_SEALED" });
    expect(play.dials).toHaveLength(dials);
    a.leave();
    const later = play.native("127.0.0.1:14009").register();
    play.settle();
    expect(later.order).toBe(5);
  });

  test("takes a member that was started again at its address, in its own slot", () => {
    const play = new Play({ capacity: 2 });
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    b.die();
    a.linked([b, 1]);
    const again = play.native(b.address).register();
    play.settle();
    expect(play.eventsOf("joined").at(-1)).toMatchObject({ address: b.address, order: again.order });
    linkAll([a, again], 2);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2, links: 1 }]);
  });

  test("ends as soon as every pair is attested, and says that it is complete first", () => {
    const play = new Play({ capacity: 3 });
    const players = nativeMembers(play, 3);
    play.pass(play.limits.settleMs);
    expect(play.eventsOf("teardown")).toEqual([]);
    linkAll(players);
    expect(play.events.slice(-2)).toMatchObject([
      { type: "complete", mesh: "default", members: 3, links: 3, unverified: 0, revision: 3 },
      { type: "teardown", mesh: "default", reason: "capacity reached", members: 3, links: 3, count: 0, missing: [] },
    ]);
    expect(play.eventsOf("teardown")).toMatchObject([{ absent: [] }]);
    expect(play.eventsOf("teardown")[0]).not.toHaveProperty("incomplete");
    for (const player of players) {
      expect(lastWords(player, 2)).toEqual(["complete", "teardown"]);
      expect(player.end.last("teardown")).toMatchObject({
        reason: "capacity reached",
        deadlineMs: play.limits.drainMs,
      });
    }
    expect(play.hasStoppedListening).toBe(true);
  });

  test("ends all the same when it does not become complete in time, and names the missing pairs", () => {
    const play = new Play({ capacity: 2, limits: { finishMs: 10_000 } });
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    a.unlinked(b, "dialing", "DIAL_FAILED ECONNREFUSED (3 attempts)");
    const pair = {
      a: a.address,
      b: b.address,
      stage: "dialing",
      attempt: 1,
      reason: "DIAL_FAILED ECONNREFUSED (3 attempts)",
    };
    // The capacity was reached one gap ago.
    play.pass(10_000 - play.limits.updateGapMs - 1);
    expect(play.eventsOf("teardown")).toEqual([]);
    play.pass(1);
    expect(play.eventsOf("complete")).toEqual([]);
    expect(play.eventsOf("teardown")).toMatchObject([
      { reason: "not complete within 10 s", count: 1, missing: [pair], absent: [] },
    ]);
    expect(play.notes).toEqual(["INCOMPLETE"]);
    const incomplete = `1 pair is not linked: ${pair.a} should dial ${pair.b} (dialing, attempt 1, for 10.0 s): ${pair.reason}`;
    expect(play.eventsOf("teardown")).toMatchObject([{ incomplete }]);
    expect(a.end.last("teardown")).toMatchObject({ reason: "not complete within 10 s", incomplete });
  });

  test("gives the links of two classic members the time to settle since the last list, besides", () => {
    const play = new Play({ capacity: 3 });
    const [a] = nativeMembers(play, 1) as [Player];
    const classics = [2, 3].map((index) => {
      const caller = play.call();
      caller.send(`127.0.0.1:1400${index}`);
      return caller;
    });
    a.linked([play.memberOf(2), 0], [play.memberOf(3), 0]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 2, unverified: 1 }]);
    play.pass(play.limits.settleMs - 1);
    expect(play.eventsOf("teardown")).toEqual([]);
    play.pass(play.limits.messageGapMs + 1);
    expect(play.eventsOf("teardown")).toMatchObject([{ links: 2, unverified: 1 }]);
    expect(play.eventsOf("complete")).toHaveLength(1);
    play.pass(play.limits.messageGapMs);
    for (const classic of classics) expect(classic.text.endsWith("teardown")).toBe(true);
    expect(a.end.last("teardown")).toBeDefined();
  });

  test("needs no such time for a single classic member, whose links its native peers attest", () => {
    const play = new Play({ capacity: 2 });
    const [a] = nativeMembers(play, 1) as [Player];
    play.call().send("127.0.0.1:14002");
    a.linked([play.memberOf(2), 0]);
    expect(play.eventsOf("teardown")).toHaveLength(1);
  });

  test("may have a capacity of one", () => {
    const play = new Play({ capacity: 1 });
    const [a] = nativeMembers(play, 1) as [Player];
    expect(play.eventsOf("complete")).toMatchObject([{ members: 1, links: 0 }]);
    expect(lastWords(a, 4)).toEqual(["admitted", "directory", "complete", "teardown"]);
  });
});

describe("N19: the teardown", () => {
  test("waits until the native members have closed, and then closes too", () => {
    const play = new Play({ capacity: 2 });
    const players = nativeMembers(play, 2) as [Player, Player];
    linkAll(players);
    play.pass(play.limits.drainMs - 1);
    expect(players.map(({ caller }) => caller.state)).toEqual(["open", "open"]);
    for (const { caller } of players) {
      caller.finish();
      expect(caller.state).toBe("halfClosed");
      caller.close();
    }
    expect(play.eventsOf("closed")).toHaveLength(1);
    expect(play.notes).toEqual([]);
  });

  test("waits for those who do not close until the deadline, and notes them with TOO_SLOW", () => {
    const play = new Play({ capacity: 2 });
    const players = nativeMembers(play, 2) as [Player, Player];
    linkAll(players);
    play.pass(play.limits.drainMs);
    expect(players.map(({ caller }) => caller.state)).toEqual(["halfClosed", "halfClosed"]);
    expect(play.notes).toEqual(["TOO_SLOW", "TOO_SLOW"]);
    play.pass(play.limits.lingerMs);
    expect(players.map(({ caller }) => caller.state)).toEqual(["aborted", "aborted"]);
    expect(play.eventsOf("closed")).toHaveLength(1);
  });

  test("on purpose ends every mesh, with its reason, whole or not", () => {
    const play = new Play();
    const [a] = nativeMembers(play, 2, "one") as [Player, Player];
    const [b] = nativeMembers(play, 1, "two", 15_001) as [Player];
    play.give({ type: "teardown", reason: "the show is over" });
    expect(play.eventsOf("teardown")).toMatchObject([
      { mesh: "one", reason: "the show is over", members: 2, links: 0, count: 1 },
      { mesh: "two", reason: "the show is over", members: 1, count: 0 },
    ]);
    expect(play.eventsOf("complete")).toEqual([]);
    for (const { end } of [a, b]) expect(end.last("teardown")?.reason).toBe("the show is over");
  });

  test("reaches those in line, too", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    nativeMembers(play, 1);
    const waiting = play.native("127.0.0.1:14002").register();
    play.give({ type: "teardown", reason: "the show is over" });
    expect(waiting.end.last("teardown")?.reason).toBe("the show is over");
  });

  test("of an empty server is told, and closes it", () => {
    const play = new Play();
    play.give({ type: "teardown", reason: "nobody came" });
    expect(play.events).toMatchObject([
      { type: "teardown", mesh: "default", reason: "nobody came", members: 0 },
      { type: "closed" },
    ]);
  });

  test("of one mesh leaves the others alone, and the server goes with the last of them", () => {
    const play = new Play({ capacity: 2 });
    const one = nativeMembers(play, 2, "one");
    const [other] = nativeMembers(play, 1, "two", 15_001) as [Player];
    linkAll(one);
    expect(play.eventsOf("teardown")).toMatchObject([{ mesh: "one" }]);
    expect(other.caller.state).toBe("open");
    expect(play.hasStoppedListening).toBe(false);
    for (const { caller } of one) caller.close();
    const late = play.native("127.0.0.1:14009", "one").register();
    expect(late.end.last("refuse")).toMatchObject({ code: "MESH_SEALED" });
    other.leave();
    expect(play.hasStoppedListening).toBe(true);
    other.caller.close();
    late.caller.close();
    expect(play.eventsOf("closed")).toHaveLength(1);
  });

  test("frees the addresses of a mesh that has ended", () => {
    const play = new Play({ capacity: 2 });
    const one = nativeMembers(play, 2, "one") as [Player, Player];
    nativeMembers(play, 1, "two", 15_001);
    linkAll(one);
    for (const { caller } of one) caller.close();
    const again = play.native(one[0].address, "two").register();
    play.settle();
    expect(again.order).toBeGreaterThan(0);
  });

  test("is told again to a member that comes back too late for it", () => {
    const play = new Play({ capacity: 2 });
    const [a, b] = nativeMembers(play, 2, "one") as [Player, Player];
    nativeMembers(play, 1, "two", 15_001);
    linkAll([a, b]);
    const { log = "" } = a.end.last("admitted") ?? {};
    a.caller.close("ECONNRESET");
    a.resume(2, log);
    expect(a.end.controls.map(({ type }) => type)).toEqual(["teardown"]);
  });

  test("is not the same as closing: a server that is stopped tells native members nothing, and they keep their mesh", () => {
    const play = new Play();
    const [a] = nativeMembers(play, 2) as [Player, Player];
    const heard = a.end.controls.length;
    play.give({ type: "close" });
    expect(a.caller.state).toBe("halfClosed");
    expect(a.end.controls).toHaveLength(heard);
    expect(play.eventsOf("teardown")).toEqual([]);
    expect(play.eventsOf("left")).toEqual([]);
    expect(play.hasStoppedListening).toBe(true);
  });

  test("leaves nothing to wait for, whatever the meshes were waiting for", () => {
    const play = new Play({ capacity: 2 });
    const players = nativeMembers(play, 2);
    play.give({ type: "close" });
    for (const { caller } of players) caller.close();
    expect(play.eventsOf("closed")).toHaveLength(1);
    expect(play.machine.nextTimeout()).toBeUndefined();
  });

  test("gives up dial-backs that are under way", () => {
    const play = new Play();
    const proving = play.native("127.0.0.1:14001");
    play.listen(proving.address, () => {});
    proving.register();
    play.give({ type: "close" });
    expect(play.dials.map(({ isOpen }) => isOpen)).toEqual([false]);
    proving.caller.close();
    expect(play.eventsOf("closed")).toHaveLength(1);
    expect(play.machine.nextTimeout()).toBeUndefined();
  });
});
