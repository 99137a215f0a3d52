import { expect, test } from "vitest";
import type { ConnectionOutput } from "../../src/core/connections.js";
import { GracefulCloses } from "../../src/core/graceful-closes.js";
import { Queue } from "../../src/core/queue.js";
import { Timers } from "../../src/core/timers.js";

function start() {
  const timers = new Timers();
  const queue = new Queue<ConnectionOutput>();
  const outputs = (): ConnectionOutput[] => {
    const all: ConnectionOutput[] = [];
    for (let output = queue.poll(); output !== undefined; output = queue.poll()) all.push(output);
    return all;
  };
  const unsent: string[] = [];
  const lingering = new GracefulCloses(queue, 1_000, timers, (connection) => void unsent.push(connection));
  /** Lets time pass; the connections that were aborted with something unsent. */
  const unsentBy = (now: number): string[] => {
    timers.fire(now);
    return unsent.splice(0);
  };
  return { lingering, timers, outputs, unsentBy };
}

test("half-closes at once, and waits for the other side", () => {
  const { lingering, timers, outputs } = start();
  lingering.begin("in:1", 100);
  expect(outputs()).toEqual([{ type: "halfClose", connection: "in:1" }]);
  expect(timers.next()).toBe(1_100);
  expect(lingering.has("in:1")).toBe(true);
});

test("aborts a connection whose other side has not closed in time, and keeps it until it is gone", () => {
  const { lingering, timers, outputs } = start();
  lingering.begin("in:1", 0);
  outputs();
  timers.fire(999);
  expect(outputs()).toEqual([]);
  timers.fire(1_000);
  expect(outputs()).toEqual([{ type: "abort", connection: "in:1" }]);
  expect(lingering.has("in:1")).toBe(true);
  expect(timers.next()).toBeUndefined();
  expect(lingering.closed("in:1")).toBe(true);
  expect(lingering.size).toBe(0);
});

test("leaves alone a connection that was gone in time", () => {
  const { lingering, timers, outputs } = start();
  lingering.begin("in:1", 0);
  outputs();
  expect(lingering.closed("in:1")).toBe(true);
  timers.fire(5_000);
  expect(outputs()).toEqual([]);
});

test("begins once: a second wish neither half-closes again nor gives more time", () => {
  const { lingering, timers, outputs } = start();
  lingering.begin("in:1", 0);
  lingering.begin("in:1", 900);
  expect(outputs()).toEqual([{ type: "halfClose", connection: "in:1" }]);
  expect(timers.next()).toBe(1_000);
  expect(lingering.size).toBe(1);
});

test("says of a stranger's closing that it was not lingering", () => {
  const { lingering } = start();
  expect(lingering.closed("in:1")).toBe(false);
  expect(lingering.has("in:1")).toBe(false);
});

test("gives the other side as much time as it is told to", () => {
  const { lingering, timers, outputs, unsentBy } = start();
  lingering.begin("in:1", 100, 7_000);
  expect(outputs()).toEqual([{ type: "halfClose", connection: "in:1" }]);
  lingering.flushed("in:1", 500);
  expect(timers.next()).toBe(7_100);
  expect(unsentBy(7_100)).toEqual([]);
  expect(outputs()).toEqual([{ type: "abort", connection: "in:1" }]);
});

test("waits for what is still going out, and lingers from then on", () => {
  const { lingering, timers, outputs, unsentBy } = start();
  lingering.drain("in:1", 0, 7_000);
  expect(outputs()).toEqual([{ type: "halfClose", connection: "in:1" }]);
  expect(timers.next()).toBe(7_000);
  lingering.flushed("in:1", 6_000);
  expect(timers.next()).toBe(7_000);
  lingering.flushed("in:1", 6_500);
  expect(unsentBy(7_000)).toEqual([]);
  expect(outputs()).toEqual([{ type: "abort", connection: "in:1" }]);
});

test("tells of a connection on which something has not gone out in time", () => {
  const { lingering, unsentBy } = start();
  lingering.drain("in:1", 0, 7_000);
  lingering.drain("in:2", 0, 7_000);
  lingering.closed("in:2");
  lingering.begin("in:3", 6_000);
  lingering.drain("in:3", 6_000, 7_000);
  expect(unsentBy(7_000)).toEqual(["in:1"]);
});
