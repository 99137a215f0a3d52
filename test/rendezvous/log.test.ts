import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Address } from "../../src/protocol/address.js";
import { Directory, type LogEntry } from "../../src/rendezvous/log.js";

function joined(revision: number, address: Address): LogEntry {
  return { type: "joined", address, dialect: "classic", revision };
}

function left(revision: number, order: number): LogEntry {
  return { type: "left", order, reason: "closed its connection", revision };
}

function fold(...entries: readonly LogEntry[]): Directory {
  const directory = new Directory();
  for (const entry of entries) directory.apply(entry);
  return directory;
}

describe("Directory", () => {
  test("is empty before the first entry", () => {
    const directory = fold();
    expect([directory.revision, directory.size, directory.addresses]).toEqual([0, 0, []]);
  });

  test("lists the members in the order in which they joined", () => {
    const directory = fold(joined(1, "10.0.0.3:1"), joined(2, "10.0.0.1:1"), joined(3, "10.0.0.2:1"));
    expect(directory.addresses).toEqual(["10.0.0.3:1", "10.0.0.1:1", "10.0.0.2:1"]);
    expect(directory.revision).toBe(3);
  });

  test("gives a member the revision of its entry as its order, for life", () => {
    const directory = fold(joined(7, "10.0.0.1:1"), joined(9, "10.0.0.2:1"), left(10, 7));
    expect(directory.member(9)).toEqual({ address: "10.0.0.2:1", order: 9, dialect: "classic" });
    expect(directory.member(7)).toBeUndefined();
  });

  test("takes out who has left or is lost, by order", () => {
    const lost: LogEntry = { type: "lost", order: 2, reason: "ECONNRESET", revision: 5 };
    const directory = fold(joined(1, "10.0.0.1:1"), joined(2, "10.0.0.2:1"), joined(3, "10.0.0.3:1"), left(4, 1), lost);
    expect(directory.addresses).toEqual(["10.0.0.3:1"]);
  });

  test("puts who joins again at the same address at the end", () => {
    const directory = fold(joined(1, "10.0.0.1:1"), joined(2, "10.0.0.2:1"), left(3, 1), joined(4, "10.0.0.1:1"));
    expect(directory.addresses).toEqual(["10.0.0.2:1", "10.0.0.1:1"]);
  });

  test("moves its revision also when an entry takes out nobody", () => {
    const directory = fold(joined(1, "10.0.0.1:1"), left(2, 99));
    expect([directory.revision, directory.size]).toEqual([2, 1]);
  });

  test("ignores entries that it has applied already, so that catching up may overlap", () => {
    const directory = fold(joined(1, "10.0.0.1:1"), left(2, 1), joined(1, "10.0.0.1:1"), joined(2, "10.0.0.9:1"));
    expect([directory.revision, directory.size]).toEqual([2, 0]);
  });

  test("is the same, however often a beginning of the log is applied again", () => {
    const entries = fc.array(fc.integer({ min: 1, max: 20 })).map((numbers) =>
      numbers.map((number, index): LogEntry => {
        const revision = index + 1;
        return number > 10 ? left(revision, number - 10) : joined(revision, `10.0.0.${number}:1`);
      }),
    );
    fc.assert(
      fc.property(entries, fc.nat(), (log, again) => {
        const overlap = log.slice(0, again % (log.length + 1));
        expect([...fold(...overlap, ...log).members]).toEqual([...fold(...log).members]);
      }),
    );
  });
});
