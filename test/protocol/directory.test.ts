import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Change,
  compareMembers,
  Directory,
  type Entry,
  entryOf,
  type Id,
  type Member,
} from "../../src/protocol/directory.js";

/** An id that can be told from others at a glance. */
function idOf(digit: number): Id {
  return digit.toString(16).repeat(32).slice(0, 32);
}

function candidate(digit: number, more: Partial<Member> = {}): Omit<Member, "order"> {
  return { id: idOf(digit), address: `10.0.0.${digit}:4000`, dialect: "native", ...more };
}

/** The entries that these changes become, from revision 1 on. */
function logOf(...changes: readonly Change[]): Entry[] {
  return changes.map((change, index) => entryOf(change, index + 1));
}

function fold(entries: readonly Entry[]): Directory {
  const directory = new Directory();
  for (const entry of entries) directory.apply(entry);
  return directory;
}

function ids(directory: Directory): Id[] {
  return directory.members.map(({ id }) => id);
}

describe("an entry", () => {
  test("gives a newcomer its revision as its order, and a departure none", () => {
    expect(entryOf({ type: "joined", ...candidate(1) }, 7)).toEqual({
      type: "joined",
      revision: 7,
      order: 7,
      ...candidate(1),
    });
    expect(entryOf({ type: "replaced", replaces: idOf(1), ...candidate(2) }, 8)).toMatchObject({
      order: 8,
      revision: 8,
    });
    expect(entryOf({ type: "lost", id: idOf(1), reason: "silent" }, 9)).toEqual({
      type: "lost",
      revision: 9,
      id: idOf(1),
      reason: "silent",
    });
  });
});

describe("the directory", () => {
  test("holds those who have joined and not gone, in join order", () => {
    const directory = fold(
      logOf(
        { type: "joined", ...candidate(3) },
        { type: "joined", ...candidate(1) },
        { type: "joined", ...candidate(2) },
        { type: "left", id: idOf(1), reason: "SIGTERM" },
        { type: "lost", id: idOf(3), reason: "silent" },
        { type: "joined", ...candidate(4) },
      ),
    );
    expect(ids(directory)).toEqual([idOf(2), idOf(4)]);
    expect(directory.size).toBe(2);
    expect(directory.revision).toBe(6);
    expect(directory.member(idOf(2))).toEqual({ order: 3, ...candidate(2) });
    expect(directory.member(idOf(1))).toBeUndefined();
  });

  test("puts a new incarnation in the place of the old one in one step, at the end of the order", () => {
    const [first, second, replaced] = logOf(
      { type: "joined", ...candidate(1) },
      { type: "joined", ...candidate(2) },
      { type: "replaced", replaces: idOf(1), ...candidate(3, { address: "10.0.0.1:4000" }) },
    ) as [Entry, Entry, Entry];
    const directory = fold([first, second]);
    expect(directory.apply(replaced)).toBe(true);
    expect(ids(directory)).toEqual([idOf(2), idOf(3)]);
    expect(directory.member(idOf(3))?.address).toBe("10.0.0.1:4000");
  });

  test("keeps of an entry what belongs to the member, and nothing else", () => {
    const entry = {
      type: "joined",
      revision: 5,
      order: 5,
      ...candidate(1, { name: "one", meta: { zone: "b" } }),
    } as const;
    const directory = fold([entry, entryOf({ type: "joined", ...candidate(2) }, 6)]);
    expect(directory.members).toEqual([
      { order: 5, ...candidate(1, { name: "one", meta: { zone: "b" } }) },
      { order: 6, ...candidate(2) },
    ]);
    expect(Object.keys(directory.members[1] ?? {}).sort()).toEqual(["address", "dialect", "id", "order"]);
  });

  test("takes no entry twice, and none that is older than what it has", () => {
    const entries = logOf({ type: "joined", ...candidate(1) }, { type: "lost", id: idOf(1), reason: "silent" });
    const directory = fold(entries);
    expect(entries.map((entry) => directory.apply(entry))).toEqual([false, false]);
    expect(directory.size).toBe(0);
    expect(directory.revision).toBe(2);
  });

  test("begins behind the revision that it is given", () => {
    const directory = new Directory(100);
    expect(directory.apply(entryOf({ type: "joined", ...candidate(1) }, 100))).toBe(false);
    expect(directory.apply(entryOf({ type: "joined", ...candidate(1) }, 101))).toBe(true);
  });

  test("shrugs off the departure of somebody whom it does not know", () => {
    const directory = fold(logOf({ type: "joined", ...candidate(1) }, { type: "left", id: idOf(9), reason: "bye" }));
    expect(ids(directory)).toEqual([idOf(1)]);
    expect(directory.revision).toBe(2);
  });

  test("gives the same array until something changes", () => {
    const directory = fold(logOf({ type: "joined", ...candidate(1) }));
    const before = directory.members;
    expect(directory.members).toBe(before);
    directory.apply(entryOf({ type: "joined", ...candidate(2) }, 2));
    expect(directory.members).not.toBe(before);
    expect(before).toHaveLength(1);
  });

  test("takes a whole state instead, also an older one, as another log may have it", () => {
    const directory = fold(logOf({ type: "joined", ...candidate(1) }, { type: "joined", ...candidate(2) }));
    const members = [
      { order: 9, ...candidate(5) },
      { order: 4, ...candidate(6) },
    ];
    directory.restore(members, 1);
    expect(ids(directory)).toEqual([idOf(6), idOf(5)]);
    expect(directory.revision).toBe(1);
    expect(directory.apply(entryOf({ type: "joined", ...candidate(7) }, 2))).toBe(true);
  });
});

