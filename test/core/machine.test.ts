import fc from "fast-check";
import { expect, test } from "vitest";
import { OutputQueue } from "../../src/core/machine.js";

test("outputs are polled in the order in which they were decided", () => {
  const queue = new OutputQueue<string>();
  queue.push("a");
  queue.push("b");
  expect([queue.poll(), queue.poll(), queue.poll()]).toEqual(["a", "b", undefined]);
});

test("the newest output is told until it has been polled", () => {
  const queue = new OutputQueue<string>();
  expect(queue.newest).toBeUndefined();
  queue.push("a");
  queue.push("b");
  expect(queue.newest).toBe("b");
  queue.poll();
  expect(queue.newest).toBe("b");
  queue.poll();
  expect(queue.newest).toBeUndefined();
});

test("outputs may be added while others are being polled, and after the queue was empty", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean()), (steps) => {
      const queue = new OutputQueue<{ readonly number: number }>();
      const model: { readonly number: number }[] = [];
      for (const [number, isPush] of steps.entries()) {
        if (isPush) queue.push({ number });
        if (isPush) model.push({ number });
        if (!isPush) expect(queue.poll()).toEqual(model.shift());
      }
      for (const expected of model) expect(queue.poll()).toEqual(expected);
      expect(queue.poll()).toBeUndefined();
    }),
  );
});
