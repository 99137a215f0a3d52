import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Departure, MemberStatus, MeshStatus } from "../../src/protocol/status.js";
import { changesBetween, withChange } from "../../src/protocol/status-changes.js";

const address = fc.nat({ max: 8 }).map((port) => `10.0.0.1:${port + 1}` as const);

/** A status: some members in join order, some of their pairs, some claims. */
const statuses = fc
  .record({
    who: fc.uniqueArray(fc.record({ address, incarnation: fc.nat({ max: 2 }), state: fc.nat({ max: 3 }) }), {
      selector: (row) => row.address,
    }),
    missing: fc.array(fc.tuple(fc.nat({ max: 8 }), fc.nat({ max: 8 }), fc.nat({ max: 3 })), { maxLength: 6 }),
    claims: fc.uniqueArray(fc.constantFrom("x", "y", "z")),
    gone: fc.nat({ max: 5 }),
    complete: fc.boolean(),
  })
  .map(({ who, missing, claims, gone, complete }): MeshStatus => {
    const states = ["member", "suspect", "expected", "waiting"] as const;
    const sorted = [...who].sort((a, b) => (a.state < 2 ? 0 : a.state) - (b.state < 2 ? 0 : b.state));
    const members = sorted.map(({ address, incarnation, state }, at): MemberStatus => {
      const isListed = state < 2;
      const order = isListed ? at + 1 : null;
      const rank = isListed ? at : null;
      const id = `${address} ${incarnation}`;
      return { address, id, order, rank, dialect: "native", state: states[state] ?? "member", since: at };
    });
    const listed = members.filter(({ rank }) => rank !== null);
    const pairs = new Map<string, MeshStatus["missing"][number]>();
    for (const [x, y, attempt] of missing) {
      const [a, b] = [listed[Math.min(x, y)], listed[Math.max(x, y)]];
      if (a === undefined || b === undefined || a === b) continue;
      const row = { a: a.address, b: b.address, stage: "dialing", attempt, reason: "", since: 0 } as const;
      pairs.set(`${row.a} ${row.b}`, { ...row, owner: a.address });
    }
    const departure = (at: number): Departure => ({ type: "lost", address: "10.0.0.2:1", order: at, reason: "", at });
    return {
      mesh: "default",
      revision: 1,
      complete,
      gathering: false,
      members,
      links: { expected: 0, up: 0 },
      missing: [...pairs.values()],
      claims: claims.map((key) => ({ key, holder: "10.0.0.1:1", token: 1, since: 0, waiting: 0 })),
      recent: Array.from({ length: gone }, (_, at) => departure(at)),
      server: { version: "0.0.0", startedAt: 0, connections: 0, refusals: {} },
    };
  });

/** The order of rows that have none of their own does not matter. */
function sorted(status: MeshStatus): unknown {
  const byText = (rows: readonly unknown[]): string[] => rows.map((row) => JSON.stringify(row)).sort();
  return { ...status, missing: byText(status.missing), claims: byText(status.claims), recent: [] };
}

describe("the changes between two looks at a mesh", () => {
  test("make the later status of the earlier one", () => {
    const check = fc.property(statuses, statuses, (before, after) => {
      const made = changesBetween(before, after).reduce((status, change) => withChange(status, change), before);
      expect(sorted(made)).toEqual(sorted(after));
    });
    fc.assert(check, { numRuns: 2_000 });
  });

  test("are none between a status and itself", () => {
    fc.assert(fc.property(statuses, (status) => changesBetween(status, status).length === 0));
  });

  test("name each departure once, also where the oldest are not kept any more", () => {
    fc.assert(
      fc.property(statuses, fc.nat({ max: 5 }), (status, dropped) => {
        const later = { ...status, recent: status.recent.slice(Math.min(dropped, status.recent.length - 1)) };
        const departed = changesBetween(status, later).filter(({ type }) => type === "departed");
        return departed.length === 0 || status.recent.length === 0;
      }),
    );
  });
});
