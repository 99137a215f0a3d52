import fc from "fast-check";
import { expect, test } from "vitest";
import { Queue } from "../../src/core/queue.js";

test("items come out in the order in which they went in", () => {
  const queue = new Queue<string>();
  queue.push("a");
  queue.push("b");
  expect([queue.poll(), queue.poll(), queue.poll()]).toEqual(["a", "b", undefined]);
});

test("the newest item is there until it has been taken out", () => {
  const queue = new Queue<string>();
  expect(queue.newest).toBeUndefined();
  queue.push("a");
  queue.push("b");
  expect(queue.newest).toBe("b");
  queue.poll();
  expect(queue.newest).toBe("b");
  queue.poll();
  expect(queue.newest).toBeUndefined();
});

test("items may be added at any time, also to a long queue that is never empty", () => {
  fc.assert(
    fc.property(fc.nat(300), fc.array(fc.boolean(), { maxLength: 400, size: "max" }), (before, later) => {
      const queue = new Queue<{ readonly number: number }>();
      const model: { readonly number: number }[] = [];
      const steps = [...Array.from({ length: before }, () => true), ...later];
      for (const [number, isPush] of steps.entries()) {
        if (isPush) queue.push({ number });
        if (isPush) model.push({ number });
        if (!isPush) expect(queue.poll()).toEqual(model.shift());
        expect([queue.size, queue.first, queue.newest]).toEqual([model.length, model[0], model.at(-1)]);
      }
      for (const expected of model) expect(queue.poll()).toEqual(expected);
      expect(queue.poll()).toBeUndefined();
    }),
  );
});

test("a queue that is cleared is empty, and goes on", () => {
  const queue = new Queue<string>();
  queue.push("a");
  queue.clear();
  expect([queue.size, queue.first, queue.newest, queue.poll()]).toEqual([0, undefined, undefined, undefined]);
  queue.push("b");
  expect([queue.first, queue.poll()]).toEqual(["b", "b"]);
});
