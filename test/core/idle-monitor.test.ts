import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type IdleEvent, IdleMonitor } from "../../src/core/idle-monitor.js";

const times = { probeMs: 5_000, silentMs: 15_000 };

/** Everything that is due now. */
function due(pulse: IdleMonitor<string>, now: number): IdleEvent<string>[] {
  const all: IdleEvent<string>[] = [];
  for (let silence = pulse.takeDue(now); silence !== undefined; silence = pulse.takeDue(now)) all.push(silence);
  return all;
}

/** Looks whenever the pulse wants to, for so long; what it has said, with the time. */
function play(pulse: IdleMonitor<string>, from: number, until: number): string[] {
  const said: string[] = [];
  for (let at = pulse.nextTimeout(); at !== undefined && at <= until; at = pulse.nextTimeout()) {
    for (const { key, verdict } of due(pulse, at)) said.push(`${at - from} ${verdict} ${key}`);
  }
  return said;
}

describe("whoever says nothing", () => {
  test("is probed twice and then given up", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 100);
    expect(play(pulse, 100, 100_000)).toEqual(["5000 probe a", "10000 probe a", "15000 giveUp a"]);
    expect(pulse.nextTimeout()).toBeUndefined();
  });

  test("is probed twice also where the time to be silent is short", () => {
    const pulse = new IdleMonitor<string>({ probeMs: 5_000, silentMs: 900 });
    pulse.watch("a", 0);
    expect(play(pulse, 0, 100_000)).toEqual(["300 probe a", "600 probe a", "900 giveUp a"]);
  });

  test("is probed more often where the time is long", () => {
    const pulse = new IdleMonitor<string>({ probeMs: 1_000, silentMs: 4_500 });
    pulse.watch("a", 0);
    const probes = ["1000 probe a", "2000 probe a", "3000 probe a", "4000 probe a"];
    expect(play(pulse, 0, 100_000)).toEqual([...probes, "4500 giveUp a"]);
  });

  test("is not watched any more once it has been given up", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    expect(due(pulse, 15_000)).toEqual([{ key: "a", verdict: "giveUp" }]);
    pulse.heard("a", 15_001);
    expect(due(pulse, 60_000)).toEqual([]);
    expect(pulse.nextTimeout()).toBeUndefined();
  });

  test("is asked once, not once for each moment that has been missed", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    expect(due(pulse, 14_999)).toEqual([{ key: "a", verdict: "probe" }]);
    expect(pulse.nextTimeout()).toBe(15_000);
  });
});

describe("whoever is heard", () => {
  test("is neither probed nor given up", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    for (let now = 4_000; now < 100_000; now += 4_000) {
      pulse.heard("a", now);
      expect(due(pulse, now)).toEqual([]);
    }
  });

  test("after a probe has all the time again", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    expect(due(pulse, 5_000)).toEqual([{ key: "a", verdict: "probe" }]);
    pulse.heard("a", 7_000);
    expect(play(pulse, 7_000, 100_000)).toEqual(["5000 probe a", "10000 probe a", "15000 giveUp a"]);
  });

  test("is not watched if it was forgotten before, or never was", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    pulse.forget("a");
    pulse.heard("a", 1);
    pulse.heard("b", 1);
    expect(pulse.nextTimeout()).toBeUndefined();
    expect(due(pulse, 60_000)).toEqual([]);
  });

  test("does not help others", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    pulse.watch("b", 0);
    pulse.heard("a", 14_000);
    expect(due(pulse, 15_000)).toEqual([{ key: "b", verdict: "giveUp" }]);
  });
});

