import { expect, test } from "vitest";
import { MemoryLog } from "../../src/runtime/memory-log.js";

test("gives each change the next revision, from 1 on", () => {
  const log = new MemoryLog<{ readonly name: string }>();
  expect([log.append({ name: "a" }), log.append({ name: "b" })]).toEqual([
    { name: "a", revision: 1 },
    { name: "b", revision: 2 },
  ]);
});

test("leaves the change that it was given as it was", () => {
  const change = { name: "a" };
  new MemoryLog<typeof change>().append(change);
  expect(change).toEqual({ name: "a" });
});
