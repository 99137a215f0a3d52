import { describe, expect, test } from "vitest";
import type { Id } from "../../../src/protocol/directory.js";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

/** A server that does not wait for the answers to its pings. */
function quietPlay(): Play {
  return new Play({ limits: { probeMs: 3_600_000, silentMs: 7_200_000 } });
}

/** A member that this server does not list, as one that holds a link with it has it. */
function stranger(play: Play, order: number, port: number): { id: Id; order: number; address: `${string}:${number}` } {
  return { id: play.id(), order, address: `127.0.0.1:${port}` };
}

/** Two members, linked; the first holds a link with somebody whom the server does not list, too. */
function start(play: Play) {
  const [a, b] = nativeMembers(play, 2) as [Player, Player];
  const other = stranger(play, 77, 15_001);
  a.caller.say({ type: "links", up: [[other.id, 3]], down: [], unlisted: [other] });
  linkAll([a, b]);
  play.settle();
  return { a, b, other };
}

describe("a member that has no session here, and with whom others hold links", () => {
  /** Two members, linked; the session of the second one is gone, but it lives: it may be at another server. */
  function start(play: Play): [Player, Player] {
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    linkAll([a, b]);
    play.settle();
    b.caller.close("ECONNRESET");
    return [a, b];
  }

  test("is named in degraded after a lease, and the mesh is complete again when it is back", () => {
    const play = quietPlay();
    const [a, b] = start(play);
    expect(play.eventsOf("complete")).toHaveLength(1);
    play.pass(play.limits.leaseMs - 1);
    expect(play.eventsOf("degraded")).toEqual([]);
    play.pass(1 + play.limits.degradedMs);
    const reason = `${a.address} holds this link, but ${b.address} has no session with this server (ECONNRESET): is it at another one?`;
    const pair = { a: a.address, b: b.address, owner: a.address, stage: "unreported", attempt: 1, reason };
    expect(play.eventsOf("degraded")).toMatchObject([{ count: 1, missing: [pair] }]);
    expect(a.end.all("degraded")).toMatchObject([
      { missing: [[a.id, b.id, "unreported", 1, reason, expect.any(Number)]] },
    ]);
    play.pass(600_000);
    expect([play.eventsOf("degraded").length, play.eventsOf("lost")]).toEqual([1, []]);
    b.resume(play.machine.revisionOf("default"));
    b.reportAll([a, 1]);
    play.pass(play.limits.completeGapMaxMs);
    expect(play.eventsOf("complete")).toHaveLength(2);
  });

  test("is not named if it is lost at the end of its lease", () => {
    const play = quietPlay();
    const [a, b] = start(play);
    a.unlinked(b, "broken", "ECONNRESET");
    play.pass(play.limits.leaseMs + play.limits.degradedGapMs);
    expect(play.eventsOf("lost")).toHaveLength(1);
    expect(play.eventsOf("degraded").flatMap(({ missing }) => missing.map(({ stage }) => stage))).toEqual(["broken"]);
    expect(play.machine.members).toEqual([a.address]);
  });
});

describe("N28: a link with somebody that is neither listed nor removed", () => {
  test("bars complete, and after a lease the mesh is degraded and both are named", () => {
    const play = quietPlay();
    const { a, b, other } = start(play);
    play.pass(play.limits.leaseMs - play.limits.updateGapMs - 1);
    expect([play.eventsOf("complete"), play.eventsOf("degraded")]).toEqual([[], []]);
    play.pass(play.limits.degradedGapMs);
    const reason = `${a.address} holds this link, but this server does not list ${other.address}: are two servers behind one address?`;
    const pair = { a: a.address, b: other.address, owner: a.address, stage: "unreported", attempt: 3, reason };
    expect(play.eventsOf("degraded")).toEqual([
      { type: "degraded", mesh: "default", count: 1, missing: [{ ...pair, since: expect.any(Number) }] },
    ]);
    // Members do not know who that is either.
    for (const { end } of [a, b]) {
      expect(end.all("degraded")).toMatchObject([
        { count: 1, missing: [[a.id, other.id, "unreported", 3, reason, expect.any(Number)]], unlisted: [other] },
      ]);
    }
    play.pass(600_000);
    expect(play.eventsOf("degraded")).toHaveLength(1);
    expect(play.eventsOf("complete")).toEqual([]);
  });

  test("is no matter any more when it ends: the mesh is complete", () => {
    const play = quietPlay();
    const { a, other } = start(play);
    play.pass(2 * play.limits.leaseMs);
    expect(play.eventsOf("degraded")).toHaveLength(1);
    a.caller.say({ type: "links", up: [], down: [[other.id, "broken", 3, "ECONNRESET"]] });
    play.pass(play.limits.completeGapMaxMs);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2, links: 1 }]);
  });

  test("names an expected member whom somebody still holds when its lease is over", () => {
    const play = quietPlay();
    const a = play.native("127.0.0.1:14001");
    const other = stranger(play, 77, 15_001);
    a.known = [{ members: [{ ...other, dialect: "native" }], gone: [] }];
    a.resume(5, play.id());
    play.settle();
    a.reportAll([other, 3]);
    play.pass(play.limits.leaseMs + play.limits.degradedGapMs);
    expect(play.eventsOf("lost")).toEqual([]);
    expect(play.eventsOf("degraded")).toMatchObject([
      { count: 1, missing: [{ a: a.address, b: other.address, stage: "unreported", attempt: 3 }] },
    ]);
  });

  test("does not crowd out a pair that is missing, however many one member makes up", () => {
    const play = quietPlay();
    const players = nativeMembers(play, 3) as [Player, Player, Player];
    const [a, b, c] = players;
    linkAll(players);
    const made = Array.from({ length: 64 }, (_, index) => stranger(play, 100 + index, 15_001 + index));
    a.caller.say({ type: "links", up: made.map(({ id }) => [id, 1] as [Id, number]), down: [], unlisted: made });
    play.pass(play.limits.leaseMs - play.limits.degradedMs);
    b.unlinked(c, "broken", "ETIMEDOUT");
    play.pass(5_000 - play.limits.updateGapMs);
    const named = play.eventsOf("degraded").flatMap(({ missing }) => missing.map((pair) => `${pair.a} ${pair.b}`));
    expect(named).toContain(`${b.address} ${c.address}`);
    expect(named.some((pair) => pair.startsWith(a.address))).toBe(true);
  });
});
