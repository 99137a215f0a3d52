import { expect, test } from "vitest";
import { EventPacer } from "../../src/core/event-pacer.js";

/** Does a thing as often as it may, from `now` on, and says when. */
function asOftenAsItMay(interval: EventPacer, count: number, from = 0): number[] {
  const at: number[] = [];
  let now = from;
  for (let index = 0; index < count; index += 1) {
    now = Math.max(now, interval.nextAt);
    at.push(now);
    interval.count(now, 100, 1_000);
  }
  return at;
}

test("holds the first one back for no time", () => {
  expect(new EventPacer().nextAt).toBe(Number.NEGATIVE_INFINITY);
});

test("doubles while one follows the other as soon as it may, up to the longest", () => {
  expect(asOftenAsItMay(new EventPacer(), 7)).toEqual([0, 100, 300, 700, 1_500, 2_500, 3_500]);
});

test("begins anew with the shortest after a pause of two intervals, and not before", () => {
  const interval = new EventPacer();
  asOftenAsItMay(interval, 5);
  interval.count(1_500 + 1_999, 100, 1_000);
  expect(interval.nextAt).toBe(3_499 + 1_000);
  interval.count(3_499 + 2_000, 100, 1_000);
  expect(interval.nextAt).toBe(5_499 + 100);
});

test("takes the bounds of the newest one, which may be shorter than the interval before", () => {
  const interval = new EventPacer();
  asOftenAsItMay(interval, 5);
  interval.count(2_500, 50, 50);
  expect(interval.nextAt).toBe(2_550);
});
