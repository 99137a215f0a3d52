import { describe, expect, test } from "vitest";
import { FairQueue } from "../../src/core/fair-queue.js";

function takeAll(queue: FairQueue<string>): string[] {
  const taken: string[] = [];
  for (let item = queue.take(); item !== undefined; item = queue.take()) taken.push(item);
  return taken;
}

describe("a fair queue", () => {
  test("gives groups their turns, and is first come, first served within one", () => {
    const queue = new FairQueue<string>();
    for (const item of ["a1", "a2", "a3", "b1", "b2"]) queue.add(item, [item.slice(0, 1)]);
    expect(takeAll(queue)).toEqual(["a1", "b1", "a2", "b2", "a3"]);
  });

  test("gives the groups of a group their turns, whenever it has its own", () => {
    const queue = new FairQueue<string>();
    for (const item of ["ax1", "ax2", "ax3", "ay1", "bx1", "bx2"]) {
      queue.add(item, [item.slice(0, 1), item.slice(1, 2)]);
    }
    expect(takeAll(queue)).toEqual(["ax1", "bx1", "ay1", "bx2", "ax2", "ax3"]);
  });

  test("lets a group that comes anew wait for one turn of each other", () => {
    const queue = new FairQueue<string>();
    for (const item of ["a1", "a2", "a3"]) queue.add(item, ["a"]);
    expect(queue.take()).toBe("a1");
    queue.add("b1", ["b"]);
    expect(takeAll(queue)).toEqual(["a2", "b1", "a3"]);
  });

  test("counts what waits, and gives up what is taken out before its turn", () => {
    const queue = new FairQueue<string>();
    queue.add("a1", ["a", "x"]);
    queue.add("a1", ["a", "x"]);
    queue.add("b1", ["b", "x"]);
    expect(queue.size).toBe(2);
    expect(queue.delete("a1", ["a", "y"])).toBe(false);
    expect(queue.delete("a1", ["a", "x"])).toBe(true);
    expect(queue.delete("a1", ["a", "x"])).toBe(false);
    expect(queue.size).toBe(1);
    expect(takeAll(queue)).toEqual(["b1"]);
    expect(queue.size).toBe(0);
    queue.add("c1", ["c"]);
    queue.clear();
    expect(queue.take()).toBeUndefined();
  });
});
