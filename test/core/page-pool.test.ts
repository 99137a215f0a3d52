import { describe, expect, test } from "vitest";
import { PagePool, pageBytes } from "../../src/core/page-pool.js";

function start(): { pages: PagePool; allocated: number[] } {
  const allocated: number[] = [];
  const pages = new PagePool((bytes) => {
    allocated.push(bytes);
    return new Uint8Array(bytes);
  });
  return { pages, allocated };
}

describe("pages", () => {
  test("are made when they are wanted, all of one length", () => {
    const { pages, allocated } = start();
    expect(allocated).toEqual([]);
    const taken = [pages.take(), pages.take()];
    expect(allocated).toEqual([pageBytes, pageBytes]);
    for (const { memory, uses } of taken) expect([memory.length, uses]).toEqual([pageBytes, 0]);
    expect(taken[0]?.memory).not.toBe(taken[1]?.memory);
  });

  test("that were given back are taken again, the last one first", () => {
    const { pages, allocated } = start();
    const [first, second] = [pages.take(), pages.take()];
    pages.give(first);
    pages.give(second);
    expect(pages.take()).toBe(second);
    expect(pages.take()).toBe(first);
    pages.take();
    expect(allocated).toHaveLength(3);
  });

  test("are kept only so many, whatever a burst has needed", () => {
    const { pages, allocated } = start();
    const burst = Array.from({ length: 1_000 }, () => pages.take());
    for (const page of burst) pages.give(page);
    const before = allocated.length;
    const again = Array.from({ length: 1_000 }, () => pages.take());
    expect(new Set(again.map(({ memory }) => memory)).size).toBe(1_000);
    expect(allocated.length - before).toBe(1_000 - 64);
  });
});
