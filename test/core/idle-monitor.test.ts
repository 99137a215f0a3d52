import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IdleMonitor, type IdleVerdict } from "../../src/core/idle-monitor.js";
import { Timers } from "../../src/core/timers.js";

const times = { probeMs: 5_000, silentMs: 15_000 };

interface IdleEvent {
  readonly key: string;
  readonly verdict: IdleVerdict;
}

/** A monitor with timers of its own, and what it reports. */
class TestMonitor extends IdleMonitor<string> {
  readonly timers: Timers;
  readonly #events: IdleEvent[];

  constructor(limits: { readonly probeMs: number; readonly silentMs: number }) {
    const timers = new Timers();
    const events: IdleEvent[] = [];
    super(limits, timers, (key, verdict) => events.push({ key, verdict }));
    this.timers = timers;
    this.#events = events;
  }

  /** Fires what is due now; what it reports. */
  fire(now: number): IdleEvent[] {
    this.timers.fire(now);
    return this.#events.splice(0);
  }

  /** Fires each timer at its moment until `until`; what it reports, with the time since `from`. */
  run(from: number, until: number): string[] {
    const reports: string[] = [];
    for (let at = this.timers.next(); at !== undefined && at <= until; at = this.timers.next()) {
      for (const { key, verdict } of this.fire(at)) reports.push(`${at - from} ${verdict} ${key}`);
    }
    return reports;
  }
}

describe("a silent connection", () => {
  test("is probed twice and then given up", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 100);
    expect(monitor.run(100, 100_000)).toEqual(["5000 probe a", "10000 probe a", "15000 giveUp a"]);
    expect(monitor.timers.next()).toBeUndefined();
  });

  test("is probed twice also with a short silence limit", () => {
    const monitor = new TestMonitor({ probeMs: 5_000, silentMs: 900 });
    monitor.watch("a", 0);
    expect(monitor.run(0, 100_000)).toEqual(["300 probe a", "600 probe a", "900 giveUp a"]);
  });

  test("is probed more often with a long silence limit", () => {
    const monitor = new TestMonitor({ probeMs: 1_000, silentMs: 4_500 });
    monitor.watch("a", 0);
    const probes = ["1000 probe a", "2000 probe a", "3000 probe a", "4000 probe a"];
    expect(monitor.run(0, 100_000)).toEqual([...probes, "4500 giveUp a"]);
  });

  test("is not watched any more once it has been given up", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    expect(monitor.fire(15_000)).toEqual([{ key: "a", verdict: "giveUp" }]);
    monitor.heard("a", 15_001);
    expect(monitor.fire(60_000)).toEqual([]);
    expect(monitor.timers.next()).toBeUndefined();
  });

  test("is probed once after several missed checks", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    expect(monitor.fire(14_999)).toEqual([{ key: "a", verdict: "probe" }]);
    expect(monitor.timers.next()).toBe(15_000);
  });
});

describe("a connection on which something comes", () => {
  test("is neither probed nor given up", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    for (let now = 4_000; now < 100_000; now += 4_000) {
      monitor.heard("a", now);
      expect(monitor.fire(now)).toEqual([]);
    }
  });

  test("has the whole time again after a probe", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    expect(monitor.fire(5_000)).toEqual([{ key: "a", verdict: "probe" }]);
    monitor.heard("a", 7_000);
    expect(monitor.run(7_000, 100_000)).toEqual(["5000 probe a", "10000 probe a", "15000 giveUp a"]);
  });

  test("is not watched if it was forgotten before, or never was", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    monitor.forget("a");
    monitor.heard("a", 1);
    monitor.heard("b", 1);
    expect(monitor.timers.next()).toBeUndefined();
    expect(monitor.fire(60_000)).toEqual([]);
  });

  test("does not help another one", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    monitor.watch("b", 0);
    monitor.heard("a", 14_000);
    expect(monitor.fire(15_000)).toEqual([{ key: "b", verdict: "giveUp" }]);
  });
});