describe("whoever is doubted", () => {
  test("has no longer than the time between two probes, of which the doubt is one", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    pulse.heard("a", 4_000);
    pulse.doubt("a", 4_000);
    expect(play(pulse, 4_000, 100_000)).toEqual(["5000 giveUp a"]);
    expect(pulse.nextTimeout()).toBeUndefined();
  });

  test("does not live longer than without the doubt", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    expect(due(pulse, 10_000)).toEqual([{ key: "a", verdict: "probe" }]);
    pulse.doubt("a", 12_000);
    expect(play(pulse, 0, 100_000)).toEqual(["15000 giveUp a"]);
  });

  test("has all the time again once it is heard", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    pulse.doubt("a", 1_000);
    pulse.heard("a", 5_999);
    expect(play(pulse, 5_999, 100_000)).toEqual(["5000 probe a", "10000 probe a", "15000 giveUp a"]);
  });

  test("gains nothing by being doubted again and again", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    for (let now = 1_000; now < 6_000; now += 500) {
      expect(due(pulse, now)).toEqual([]);
      pulse.doubt("a", now);
    }
    expect(due(pulse, 6_000)).toEqual([{ key: "a", verdict: "giveUp" }]);
  });

  test("is not given up while it is heard within the time between two probes, however often it is doubted", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.watch("a", 0);
    for (let now = 10; now < 100_000; now += 10) {
      pulse.doubt("a", now);
      expect(due(pulse, now)).toEqual([]);
      if (now % 4_990 === 0) pulse.heard("a", now);
    }
  });

  test("is not watched if it was not before, and nobody else has less time", () => {
    const pulse = new IdleMonitor<string>(times);
    pulse.doubt("a", 0);
    expect(pulse.nextTimeout()).toBeUndefined();
    pulse.watch("b", 0);
    pulse.watch("c", 0);
    pulse.doubt("b", 0);
    expect(play(pulse, 0, 5_000).sort()).toEqual(["5000 giveUp b", "5000 probe c"]);
  });
});

test("watching again begins anew", () => {
  const pulse = new IdleMonitor<string>(times);
  pulse.watch("a", 0);
  pulse.watch("a", 12_000);
  expect(play(pulse, 12_000, 100_000)).toEqual(["5000 probe a", "10000 probe a", "15000 giveUp a"]);
});

test("asks at most once a millisecond, however short the times are", () => {
  const pulse = new IdleMonitor<string>({ probeMs: 0, silentMs: 3 });
  pulse.watch("a", 0);
  expect(play(pulse, 0, 100)).toEqual(["1 probe a", "2 probe a", "3 giveUp a"]);
});

test("comes to an end at any moment, whatever the fractions of a millisecond", () => {
  const moments = fc.double({ min: 0, max: 1e9, noNaN: true });
  const spans = fc.double({ min: 0.001, max: 20_000, noNaN: true });
  fc.assert(
    fc.property(moments, spans, spans, fc.boolean(), (from, probeMs, silentMs, isDoubted) => {
      const pulse = new IdleMonitor<string>({ probeMs, silentMs });
      pulse.watch("a", from);
      if (isDoubted) pulse.doubt("a", from);
      let last = from;
      for (let count = 0; count < 200; count += 1) {
        const at = pulse.nextTimeout();
        if (at === undefined) return;
        expect(at).toBeGreaterThan(last);
        // At most one thing is said at one moment: a probe that is due again at once would never stop.
        const first = pulse.takeDue(at);
        expect(pulse.takeDue(at)).toBeUndefined();
        if (first?.verdict === "giveUp" && !isDoubted) expect(at).toBeGreaterThanOrEqual(from + silentMs);
        last = at;
      }
    }),
    { numRuns: 2_000 },
  );
});

test("nobody who is heard in time is ever given up, and nobody who is not escapes", () => {
  const steps = fc.array(fc.tuple(fc.nat({ max: 2_000 }), fc.constantFrom("heard", "doubted", "silent")), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, (all) => {
      const pulse = new IdleMonitor<string>({ probeMs: 1_000, silentMs: 3_000 });
      pulse.watch("a", 0);
      let now = 0;
      let overAt = 3_000;
      for (const [wait, what] of all) {
        now += wait;
        const said = due(pulse, now);
        const isOver = now >= overAt;
        expect(said.some(({ verdict }) => verdict === "giveUp")).toBe(isOver);
        if (isOver) return;
        if (what === "heard") {
          overAt = now + 3_000;
          pulse.heard("a", now);
        } else if (what === "doubted") {
          overAt = Math.min(overAt, now + 1_000);
          pulse.doubt("a", now);
        }
      }
    }),
    { numRuns: 500 },
  );
});
