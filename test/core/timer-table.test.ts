import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { earliest, TimerTable } from "../../src/core/timer-table.js";

function takeAll<Key>(deadlines: TimerTable<Key>, now: number): Key[] {
  const due: Key[] = [];
  for (let key = deadlines.takeDue(now); key !== undefined; key = deadlines.takeDue(now)) due.push(key);
  return due;
}

/** What `takeAll` must give, done the slow way. */
function takeDue(model: Map<number, number>, now: number): number[] {
  const due = [...model.keys()].filter((key) => (model.get(key) ?? now + 1) <= now);
  for (const key of due) model.delete(key);
  return due;
}

describe("Deadlines", () => {
  test("takes out what is due, the earliest first, and leaves the rest", () => {
    const deadlines = new TimerTable<string>();
    deadlines.set("late", 30);
    deadlines.set("early", 10);
    deadlines.set("middle", 20);
    expect(deadlines.next()).toBe(10);
    expect(takeAll(deadlines, 9)).toEqual([]);
    expect(takeAll(deadlines, 20)).toEqual(["early", "middle"]);
    expect(deadlines.next()).toBe(30);
  });

  test("takes each key out once", () => {
    const deadlines = new TimerTable<string>();
    deadlines.set("a", 10);
    expect(deadlines.takeDue(10)).toBe("a");
    expect(deadlines.takeDue(10)).toBeUndefined();
    expect(deadlines.next()).toBeUndefined();
  });

  test("moves a key's moment when it is set again, earlier as well as later", () => {
    const deadlines = new TimerTable<string>();
    deadlines.set("a", 10);
    deadlines.set("a", 30);
    expect(takeAll(deadlines, 29)).toEqual([]);
    deadlines.set("a", 5);
    expect(deadlines.next()).toBe(5);
    expect(takeAll(deadlines, 30)).toEqual(["a"]);
  });

  test("forgets what is cleared, and takes it anew when it is set again", () => {
    const deadlines = new TimerTable<string>();
    deadlines.set("a", 10);
    deadlines.set("b", 10);
    deadlines.clear("a");
    deadlines.clear("nobody");
    expect(takeAll(deadlines, 10)).toEqual(["b"]);
    deadlines.set("a", 10);
    expect(takeAll(deadlines, 10)).toEqual(["a"]);
    deadlines.set("a", 10);
    deadlines.clearAll();
    expect(deadlines.next()).toBeUndefined();
    expect(takeAll(deadlines, 10)).toEqual([]);
  });

  test("agrees with a plain map, whatever is done to it", () => {
    const keys = fc.integer({ min: 0, max: 9 });
    // Few moments, so that many are due at the same one.
    const moments = fc.integer({ min: 0, max: 6 });
    const step = fc.record({ do: fc.constantFrom("set", "clear", "take"), key: keys, at: moments });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 600, size: "max" }), (script) => {
        const deadlines = new TimerTable<number>();
        const model = new Map<number, number>();
        for (const { do: what, key, at } of script) {
          if (what === "set") {
            deadlines.set(key, at);
            model.set(key, at);
          } else if (what === "clear") {
            deadlines.clear(key);
            model.delete(key);
          } else {
            expect(takeAll(deadlines, at).toSorted()).toEqual(takeDue(model, at).toSorted());
          }
          expect(deadlines.next()).toBe(earliest(...model.values()));
        }
      }),
    );
  });

  test("takes out the right one of two that are due at one moment, also behind a hundred moves of a third", () => {
    const deadlines = new TimerTable<string>();
    deadlines.set("cleared", 9);
    deadlines.set("due", 5);
    expect(deadlines.next()).toBe(5);
    deadlines.set("cleared", 5);
    for (let at = 50; at < 150; at += 1) deadlines.set("moving", at);
    deadlines.clear("cleared");
    expect(takeAll(deadlines, 5)).toEqual(["due"]);
    expect(deadlines.next()).toBe(149);
  });

  test("stays right when one key is moved a hundred thousand times", () => {
    const deadlines = new TimerTable<string>();
    deadlines.set("still", 7);
    for (let at = 100_000; at > 10; at -= 1) deadlines.set("moving", at);
    expect(takeAll(deadlines, 11)).toEqual(["still", "moving"]);
    expect(deadlines.next()).toBeUndefined();
  });
});

describe("earliest", () => {
  test("is the least of the moments that are set", () => {
    expect(earliest(3, undefined, 1, 2)).toBe(1);
    expect(earliest(0, 1)).toBe(0);
    expect(earliest(Number.NEGATIVE_INFINITY, 1)).toBe(Number.NEGATIVE_INFINITY);
  });

  test("is none when none is set", () => {
    expect(earliest()).toBeUndefined();
    expect(earliest(undefined, undefined)).toBeUndefined();
  });
});
