import { describe, expect, test } from "vitest";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

const finishMs = 10_000;

function fullIn(play: Play): number[] {
  return play.eventsOf("full").map(({ members }) => members);
}

/** Lets the time run out in which the mesh may become whole, with members that stay awake. */
function passFinish(play: Play, awake: readonly Player[]): void {
  for (let passed = 0; passed < finishMs; passed += 1_000) {
    play.pass(1_000);
    for (const { caller } of awake) caller.say({ type: "links", up: [], down: [] });
  }
}

describe("the capacity of a mesh that ends at it", () => {
  test("is not reached with a member whose session has broken, which keeps its slot until it is lost", () => {
    const play = new Play({ capacity: 2 });
    const [dead] = nativeMembers(play, 1) as [Player];
    // It vanishes without a trace: its lease has to run out.
    play.listen(dead.address, () => {});
    dead.caller.close("ECONNRESET");
    const [second] = nativeMembers(play, 1, "default", 15_001) as [Player];
    expect(play.machine.members).toHaveLength(2);
    expect([fullIn(play), play.eventsOf("complete"), play.machine.presentIn("default")]).toEqual([
      [],
      [],
      [second.address],
    ]);
    const early = play.native("127.0.0.1:16001").register();
    expect(early.end.last("refuse")).toMatchObject({ code: "MESH_SEALED" });
    for (let passed = 0; passed < 2 * play.limits.leaseMs; passed += 1_000) {
      play.pass(1_000);
      second.linked();
    }
    expect(play.eventsOf("lost")).toMatchObject([{ address: dead.address }]);
    expect([fullIn(play), play.eventsOf("complete"), play.eventsOf("teardown")]).toEqual([[], [], []]);
    const [third] = nativeMembers(play, 1, "default", 17_001) as [Player];
    expect(fullIn(play)).toEqual([2]);
    linkAll([second, third]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2, links: 1 }]);
    expect(play.eventsOf("teardown")).toMatchObject([{ reason: "capacity reached", members: 2 }]);
  });

  test("is reached when a member comes back within its lease, and the mesh is whole with what it reports then", () => {
    const play = new Play({ capacity: 2 });
    const [a] = nativeMembers(play, 1) as [Player];
    play.listen(a.address, () => {});
    a.caller.close("ECONNRESET");
    const [b] = nativeMembers(play, 1, "default", 15_001) as [Player];
    const again = play.native(a.address);
    again.id = a.id;
    again.resume(1, a.end.last("admitted")?.log);
    play.listen(a.address, undefined);
    expect(fullIn(play)).toEqual([2]);
    again.reportAll([b, 1]);
    b.linked([a, 1]);
    expect(play.eventsOf("teardown")).toMatchObject([{ reason: "capacity reached", members: 2, links: 1 }]);
  });

  test("is not reached with a classic member whose connection has ended while its corrected address was on its way", () => {
    const play = new Play({ capacity: 2 });
    const classic = play.call();
    classic.send("127.0.0.1:300");
    play.pass(play.limits.quietMs);
    expect(play.machine.members).toEqual(["127.0.0.1:300"]);
    const native = play.native("127.0.0.1:15001");
    play.isLogSlow = true;
    native.register();
    classic.send("01");
    classic.finish();
    expect(play.appends.map(({ change }) => change.type)).toEqual(["joined", "replaced"]);
    while (play.appends.length > 0) play.answer();
    expect([fullIn(play), play.machine.members]).toEqual([[], [native.address]]);
  });

  test("is counted anew when a member is lost, and who is left is not called whole", () => {
    const play = new Play({ capacity: 3 });
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    linkAll([a, b]);
    c.die();
    expect(play.eventsOf("lost")).toMatchObject([{ address: c.address }]);
    a.caller.say({ type: "watch", size: 1 });
    play.settle();
    expect([play.eventsOf("complete"), play.eventsOf("teardown"), a.end.all("complete")]).toEqual([[], [], []]);
    const [d] = nativeMembers(play, 1, "default", 15_001) as [Player];
    linkAll([a, b, d], 2);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 3 }]);
    expect(play.eventsOf("teardown")).toMatchObject([{ members: 3, absent: [] }]);
    expect(fullIn(play)).toEqual([3]);
  });
});

