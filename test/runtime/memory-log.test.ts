import { expect, test } from "vitest";
import type { LogAnswer } from "../../src/rendezvous/types.js";
import { MemoryLog } from "../../src/runtime/memory-log.js";
import { describeMembershipLog } from "./membership-log.js";

describeMembershipLog("the log in memory", (answer) => ({ log: new MemoryLog(answer), settled: () => {} }));

test("the log in memory gives out revisions without a gap, from the one behind that of the first append", () => {
  const answers: LogAnswer[] = [];
  const log = new MemoryLog((answer) => answers.push(answer));
  const change = { type: "left", id: "aa", reason: "done" } as const;
  log.append({ mesh: "default", key: 1, after: 41, change });
  log.append({ mesh: "default", key: 2, after: 41, change });
  log.append({ mesh: "default", key: 3, after: 43, change });
  expect(answers.map((answer) => answer.type === "appended" && answer.entry.revision)).toEqual([42, 43, 44]);
});
