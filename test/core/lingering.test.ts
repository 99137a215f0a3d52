import { expect, test } from "vitest";
import type { ConnectionOutput } from "../../src/core/connections.js";
import { Lingering } from "../../src/core/lingering.js";
import { OutputQueue } from "../../src/core/machine.js";

function start(): { lingering: Lingering; outputs: () => ConnectionOutput[] } {
  const queue = new OutputQueue<ConnectionOutput>();
  const outputs = (): ConnectionOutput[] => {
    const all: ConnectionOutput[] = [];
    for (let output = queue.poll(); output !== undefined; output = queue.poll()) all.push(output);
    return all;
  };
  return { lingering: new Lingering(queue, 1_000), outputs };
}

test("half-closes at once, and waits for the other side", () => {
  const { lingering, outputs } = start();
  lingering.begin("in:1", 100);
  expect(outputs()).toEqual([{ type: "halfClose", connection: "in:1" }]);
  expect(lingering.nextTimeout()).toBe(1_100);
  expect(lingering.has("in:1")).toBe(true);
});

test("aborts a connection whose other side has not closed in time, and keeps it until it is gone", () => {
  const { lingering, outputs } = start();
  lingering.begin("in:1", 0);
  outputs();
  lingering.handleTimeout(999);
  expect(outputs()).toEqual([]);
  lingering.handleTimeout(1_000);
  expect(outputs()).toEqual([{ type: "abort", connection: "in:1" }]);
  expect(lingering.has("in:1")).toBe(true);
  expect(lingering.nextTimeout()).toBeUndefined();
  expect(lingering.closed("in:1")).toBe(true);
  expect(lingering.size).toBe(0);
});

test("leaves alone a connection that was gone in time", () => {
  const { lingering, outputs } = start();
  lingering.begin("in:1", 0);
  outputs();
  expect(lingering.closed("in:1")).toBe(true);
  lingering.handleTimeout(5_000);
  expect(outputs()).toEqual([]);
});

test("begins once: a second wish neither half-closes again nor gives more time", () => {
  const { lingering, outputs } = start();
  lingering.begin("in:1", 0);
  lingering.begin("in:1", 900);
  expect(outputs()).toEqual([{ type: "halfClose", connection: "in:1" }]);
  expect(lingering.nextTimeout()).toBe(1_000);
  expect(lingering.size).toBe(1);
});

test("says of a stranger's closing that it was not lingering", () => {
  const { lingering } = start();
  expect(lingering.closed("in:1")).toBe(false);
  expect(lingering.has("in:1")).toBe(false);
});