describe("a mesh that was full and is not whole in time", () => {
  test("ends as not whole, counted from when it was full first, and says who was lost, at the server and at members", () => {
    const play = new Play({ capacity: 2, limits: { finishMs } });
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    b.die();
    passFinish(play, [a]);
    expect(play.eventsOf("complete")).toEqual([]);
    const lost = "lost: ECONNRESET; nobody listens there (ECONNREFUSED)";
    const incomplete = `1 of 2 members are there; not there: ${b.address} (${lost})`;
    const reason = "not complete within 10 s";
    expect(play.eventsOf("teardown")).toMatchObject([
      { reason, members: 1, count: 0, absent: [[b.address, lost]], incomplete },
    ]);
    expect(play.notes).toContain("INCOMPLETE");
    expect(a.end.last("teardown")).toEqual({ type: "teardown", reason, deadlineMs: play.limits.drainMs, incomplete });
    expect(play.hasStoppedListening).toBe(true);
  });

  test("ends so also when everybody is gone: who is not judged is named, and so are the others", () => {
    const play = new Play({ capacity: 3, limits: { finishMs } });
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    c.leave("enough");
    a.die();
    b.die();
    expect(play.machine.presentIn("default")).toEqual([]);
    play.pass(finishMs);
    expect(play.eventsOf("complete")).toEqual([]);
    const [end] = play.eventsOf("teardown");
    expect(end?.absent).toEqual([
      [b.address, "no session: ECONNRESET"],
      [c.address, "left: enough"],
      [a.address, "lost: ECONNRESET; nobody listens there (ECONNREFUSED)"],
    ]);
    expect(end?.incomplete).toContain("0 of 3 members are there; not there: ");
    expect(play.hasStoppedListening).toBe(true);
  });

  test("tells classic members by a refusal, which is an end to them", () => {
    const play = new Play({ capacity: 3, limits: { finishMs } });
    const [a, b] = [14_001, 14_002].map((port) => {
      const caller = play.call();
      caller.send(`127.0.0.1:${port}`);
      return caller;
    });
    const [c] = nativeMembers(play, 1, "default", 15_001) as [Player];
    b?.finish();
    passFinish(play, [c]);
    expect(play.eventsOf("complete")).toEqual([]);
    play.pass(play.limits.messageGapMs);
    expect(a?.text).toContain(
      "refused INCOMPLETE: not complete within 10 s: 2 of 3 members are there; not there: 127.0.0.1:14002 (left: closed",
    );
    expect(a?.text).not.toContain("teardown");
  });

  test("does not name whose slot somebody else has, nor who came back to its address", () => {
    const play = new Play({ capacity: 3, limits: { finishMs } });
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    b.leave();
    c.die();
    const again = play.native(c.address).register();
    play.settle();
    passFinish(play, [a, again]);
    expect(play.eventsOf("teardown")).toMatchObject([{ absent: [[b.address, "left: enough"]] }]);
  });

  test("is said to have ended so to a member that comes back too late", () => {
    const play = new Play({ capacity: 2, limits: { finishMs } });
    const [a, b] = nativeMembers(play, 2, "one") as [Player, Player];
    nativeMembers(play, 1, "two", 15_001);
    const { log = "" } = a.end.last("admitted") ?? {};
    b.leave();
    a.caller.close("ECONNRESET");
    play.pass(finishMs);
    expect(play.eventsOf("teardown")).toMatchObject([{ mesh: "one" }]);
    a.resume(2, log);
    expect(a.end.last("teardown")).toMatchObject({ incomplete: expect.stringContaining("0 of 2 members are there") });
  });

  test("is none where an operator ends it, who is told what is missing all the same", () => {
    const play = new Play({ capacity: 2 });
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    b.leave();
    play.give({ type: "teardown", reason: "the show is over" });
    expect(play.eventsOf("teardown")).toMatchObject([
      { reason: "the show is over", absent: [[b.address, "left: enough"]] },
    ]);
    expect(play.eventsOf("teardown")[0]).not.toHaveProperty("incomplete");
    expect(a.end.last("teardown")).not.toHaveProperty("incomplete");
  });

  test("keeps the server until its end has come, though another mesh has ended well meanwhile", () => {
    const play = new Play({ capacity: 2, limits: { finishMs } });
    for (const each of nativeMembers(play, 2, "one")) each.leave();
    linkAll(nativeMembers(play, 2, "two", 15_001));
    expect(play.eventsOf("teardown")).toMatchObject([{ mesh: "two", reason: "capacity reached" }]);
    play.pass(finishMs);
    expect(play.eventsOf("teardown")).toMatchObject([{ mesh: "two" }, { mesh: "one", members: 0 }]);
    expect(play.hasStoppedListening).toBe(true);
  });
});
