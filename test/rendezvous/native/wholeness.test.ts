import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

const attemptOne = 1;

describe("N20: a mesh is complete", () => {
  test("when both ends of every pair name the same attempt, and not before", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    a.linked([b, attemptOne]);
    expect(play.eventsOf("complete")).toEqual([]);
    b.linked([a, 2]);
    expect(play.eventsOf("complete")).toEqual([]);
    a.linked([b, 2]);
    expect(play.eventsOf("complete")).toMatchObject([{ mesh: "default", members: 2, links: 1, revision: 2 }]);
    for (const { end } of [a, b]) {
      expect(end.all("complete")).toEqual([{ type: "complete", revision: 2, members: 2, links: 1, unverified: 0 }]);
    }
  });

  test("with a capacity only at capacity, however whole it is on the way", () => {
    const play = new Play({ capacity: 3, onFull: "hold" });
    const two = nativeMembers(play, 2);
    linkAll(two);
    expect(play.eventsOf("complete")).toEqual([]);
    const three = [...two, ...nativeMembers(play, 1, "default", 15_001)];
    linkAll(three);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 3, revision: 3 }]);
  });

  test("without one at each change from incomplete, from two members on", () => {
    const play = new Play();
    const players = nativeMembers(play, 1);
    expect(play.eventsOf("complete")).toEqual([]);
    for (const firstPort of [15_001, 16_001]) {
      players.push(...nativeMembers(play, 1, "default", firstPort));
      linkAll(players);
      play.pass(play.limits.completeGapMinMs);
    }
    const [a, b] = players as [Player, Player, Player];
    a.unlinked(b, "broken", "ECONNRESET");
    a.linked([b, 2]);
    b.linked([a, 2]);
    play.settle();
    const figures = play.eventsOf("complete").map(({ members, links }) => [members, links]);
    expect(figures).toEqual([
      [2, 1],
      [3, 3],
      [3, 3],
    ]);
    expect(a.end.all("complete")).toHaveLength(3);
  });

  test("with a classic member when its native peers report it; pairs of classic ones are counted apart", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    for (const port of [15_001, 15_002]) play.call().send(`127.0.0.1:${port}`);
    const classics = [
      [play.memberOf(3), 0],
      [play.memberOf(4), 0],
    ] as const;
    a.linked([b, 1], ...classics);
    b.linked([a, 1]);
    expect(play.eventsOf("complete")).toEqual([]);
    b.linked(...classics);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 4, links: 5, unverified: 1 }]);
  });

  test("is told to a newcomer only once it is linked too", () => {
    const play = new Play();
    const players = nativeMembers(play, 2);
    linkAll(players);
    const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
    expect(newcomer.end.all("complete")).toEqual([]);
    linkAll([...players, newcomer]);
    play.pass(play.limits.completeGapMinMs);
    expect(newcomer.end.all("complete")).toMatchObject([{ members: 3, links: 3 }]);
  });

  test("counts what the newest full report says, and nothing of the one before", () => {
    const play = new Play();
    const players = nativeMembers(play, 3) as [Player, Player, Player];
    const [a, b, c] = players;
    a.caller.say({ type: "links", full: true, up: [[b.id, 1]], down: [] });
    a.caller.say({ type: "links", full: true, up: [[c.id, 1]], down: [] });
    b.linked([a, 1], [c, 1]);
    c.linked([a, 1], [b, 1]);
    expect(play.eventsOf("complete")).toEqual([]);
    a.linked([b, 1]);
    expect(play.eventsOf("complete")).toHaveLength(1);
  });

  test("never while a member has no session, whatever was reported, nor before it has reported anew", () => {
    const play = new Play();
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    a.linked([b, 1], [c, 1]);
    a.caller.close("ECONNRESET");
    b.linked([a, 1], [c, 1]);
    c.linked([a, 1], [b, 1]);
    b.caller.say({ type: "watch", size: 2 });
    play.settle();
    a.resume(3);
    play.settle();
    expect(play.eventsOf("complete")).toEqual([]);
    a.reportAll([b, 1], [c, 1]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 3 }]);
    play.settle();
    for (const { end } of [a, b, c]) expect(end.all("complete")).toMatchObject([{ members: 3, links: 3 }]);
  });

  test("is not told to who comes back while another one is away, and is once all are back", () => {
    const play = new Play();
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    linkAll([a, b, c]);
    play.settle();
    for (const each of [a, b]) each.caller.close("ECONNRESET");
    a.resume(3);
    a.reportAll([b, 1], [c, 1]);
    a.caller.say({ type: "watch", size: 3 });
    play.settle();
    expect(a.end.all("complete")).toEqual([]);
    b.resume(3);
    b.reportAll([a, 1], [c, 1]);
    play.settle();
    for (const { end } of [a, b]) expect(end.all("complete")).toMatchObject([{ members: 3, links: 3 }]);
    // The others have heard it before, and nothing has changed for them.
    expect(c.end.all("complete")).toHaveLength(1);
    expect(play.eventsOf("complete")).toHaveLength(1);
  });

  test("with a capacity at which it holds, is not told again of fewer, and is when the slot is filled", () => {
    const play = new Play({ capacity: 3, onFull: "hold" });
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    linkAll([a, b, c]);
    for (const each of [a, b]) each.unlinked(c, "broken", "ECONNRESET");
    c.die();
    a.caller.close("ECONNRESET");
    a.resume(4);
    a.reportAll([b, 1]);
    play.settle();
    expect(a.end.all("complete")).toEqual([]);
    linkAll([a, b, ...nativeMembers(play, 1, "default", 15_001)], 2);
    play.pass(play.limits.completeGapMaxMs);
    expect(play.eventsOf("complete")).toMatchObject([
      { members: 3, revision: 3 },
      { members: 3, revision: 5 },
    ]);
  });

  test("is no matter of links with oneself, or with who has gone", () => {
    const play = new Play();
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    a.linked([a, 1], [b, 1]);
    b.linked([a, 1], [c, 1]);
    c.leave();
    b.linked([c, 1]);
    play.settle();
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2, links: 1, unverified: 0 }]);
    expect(a.caller.state).toBe("open");
  });
});

