import { describe, expect, test } from "vitest";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

/** What the server has said last on the newest session of a member, by its type. */
function lastWord({ end }: Player): unknown {
  return end.controls.at(-1);
}

function endOf(players: readonly Player[]): void {
  for (const { caller } of players) {
    caller.finish();
    caller.close();
  }
}

describe("N19: a server that releases its mesh", () => {
  test("sends everything that is pending, then says so to each member, and is gone when they have closed", () => {
    const play = new Play();
    const players = nativeMembers(play, 3);
    linkAll(players);
    play.give({ type: "release", reason: "maintenance" });
    expect(players.map(lastWord)).toEqual(players.map(() => ({ type: "release", reason: "maintenance" })));
    expect(players.map(({ end }) => end.all("complete").length)).toEqual([1, 1, 1]);
    expect(players.map(({ caller }) => caller.state)).toEqual(["halfClosed", "halfClosed", "halfClosed"]);
    expect(play.hasStoppedListening).toBe(true);
    endOf(players);
    expect(play.events.slice(-2)).toEqual([
      {
        ...{ type: "released", mesh: "default", reason: "maintenance", members: 3, links: 3, unverified: 0 },
        ...{ count: 0, missing: [], absent: [] },
      },
      { type: "closed" },
    ]);
    expect(play.eventsOf("left").length + play.eventsOf("lost").length + play.eventsOf("teardown").length).toBe(0);
  });

  test("waits for nobody for longer than it lingers", () => {
    const play = new Play();
    const players = nativeMembers(play, 2);
    play.give({ type: "release", reason: "maintenance" });
    play.pass(play.limits.lingerMs);
    expect(players.map(({ caller }) => caller.state)).toEqual(["aborted", "aborted"]);
    expect(play.events.at(-1)).toEqual({ type: "closed" });
  });

  test("refuses whoever is in line, and names in its event the members that it cannot tell", () => {
    const play = new Play({ capacity: 2, onFull: "hold" });
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    play.listen(a.address, () => {});
    a.caller.close("ECONNRESET");
    play.give({ type: "release", reason: "maintenance" });
    expect(lastWord(b)).toEqual({ type: "release", reason: "maintenance" });
    expect(lastWord(c)).toMatchObject({ type: "refuse", code: "RELEASED" });
    expect(play.eventsOf("released")).toMatchObject([{ absent: [[a.address, "no session: ECONNRESET"]] }]);
    expect(play.notes).toContain("INCOMPLETE");
  });

  test("at capacity does so once the mesh is whole, and not with a teardown", () => {
    const play = new Play({ capacity: 2, onFull: "release" });
    const players = nativeMembers(play, 2);
    expect(play.eventsOf("released")).toEqual([]);
    linkAll(players);
    expect(players.map(lastWord)).toEqual(players.map(() => ({ type: "release", reason: "capacity reached" })));
    expect(play.eventsOf("released")).toMatchObject([{ reason: "capacity reached", members: 2, links: 1 }]);
  });

  test("ends a mesh that has not become whole in time with a teardown, as ever", () => {
    const play = new Play({ capacity: 2, onFull: "release", limits: { finishMs: 3_000 } });
    const [a] = nativeMembers(play, 2) as [Player, Player];
    play.pass(3_000);
    expect(lastWord(a)).toMatchObject({ type: "teardown" });
    expect(play.eventsOf("teardown")[0]?.incomplete).toContain("1 pair is not linked");
  });

  test("says it to a member that comes back, and refuses newcomers, while another mesh keeps the server there", () => {
    const play = new Play({ capacity: 2, onFull: "release" });
    const other = play.native("127.0.0.1:15001", "other").register();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    a.linked([b, 1]);
    b.linked([a, 1]);
    expect(play.hasStoppedListening).toBe(false);
    a.caller.close("ECONNRESET");
    a.resume(2);
    expect(lastWord(a)).toEqual({ type: "release", reason: "capacity reached" });
    const newcomer = play.native("127.0.0.1:15002").register();
    expect(lastWord(newcomer)).toMatchObject({ type: "refuse", code: "RELEASED" });
    expect(other.caller.state).toBe("open");
  });

  test("sends classic members the end, which they cannot outlive", () => {
    const play = new Play();
    const classic = play.call();
    classic.send("127.0.0.1:14009");
    play.pass(play.limits.quietMs);
    const [a] = nativeMembers(play, 1) as [Player];
    expect(play.machine.classics).toEqual(["127.0.0.1:14009"]);
    play.give({ type: "release", reason: "maintenance" });
    play.pass(play.limits.messageGapMs);
    expect(classic.text.endsWith("teardown")).toBe(true);
    expect(lastWord(a)).toEqual({ type: "release", reason: "maintenance" });
  });
});