describe("a doubted connection", () => {
  test("has no longer than the time between two probes, of which the doubt is one", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    monitor.heard("a", 4_000);
    monitor.doubt("a", 4_000);
    expect(monitor.run(4_000, 100_000)).toEqual(["5000 giveUp a"]);
    expect(monitor.timers.next()).toBeUndefined();
  });

  test("does not live longer than without the doubt", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    expect(monitor.fire(10_000)).toEqual([{ key: "a", verdict: "probe" }]);
    monitor.doubt("a", 12_000);
    expect(monitor.run(0, 100_000)).toEqual(["15000 giveUp a"]);
  });

  test("has the whole time again once something comes", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    monitor.doubt("a", 1_000);
    monitor.heard("a", 5_999);
    expect(monitor.run(5_999, 100_000)).toEqual(["5000 probe a", "10000 probe a", "15000 giveUp a"]);
  });

  test("gains no time by being doubted again", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    for (let now = 1_000; now < 6_000; now += 500) {
      expect(monitor.fire(now)).toEqual([]);
      monitor.doubt("a", now);
    }
    expect(monitor.fire(6_000)).toEqual([{ key: "a", verdict: "giveUp" }]);
  });

  test("is not given up while something comes between two probes, however often it is doubted", () => {
    const monitor = new TestMonitor(times);
    monitor.watch("a", 0);
    for (let now = 10; now < 100_000; now += 10) {
      monitor.doubt("a", now);
      expect(monitor.fire(now)).toEqual([]);
      if (now % 4_990 === 0) monitor.heard("a", now);
    }
  });

  test("is not watched if it was not before, and no other one has less time", () => {
    const monitor = new TestMonitor(times);
    monitor.doubt("a", 0);
    expect(monitor.timers.next()).toBeUndefined();
    monitor.watch("b", 0);
    monitor.watch("c", 0);
    monitor.doubt("b", 0);
    expect(monitor.run(0, 5_000).sort()).toEqual(["5000 giveUp b", "5000 probe c"]);
  });
});

test("watching again starts the time anew", () => {
  const monitor = new TestMonitor(times);
  monitor.watch("a", 0);
  monitor.watch("a", 12_000);
  expect(monitor.run(12_000, 100_000)).toEqual(["5000 probe a", "10000 probe a", "15000 giveUp a"]);
});

test("probes at most once a millisecond, however short the times are", () => {
  const monitor = new TestMonitor({ probeMs: 0, silentMs: 3 });
  monitor.watch("a", 0);
  expect(monitor.run(0, 100)).toEqual(["1 probe a", "2 probe a", "3 giveUp a"]);
});

test("ends at any start time, whatever the fractions of a millisecond", () => {
  const moments = fc.double({ min: 0, max: 1e9, noNaN: true });
  const spans = fc.double({ min: 0.001, max: 20_000, noNaN: true });
  fc.assert(
    fc.property(moments, spans, spans, fc.boolean(), (from, probeMs, silentMs, isDoubted) => {
      const monitor = new TestMonitor({ probeMs, silentMs });
      monitor.watch("a", from);
      if (isDoubted) monitor.doubt("a", from);
      let last = from;
      for (let count = 0; count < 200; count += 1) {
        const at = monitor.timers.next();
        if (at === undefined) return;
        expect(at).toBeGreaterThan(last);
        // At most one report at one moment: a probe that is due again at once would never stop.
        const events = monitor.fire(at);
        expect(events.length).toBeLessThanOrEqual(1);
        if (events[0]?.verdict === "giveUp" && !isDoubted) expect(at).toBeGreaterThanOrEqual(from + silentMs);
        last = at;
      }
    }),
    { numRuns: 2_000 },
  );
});

test("a connection is given up if and only if nothing comes in time", () => {
  const steps = fc.array(fc.tuple(fc.nat({ max: 2_000 }), fc.constantFrom("heard", "doubted", "silent")), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, (all) => {
      const monitor = new TestMonitor({ probeMs: 1_000, silentMs: 3_000 });
      monitor.watch("a", 0);
      let now = 0;
      let overAt = 3_000;
      for (const [wait, what] of all) {
        now += wait;
        const said = monitor.fire(now);
        const isOver = now >= overAt;
        expect(said.some(({ verdict }) => verdict === "giveUp")).toBe(isOver);
        if (isOver) return;
        if (what === "heard") {
          overAt = now + 3_000;
          monitor.heard("a", now);
        } else if (what === "doubted") {
          overAt = Math.min(overAt, now + 1_000);
          monitor.doubt("a", now);
        }
      }
    }),
    { numRuns: 500 },
  );
});