/** The first of these reports its link with the second up or down, in turn, so many times. */
function toggle(play: Play, [a, b]: readonly [Player, Player], times: number, everyMs: number, first = 0): void {
  for (let index = first; index < first + times; index += 1) {
    if (index % 2 === 0) a.unlinked(b, "broken", "ECONNRESET");
    else a.linked([b, attemptOne]);
    play.pass(everyMs);
  }
}

describe("N20: a member that makes the mesh complete and incomplete as fast as it can", () => {
  test("is told of ever more rarely, and the last state within the longest gap", () => {
    const play = new Play({ limits: { probeMs: 3_600_000, silentMs: 7_200_000 } });
    const players = nativeMembers(play, 3) as [Player, Player, Player];
    const [a, b, c] = players;
    linkAll(players);
    toggle(play, [a, b], 5_000, 20);
    // 100 s: some in the beginning, then one each longest gap.
    expect(play.eventsOf("complete").length).toBeLessThan(100_000 / play.limits.completeGapMaxMs + 10);
    expect(c.end.all("complete").length).toBe(play.eventsOf("complete").length);
    play.pass(play.limits.completeGapMaxMs);
    a.unlinked(b, "broken", "ECONNRESET");
    const told = play.eventsOf("complete").length;
    a.linked([b, attemptOne]);
    play.pass(play.limits.completeGapMaxMs);
    expect(play.eventsOf("complete")).toHaveLength(told + 1);
  });

  test("does not delay the word to a member that has asked for it", () => {
    const play = new Play({ limits: { probeMs: 3_600_000, silentMs: 7_200_000 } });
    const players = nativeMembers(play, 3) as [Player, Player, Player];
    const [a, b, c] = players;
    linkAll(players);
    toggle(play, [a, b], 1_001, 20);
    const told = c.end.all("complete").length;
    c.caller.say({ type: "watch", size: 3 });
    a.linked([b, attemptOne]);
    play.settle();
    expect(c.end.all("complete")).toHaveLength(told + 1);
  });

  test("does not hold back the report of another pair for more than 5 s", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3_000 }), fc.nat({ max: 5_000 }), (everyMs, after) => {
        const play = new Play({ limits: { probeMs: 3_600_000, silentMs: 7_200_000 } });
        const players = nativeMembers(play, 4) as [Player, Player, Player, Player];
        const [a, b, c, d] = players;
        linkAll(players);
        let toggles = Math.ceil(after / everyMs);
        toggle(play, [a, b], toggles, everyMs);
        const brokenAt = play.now;
        c.unlinked(d, "broken", "ETIMEDOUT");
        const isTold = (): boolean =>
          play
            .eventsOf("degraded")
            .some(({ missing }) => missing.some((pair) => pair.a === c.address && pair.b === d.address));
        for (; !isTold() && play.now < brokenAt + 10_000; toggles += 1) toggle(play, [a, b], 1, everyMs, toggles);
        expect(play.now - brokenAt).toBeLessThanOrEqual(5_000 + everyMs);
        expect(b.end.all("degraded").length).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });

  test("does not hold it back while members come and go each second: by then every member is told", () => {
    fc.assert(
      fc.property(fc.nat({ max: 5_000 }), fc.integer({ min: 200, max: 1_500 }), (after, everyMs) => {
        const play = new Play({ limits: { probeMs: 3_600_000, silentMs: 7_200_000 } });
        const players = nativeMembers(play, 4) as [Player, Player, Player, Player];
        const [a, , c, d] = players;
        linkAll(players);
        let port = 20_000;
        let guest: Player | undefined;
        const turn = (): void => {
          guest?.leave();
          port += 1;
          guest = play.native(`127.0.0.1:${port}`).register();
          play.pass(everyMs);
        };
        for (const start = play.now; play.now < start + after; ) turn();
        const brokenAt = play.now;
        c.unlinked(d, "broken", "ETIMEDOUT");
        while (play.now + everyMs <= brokenAt + 5_000) turn();
        play.pass(brokenAt + 5_000 - play.now);
        const told = (named: readonly (readonly [string, string])[]): boolean =>
          named.some(([from, to]) => from === c.id && to === d.id);
        expect(a.end.all("degraded").some(({ missing }) => told(missing.map(([from, to]) => [from, to])))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test("does not crowd another pair out of the report, though it breaks all of its links again and again", () => {
    const play = new Play({ limits: { namedPairs: 4, probeMs: 3_600_000, silentMs: 7_200_000 } });
    const players = nativeMembers(play, 12) as [Player, ...Player[]];
    linkAll(players);
    const [first, ...others] = players;
    const flap = (attempt: number): void => {
      for (const other of others) first.unlinked(other, "broken", "ECONNRESET");
      play.pass(play.limits.degradedMs);
      first.linked(...others.map((other) => [other, attempt] as const));
      for (const other of others) other.linked([first, attempt]);
    };
    for (let attempt = 2; attempt < 5; attempt += 1) flap(attempt);
    const [c, d] = others.slice(-2) as [Player, Player];
    c.unlinked(d, "broken", "ETIMEDOUT");
    const told = (): boolean =>
      play.eventsOf("degraded").some(({ missing }) => missing.some(({ a, b }) => a === c.address && b === d.address));
    flap(5);
    for (const other of others) first.unlinked(other, "broken", "ECONNRESET");
    play.pass(5_000 - play.limits.degradedMs);
    expect(told()).toBe(true);
  });

  test("does not crowd another pair out of the report with pairs of its own", () => {
    const play = new Play({ limits: { namedPairs: 4 } });
    const players = nativeMembers(play, 10) as [Player, ...Player[]];
    linkAll(players);
    const [a, ...others] = players;
    for (const other of others) a.unlinked(other, "broken", "ECONNRESET");
    play.pass(play.limits.degradedMs);
    const [c, d] = others.slice(-2) as [Player, Player];
    c.unlinked(d, "broken", "ETIMEDOUT");
    play.pass(play.limits.degradedMs);
    expect(play.eventsOf("degraded").at(-1)?.missing).toContainEqual(
      expect.objectContaining({ a: c.address, b: d.address, stage: "broken", reason: "ETIMEDOUT" }),
    );
  });
});

describe("N20: a member that waits for so many members", () => {
  test("is told once when the mesh is whole with as many, also below the capacity, and nobody else is", () => {
    const play = new Play({ capacity: 9, onFull: "hold" });
    const players = nativeMembers(play, 2) as [Player, Player];
    const [a, b] = players;
    a.caller.say({ type: "watch", size: 2 });
    linkAll(players);
    play.settle();
    expect(a.end.all("complete")).toMatchObject([{ members: 2, links: 1 }]);
    a.unlinked(b, "broken", "ECONNRESET");
    linkAll(players, 2);
    play.settle();
    expect(a.end.all("complete")).toHaveLength(1);
    expect(b.end.all("complete")).toEqual([]);
    expect(play.eventsOf("complete")).toEqual([]);
  });

  test("is told at once if it is whole already, and not before there are as many", () => {
    const play = new Play({ capacity: 9, onFull: "hold" });
    const players = nativeMembers(play, 2) as [Player, Player];
    const [a, b] = players;
    linkAll(players);
    a.caller.say({ type: "watch", size: 3 });
    b.caller.say({ type: "watch", size: 2 });
    play.settle();
    expect(a.end.all("complete")).toEqual([]);
    expect(b.end.all("complete")).toHaveLength(1);
    linkAll([...players, ...nativeMembers(play, 1, "default", 15_001)]);
    play.settle();
    expect(a.end.all("complete")).toMatchObject([{ members: 3, links: 3 }]);
  });
});

describe("N20: a mesh is degraded", () => {
  test("when pairs have been missing for a while in which nothing moved, and says which and why", () => {
    const play = new Play();
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    a.linked([b, 1]);
    b.linked([a, 1]);
    a.unlinked(c, "dialing", "DIAL_FAILED ECONNREFUSED (3 attempts)");
    play.pass(play.limits.degradedMs - 1);
    expect(play.eventsOf("degraded")).toEqual([]);
    play.pass(1);
    const forMs = play.limits.degradedMs + play.limits.updateGapMs;
    const at = { owner: a.address, attempt: 1, since: play.now - forMs };
    expect(play.eventsOf("degraded")).toEqual([
      {
        type: "degraded",
        mesh: "default",
        count: 2,
        missing: [
          { a: a.address, b: c.address, ...at, stage: "dialing", reason: "DIAL_FAILED ECONNREFUSED (3 attempts)" },
          {
            a: b.address,
            b: c.address,
            ...at,
            owner: b.address,
            stage: "unreported",
            attempt: 0,
            reason: `not reported by ${b.address} and ${c.address}`,
          },
        ],
      },
    ]);
    expect(b.end.all("degraded")).toEqual([
      {
        type: "degraded",
        revision: 3,
        count: 2,
        missing: [
          [a.id, c.id, "dialing", 1, "DIAL_FAILED ECONNREFUSED (3 attempts)", forMs],
          [b.id, c.id, "unreported", 0, `not reported by ${b.address} and ${c.address}`, forMs],
        ],
      },
    ]);
  });

  test("is told again only when the missing pairs have changed and been stable again", () => {
    const play = new Play();
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    const pause = play.limits.degradedMs;
    play.pass(3 * pause);
    expect(play.eventsOf("degraded")).toMatchObject([{ count: 3 }]);
    a.linked([b, 1]);
    // One end alone changes nothing about the pair.
    play.pass(2 * pause);
    expect(play.eventsOf("degraded")).toHaveLength(1);
    b.linked([a, 1]);
    play.pass(pause - 1);
    c.linked([a, 1]);
    a.linked([c, 1]);
    play.pass(pause - 1);
    expect(play.eventsOf("degraded")).toHaveLength(1);
    play.pass(1);
    expect(play.eventsOf("degraded").slice(1)).toMatchObject([
      { count: 1, missing: [{ a: b.address, b: c.address, reason: `not reported by ${b.address} and ${c.address}` }] },
    ]);
  });

  test("says which end has not reported, or that the two ends do not mean the same attempt", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    a.linked([b, 3]);
    play.pass(play.limits.degradedMs);
    b.linked([a, 2]);
    const classic = play.call();
    classic.send("127.0.0.1:15001");
    play.pass(play.limits.degradedMs);
    const reasons = play
      .eventsOf("degraded")
      .map(({ missing }) => missing.map(({ stage, reason }) => `${stage}: ${reason}`));
    expect(reasons).toEqual([
      [`unreported: not reported by ${b.address}`],
      [
        `unreported: attempt 3 at ${a.address}, 2 at the other end`,
        `classic: not reported by ${a.address}`,
        `classic: not reported by ${b.address}`,
      ],
    ]);
  });

  test("names so many pairs and counts the rest", () => {
    const play = new Play({ limits: { namedPairs: 4 } });
    const players = nativeMembers(play, 10);
    play.pass(play.limits.degradedMs);
    expect(play.eventsOf("degraded")[0]?.count).toBe(45);
    expect(play.eventsOf("degraded")[0]?.missing).toHaveLength(4);
    expect(players[0]?.end.last("degraded")?.missing).toHaveLength(4);
  });

  test("costs all members together no more than a bound: a large mesh is told fewer pairs by name, at least one", () => {
    const play = new Play({ limits: { degradedBytes: 10_000 } });
    const players = nativeMembers(play, 10) as [Player, ...Player[]];
    const [a, ...others] = players;
    for (const other of others) a.unlinked(other, "dialing", "x".repeat(160));
    const before = play.sentBytes;
    play.pass(play.limits.degradedMs);
    expect(play.sentBytes - before).toBeLessThan(10_000);
    expect(a.end.last("degraded")?.count).toBe(45);
    expect(a.end.last("degraded")?.missing).toHaveLength(4);
    expect(play.eventsOf("degraded")[0]?.missing).toHaveLength(play.limits.namedPairs);
  });

  test("passes foreign reasons on in part, and nothing in them that could steer a terminal", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    a.unlinked(b, "dialing", `\u001b[2J${"x".repeat(10_000)}`);
    play.pass(play.limits.degradedMs);
    const reason = play.eventsOf("degraded")[0]?.missing[0]?.reason ?? "";
    expect(reason).toMatch(/^\S+\[2Jx+\.\.\.$/);
    expect(reason).not.toMatch(/\p{Cc}/u);
    expect(reason.length).toBeLessThan(400);
  });

  test("is no word to those who join after it has healed", () => {
    const play = new Play();
    const players = nativeMembers(play, 2);
    play.pass(play.limits.degradedMs);
    linkAll(players);
    const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
    expect(newcomer.end.all("degraded")).toEqual([]);
  });
});
