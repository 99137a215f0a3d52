import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Timers } from "../../src/core/timers.js";

type Wish = "set" | "clear" | "clearAll" | "fire";

interface ModelTimer {
  readonly part: number;
  readonly key: number;
  readonly at: number;
}

function dueOf(model: readonly ModelTimer[], now: number): string[] {
  const due = model.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
  return due.map(({ part, key }) => `${part} ${key}`);
}

/** The timers that are left when this has been done. */
function after(model: readonly ModelTimer[], timer: ModelTimer, wish: Wish): ModelTimer[] {
  if (wish === "fire") return model.filter(({ at }) => at > timer.at);
  const others = model.filter(({ part, key }) => part !== timer.part || (wish !== "clearAll" && key !== timer.key));
  return wish === "set" ? [...others, timer] : others;
}

describe("the timers of a machine", () => {
  test("do not fire for ever: whoever sets one again and again for a moment that has come is found", () => {
    const timers = new Timers();
    const part = timers.keyed<string>((key, now) => part.set(key, now));
    part.set("restless", 10);
    expect(() => timers.fire(25)).toThrow("a timer is set again and again for 25, and it is 25");
  });

  test("fire in the order of time, whichever part has set them, and once each", () => {
    const timers = new Timers();
    const fired: string[] = [];
    const dials = timers.keyed<string>((key, now) => fired.push(`dial ${key} ${now}`));
    const probes = timers.keyed<string>((key, now) => fired.push(`probe ${key} ${now}`));
    dials.set("late", 30);
    probes.set("early", 10);
    dials.set("middle", 20);
    probes.set("middle", 20);
    expect(timers.next()).toBe(10);
    timers.fire(9);
    expect(fired).toEqual([]);
    timers.fire(25);
    expect(fired).toEqual(["probe early 25", "dial middle 25", "probe middle 25"]);
    expect(timers.next()).toBe(30);
    timers.fire(30);
    timers.fire(1_000);
    expect(fired).toHaveLength(4);
    expect(timers.next()).toBeUndefined();
  });

  test("may be set again while they fire, and fire again in the same turn if that is due", () => {
    const timers = new Timers();
    const fired: number[] = [];
    const own = timers.keyed<number>((key) => {
      fired.push(key);
      if (key < 3) own.set(key + 1, key < 2 ? 5 : 50);
    });
    own.set(0, 5);
    timers.fire(10);
    expect(fired).toEqual([0, 1, 2]);
    expect(timers.next()).toBe(50);
  });

  test("do what a list that is searched each time does", () => {
    const step = fc.record({
      part: fc.integer({ min: 0, max: 1 }),
      key: fc.integer({ min: 0, max: 5 }),
      wish: fc.constantFrom<Wish>("set", "set", "set", "clear", "clearAll", "fire"),
      at: fc.integer({ min: 0, max: 50 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const timers = new Timers();
        const fired: string[] = [];
        const parts = [0, 1].map((part) => timers.keyed<number>((key) => fired.push(`${part} ${key}`)));
        let model: ModelTimer[] = [];
        const act = (wish: Wish, part: number, key: number, at: number): void => {
          if (wish === "fire") timers.fire(at);
          else if (wish === "set") parts[part]?.set(key, at);
          else parts[part]?.[wish](key);
        };
        for (const { part, key, wish, at } of steps) {
          const due = wish === "fire" ? dueOf(model, at) : [];
          model = after(model, { part, key, at }, wish);
          act(wish, part, key, at);
          expect(fired.splice(0)).toEqual(due);
          expect(timers.next() ?? Number.POSITIVE_INFINITY).toBe(Math.min(...model.map((timer) => timer.at)));
          expect(parts.map(({ size }) => size)).toEqual([0, 1].map((of) => model.filter((t) => t.part === of).length));
        }
      }),
    );
  });

  test("fire the right one of two that are due at one moment, also behind a hundred moves of a third", () => {
    const timers = new Timers();
    const fired: string[] = [];
    const own = timers.keyed<string>((key) => fired.push(key));
    own.set("cleared", 9);
    own.set("due", 5);
    expect(timers.next()).toBe(5);
    own.set("cleared", 5);
    for (let at = 50; at < 150; at += 1) own.set("moving", at);
    own.clear("cleared");
    timers.fire(5);
    expect(fired).toEqual(["due"]);
    expect(timers.next()).toBe(149);
  });

  test("stay right when one of them is moved a hundred thousand times", () => {
    const timers = new Timers();
    const fired: string[] = [];
    const own = timers.keyed<string>((key) => fired.push(key));
    own.set("still", 7);
    for (let at = 100_000; at > 10; at -= 1) own.set("moving", at);
    timers.fire(11);
    expect(fired).toEqual(["still", "moving"]);
    expect(timers.next()).toBeUndefined();
  });

  test("that are moved all the time keep no more than there are", () => {
    const timers = new Timers();
    const own = timers.keyed<number>(() => {});
    const before = process.memoryUsage().heapUsed;
    for (let at = 0; at < 1_000_000; at += 1) own.set(at % 10, at);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024);
    expect(own.size).toBe(10);
    expect(timers.next()).toBe(999_990);
  });
});
