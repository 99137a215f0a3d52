import { expect, test } from "vitest";
import type { Change } from "../../src/protocol/directory.js";
import { MemoryLog } from "../../src/runtime/memory-log.js";

const joined: Change = { type: "joined", id: "aa", address: "127.0.0.1:4000", dialect: "native" };

test("gives each change the next revision, from 1 on, which is also the order of a new member", () => {
  const log = new MemoryLog();
  const left: Change = { type: "left", id: "aa", reason: "done" };
  const replaced: Change = { ...joined, type: "replaced", replaces: "aa", id: "bb" };
  expect([joined, left, replaced].map((change) => log.append(change))).toEqual([
    { ...joined, order: 1, revision: 1 },
    { ...left, revision: 2 },
    { ...replaced, order: 3, revision: 3 },
  ]);
});

test("goes on from the revision that it is given", () => {
  expect(new MemoryLog(41).append(joined)).toMatchObject({ order: 42, revision: 42 });
});

test("leaves the change that it was given as it was", () => {
  const change = { ...joined };
  new MemoryLog().append(change);
  expect(change).toEqual(joined);
});