describe("the join order", () => {
  test("is that of the orders, and ids break a tie", () => {
    const a: Member = { order: 1, ...candidate(5) };
    const b: Member = { order: 2, ...candidate(1) };
    const c: Member = { order: 2, ...candidate(3) };
    expect([c, b, a].sort(compareMembers)).toEqual([a, b, c]);
    expect(compareMembers(b, b)).toBe(0);
  });
});

/** A history in which nobody joins twice and only members go. */
const histories = fc.array(fc.nat({ max: 3 }), { maxLength: 40 }).map((dice) => {
  const entries: Entry[] = [];
  const living: Id[] = [];
  for (const [index, roll] of dice.entries()) {
    const newcomer = { ...candidate(1), id: (index + 1).toString(16).padStart(32, "0") };
    const gone = roll > 0 ? living.splice(roll % Math.max(living.length, 1), 1)[0] : undefined;
    if (gone === undefined || roll === 3) living.push(newcomer.id);
    if (gone === undefined) entries.push(entryOf({ type: "joined", ...newcomer }, index + 1));
    else if (roll === 3) entries.push(entryOf({ type: "replaced", replaces: gone, ...newcomer }, index + 1));
    else entries.push(entryOf({ type: roll === 1 ? "left" : "lost", id: gone, reason: "r" }, index + 1));
  }
  return { entries, living };
});

describe("any history", () => {
  test("folds to those who live, in the order in which they joined", () => {
    fc.assert(
      fc.property(histories, ({ entries, living }) => {
        const directory = fold(entries);
        expect(ids(directory)).toEqual([...living].sort());
        expect(directory.size).toBe(living.length);
        expect(directory.members.map(({ order }) => order)).toEqual(
          directory.members.map(({ order }) => order).toSorted((a, b) => a - b),
        );
      }),
    );
  });

  test("comes to the same with entries repeated, and with a state instead of its beginning", () => {
    fc.assert(
      fc.property(histories, fc.nat(), fc.nat(), ({ entries }, place, step) => {
        const whole = fold(entries);
        const at = place % (entries.length + 1);
        const start = fold(entries.slice(0, at));
        const resumed = new Directory();
        resumed.restore(start.members, start.revision);
        for (const entry of entries.slice(Math.max(0, at - (step % 10)))) resumed.apply(entry);
        expect(resumed.members).toEqual(whole.members);
        expect(resumed.revision).toBe(whole.revision);
      }),
    );
  });
});
