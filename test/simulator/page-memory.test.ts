import { expect, test } from "vitest";
import { PageMemory } from "../../simulator/page-memory.js";
import { pageBytes } from "../../src/core/page-pool.js";

test("a page serves the next play, and is empty then", () => {
  const first = new PageMemory();
  const page = first.allocate(pageBytes);
  page.fill(7);
  expect(first.allocate(pageBytes)).not.toBe(page);
  first.release();

  const next = new PageMemory();
  const pages = [next.allocate(pageBytes), next.allocate(pageBytes)];
  expect(pages).toContain(page);
  expect(page.every((byte) => byte === 0)).toBe(true);
});
