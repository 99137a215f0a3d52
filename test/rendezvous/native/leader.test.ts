import { describe, expect, test } from "vitest";
import { pong } from "../../../src/protocol/native/frames.js";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

/** Whom the server has named to a member on its newest session, one after the other. */
function told(player: Player): string[] {
  return player.end.all("leader").map(({ id }) => id);
}

/** Time passes in which only these members are heard. */
function passAwake(play: Play, awake: readonly Player[], ms: number): void {
  for (let passed = 0; passed < ms; passed += 1_000) {
    for (const player of awake) player.caller.send(pong);
    play.pass(Math.min(1_000, ms - passed));
  }
}

function threeMembers(): { play: Play; a: Player; b: Player; c: Player } {
  const play = new Play();
  const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
  linkAll([a, b, c]);
  return { play, a, b, c };
}

describe("N21: the leader", () => {
  test("is the oldest member; each member is told once, before its directory", () => {
    const { play, a, b, c } = threeMembers();
    passAwake(play, [a, b, c], 60_000);
    expect([told(a), told(b), told(c)]).toEqual([[a.id], [a.id], [a.id]]);
    expect(c.end.controls.slice(0, 3).map(({ type }) => type)).toEqual(["admitted", "leader", "directory"]);
  });

  test("is the next one as soon as the leader has left, or is lost, and that is told behind the entry", () => {
    const { play, a, b, c } = threeMembers();
    a.leave();
    play.settle();
    expect([told(b), told(c)]).toEqual([
      [a.id, b.id],
      [a.id, b.id],
    ]);
    expect(c.end.controls.slice(-2)).toMatchObject([{ entries: [{ type: "left" }] }, { type: "leader", id: b.id }]);
    c.unlinked(b, "broken", "ECONNRESET");
    b.die();
    play.settle();
    expect(told(c)).toEqual([a.id, b.id, c.id]);
  });

  test("is passed over one lease after it was last heard, though it is a member still, and leads again when it is heard", () => {
    const { play, a, b, c } = threeMembers();
    const { leaseMs } = play.limits;
    // A process that is stopped: its address accepts, its links stand, and it says nothing.
    play.listen(a.address, () => {});
    a.caller.send(pong);
    passAwake(play, [b, c], leaseMs - 1_000);
    play.pass(999);
    expect(told(b)).toEqual([a.id]);
    play.pass(1);
    play.settle();
    expect([told(b), told(c)]).toEqual([
      [a.id, b.id],
      [a.id, b.id],
    ]);
    expect(play.eventsOf("lost")).toEqual([]);
    const back = play.native(a.address);
    back.id = a.id;
    back.lastOrder = a.order;
    back.resume(3, a.end.last("admitted")?.log);
    play.settle();
    expect([told(b), told(back)]).toEqual([[a.id, b.id, a.id], [a.id]]);
  });

  test("is not passed over while it is heard, however its links are", () => {
    const { play, a, b, c } = threeMembers();
    b.unlinked(a, "broken", "ECONNRESET");
    c.unlinked(a, "broken", "ECONNRESET");
    passAwake(play, [a, b, c], 3 * play.limits.leaseMs);
    expect(told(c)).toEqual([a.id]);
  });

  test("may be classic, and is heard as long as its connection is open", () => {
    const play = new Play();
    const classic = play.call();
    classic.send("127.0.0.1:14009");
    play.pass(play.limits.quietMs);
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    const { id } = play.memberOf(1);
    passAwake(play, [a, b], 3 * play.limits.leaseMs);
    expect([told(a), told(b)]).toEqual([[id], [id]]);
    classic.close();
    play.settle();
    expect(told(b)).toEqual([id, a.id]);
  });

  test("is not told while the server waits for members of an earlier log, and is the oldest of those who are back then", () => {
    const play = new Play();
    const [a, b, c] = nativeMembers(new Play(), 3) as [Player, Player, Player];
    const old = "a".repeat(32);
    const former = [a, b, c].map((player) => {
      const again = play.native(player.address);
      again.caller.close();
      again.lastOrder = player.order;
      return again;
    }) as [Player, Player, Player];
    for (const player of former) {
      player.known = [{ members: former.filter((other) => other !== player).map(({ row }) => row), gone: [] }];
    }
    const [first, second, third] = former;
    third.resume(9, old, { highest: 10 });
    second.resume(9, old, { highest: 10 });
    play.settle();
    expect([told(second), told(third)]).toEqual([[], []]);
    first.resume(9, old, { highest: 10 });
    play.settle();
    expect(former.map(told)).toEqual([[first.id], [first.id], [first.id]]);
    expect(play.events.filter(({ type }) => type === "gathering" || type === "gathered")).toEqual([
      { type: "gathering", mesh: "default", back: 1, expected: 2 },
      { type: "gathered", mesh: "default", back: 3, missing: [] },
    ]);
  });

  test("is told two leases after the beginning of the log at the latest", () => {
    const play = new Play();
    const player = play.native("127.0.0.1:14001");
    player.caller.close();
    player.lastOrder = 2;
    const absent = { id: "f".repeat(32), order: 1, address: "127.0.0.1:14002", dialect: "native" } as const;
    player.known = [{ members: [absent], gone: [] }];
    player.resume(9, "a".repeat(32), { highest: 10 });
    // It holds a link with the one that does not come back, who is kept for that.
    player.linked([absent, 1]);
    passAwake(play, [player], 2 * play.limits.leaseMs - 1_000);
    expect([told(player), play.eventsOf("lost")]).toEqual([[], []]);
    passAwake(play, [player], 1_000);
    play.settle();
    expect(told(player)).toEqual([player.id]);
    expect(play.eventsOf("gathered")).toEqual([
      { type: "gathered", mesh: "default", back: 1, missing: [absent.address] },
    ]);
  });
});
