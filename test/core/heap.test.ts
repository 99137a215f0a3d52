import fc from "fast-check";
import { expect, test } from "vitest";
import { Heap } from "../../src/core/heap.js";

function numbers(): Heap<number> {
  return new Heap<number>((a, b) => a < b);
}

function drain<Item>(heap: Heap<Item>): Item[] {
  const items: Item[] = [];
  for (let item = heap.pop(); item !== undefined; item = heap.pop()) items.push(item);
  return items;
}

test("pops what was pushed in sorted order", () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (items) => {
      const heap = numbers();
      for (const item of items) heap.push(item);
      expect(heap.size).toBe(items.length);
      expect(drain(heap)).toEqual(items.toSorted((a, b) => a - b));
      expect(heap.size).toBe(0);
    }),
  );
});

test("always shows the least of what it holds, whatever is pushed and popped in between", () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer({ min: 0, max: 20 }))), (steps) => {
      const heap = numbers();
      const model: number[] = [];
      for (const step of steps) {
        if (step === null) {
          expect(heap.pop()).toBe(model.shift());
        } else {
          heap.push(step);
          model.push(step);
          model.sort((a, b) => a - b);
        }
        expect(heap.peek()).toBe(model[0]);
        expect(heap.size).toBe(model.length);
      }
    }),
  );
});

test("sorts by the order that it was given", () => {
  const heap = new Heap<string>((a, b) => a.length < b.length);
  for (const word of ["three", "a", "to"]) heap.push(word);
  expect(drain(heap)).toEqual(["a", "to", "three"]);
});

test("gives nothing when it is empty", () => {
  expect(numbers().peek()).toBeUndefined();
  expect(numbers().pop()).toBeUndefined();
});
