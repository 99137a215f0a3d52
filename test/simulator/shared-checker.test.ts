import { describe, expect, it } from "vitest";
import { SharedChecker } from "../../simulator/shared/checker.js";
import type { SharedContext, SharedMemberRun } from "../../simulator/shared/context.js";
import type { Entry } from "../../src/protocol/directory.js";

function setUp(): { readonly checker: SharedChecker; readonly found: string[] } {
  const found: string[] = [];
  const violate: SharedContext["violate"] = (invariant) => found.push(invariant);
  const context = { violate, count: () => {}, scenario: { capacity: 9 } } as unknown as SharedContext;
  return { checker: new SharedChecker(context), found };
}

function claimed(revision: number, token = revision): Entry {
  return { type: "claimed", key: "job", holder: "m", revision, ...(token === revision ? {} : { token }) };
}

describe("the checker of servers that share their logs", () => {
  it("finds tokens that do not rise, in the order of the log and not in that in which servers show it", () => {
    const { checker, found } = setUp();
    checker.appended("server 0", "log", claimed(11), []);
    checker.appended("server 1", "log", claimed(7), []);
    expect(found).toEqual([]);
    checker.appended("server 1", "log", claimed(12, 9), []);
    expect(found).toEqual(["S11"]);
    checker.appended("server 2", "log", claimed(8, 13), []);
    expect(found.length).toBeGreaterThan(1);
  });

  it("lets a member end its links that was removed as whom it had them", () => {
    const { checker, found } = setUp();
    const [fenced, peer] = ["fenced", "peer"].map((id) => ({ id, isOver: false }) as unknown as SharedMemberRun);
    if (fenced === undefined || peer === undefined) throw new Error("nobody");
    checker.drawn("peer", peer);
    checker.appended("server 0", "log", { type: "left", id: "former", reason: "left", revision: 1 }, []);
    checker.unlinked(fenced, "former", "peer", "join anew");
    expect(found).toEqual([]);
    checker.unlinked(fenced, "fenced", "peer", "no longer in the directory");
    expect(found).toEqual(["N17"]);
  });
});
