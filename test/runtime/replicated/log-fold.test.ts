import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Entry, Id } from "../../../src/protocol/directory.js";
import { greatestClaim } from "../../../src/protocol/directory.js";
import { type FoldResult, LogFold } from "../../../src/runtime/replicated/log-fold.js";
import type { EntryContent, LogHead } from "../../../src/runtime/replicated/store-keys.js";
import { change, claimed, fact, first, gone, headWith, idOf, joined, replaced, second, unclaimed } from "./samples.js";

const limits = { tombstones: 4_096 };

/** A fold whose writers number their entries as they should. */
class Script {
  readonly fold: LogFold;
  readonly #numbers = new Map<Id, number>();

  constructor(head: LogHead = headWith(), fold = new LogFold(head, limits)) {
    this.fold = fold;
  }

  by(writer: Id, content: EntryContent): FoldResult | undefined {
    const number = (this.#numbers.get(writer) ?? 0) + 1;
    this.#numbers.set(writer, number);
    return this.fold.add(writer, number, content);
  }

  /** What has become of each, by the first writer. */
  all(...contents: readonly EntryContent[]): (FoldResult["type"] | undefined)[] {
    return contents.map((content) => this.by(first, content)?.type);
  }

  attachmentOf(id: number): number {
    return this.fold.state.attachments.find((each) => each.id === idOf(id))?.attachment ?? 0;
  }
}

/** No writer has entries in the store. */
const none: ReadonlyMap<string, unknown> = new Map();

const { appended, rejected, published } = { appended: "appended", rejected: "rejected", published: "published" };

describe("the fold of a shared log", () => {
  it("counts a newcomer unless its id is or was listed, or somebody has its address", () => {
    const script = new Script();
    expect(script.all(joined(1), joined(1), joined(2, { port: 4_001 }), gone("left", 1), joined(1), joined(2))).toEqual(
      [appended, rejected, rejected, appended, rejected, appended],
    );
  });

  it("takes no more members than a snapshot has room for, whatever they say of themselves", () => {
    const script = new Script();
    const newcomer = (id: number): EntryContent => {
      const meta = { text: "ä".repeat(500) };
      return change({ type: "joined", id: idOf(id), address: `10.0.0.1:${id}`, dialect: "native", name: "n", meta });
    };
    let count = 0;
    while (script.by(first, newcomer(count + 1))?.type === appended) count += 1;
    expect(count).toBeGreaterThan(500);
    const snapshot = script.fold.snapshot(1, none);
    expect(Buffer.byteLength(JSON.stringify(snapshot))).toBeLessThan(1_048_576);
    const again = new Script(headWith(), new LogFold(headWith(), limits, snapshot));
    for (const each of [script, again]) {
      expect(each.by(second, newcomer(2_000))?.type).toBe(rejected);
      expect(each.by(second, gone("left", 1))?.type).toBe(appended);
      expect(each.by(second, newcomer(2_001))?.type).toBe(appended);
    }
  });

  it("fills no more slots than there are, but lets a member of an earlier log back in", () => {
    const script = new Script(headWith({ capacity: 2 }));
    expect(script.all(joined(1), joined(2), joined(3), joined(4, { order: 7 }), replaced(1, 5))).toEqual([
      appended,
      appended,
      rejected,
      appended,
      appended,
    ]);
    expect(script.fold.state.members.map(({ id }) => id)).toEqual([idOf(4), idOf(2), idOf(5)]);
  });

  it("admits the ranks of a gang in their order, each one once at a time", () => {
    const script = new Script(headWith({ gangSize: 2 }));
    const ranked = (id: number, rank?: number): EntryContent => joined(id, rank === undefined ? {} : { rank });
    expect(
      script.all(ranked(1, 1), ranked(2), ranked(3, 0), ranked(4, 0), ranked(5, 1), ranked(6, 2), gone("left", 3)),
    ).toEqual([rejected, rejected, appended, rejected, appended, rejected, appended]);
    expect(script.all(ranked(7, 0), ranked(8, 1))).toEqual([appended, rejected]);
  });

  it("replaces who is listed at the same address, or of an earlier log, and corrects a classic member only at its server", () => {
    const classic = change({ type: "joined", id: idOf(1), address: "127.0.0.1:4001", dialect: "classic" });
    const script = new Script();
    expect(script.all(classic, joined(2))).toEqual([appended, appended]);
    expect(script.by(second, replaced(1, 3, 5_000, "classic"))?.type).toBe(rejected);
    expect(script.by(first, replaced(1, 3, 4_002, "classic"))?.type).toBe(rejected);
    expect(script.by(first, replaced(1, 3, 5_000, "classic"))?.type).toBe(appended);
    expect(script.by(first, replaced(2, 4, 5_001))?.type).toBe(rejected);
    // One of an earlier log, which is never listed again then.
    expect(script.all(replaced(9, 10), joined(9, { order: 5 }), replaced(9, 11))).toEqual([
      appended,
      rejected,
      rejected,
    ]);
  });

  it("lets nobody be lost who has come back since, at whatever server", () => {
    const script = new Script();
    script.all(joined(1));
    const judged = script.attachmentOf(1);
    expect(script.by(second, fact({ type: "attached", id: idOf(1) }))).toMatchObject({ attachment: 2 });
    expect(script.by(first, gone("lost", 1, judged))?.type).toBe(rejected);
    expect(script.by(first, fact({ type: "detached", id: idOf(1), judges: judged, reason: "test" }))?.type).toBe(
      rejected,
    );
    expect(script.fold.state.attachments).toEqual([{ id: idOf(1), server: second, attachment: 2 }]);
    expect(script.by(second, fact({ type: "detached", id: idOf(1), judges: 2, reason: "test" }))?.type).toBe(published);
    expect(script.fold.state.attachments).toEqual([{ id: idOf(1), server: undefined, attachment: 2 }]);
    expect(script.by(first, gone("lost", 1, 2))?.type).toBe(appended);
    expect(script.all(gone("lost", 1, 2), fact({ type: "attached", id: idOf(1) }))).toEqual([rejected, rejected]);
  });

  it("buries who was never listed here, once", () => {
    const script = new Script();
    expect(script.all(gone("lost", 1, 5), gone("left", 1), joined(1, { order: 3 }))).toEqual([
      appended,
      rejected,
      rejected,
    ]);
    expect(script.fold.state.removed).toEqual([idOf(1)]);
  });

  it("grants a key that is free, or to a newer claim of an earlier log, and ends only the claim that is meant", () => {
    const script = new Script();
    script.all(joined(1), joined(2));
    expect(script.all(claimed("k", 3), claimed("k", 1), claimed("k", 2), claimed("k", 2, 5))).toEqual([
      rejected,
      appended,
      rejected,
      rejected,
    ]);
    const [held] = script.fold.state.claims;
    expect(held).toEqual({ key: "k", holder: idOf(1), token: 1_003 });
    expect(script.by(first, claimed("k", 2, 2_000))?.type).toBe(appended);
    expect(
      script.all(unclaimed("k", held?.token), unclaimed("k", 2_000), unclaimed("k", 2_000), claimed("k", 1)),
    ).toEqual([rejected, appended, rejected, appended]);
    expect(script.fold.state.claims[0]?.token).toBeGreaterThan(2_000);
  });

  it("is forgotten unless somebody has joined or come back whom the writer of that did not know", () => {
    const script = new Script();
    const forgotten = (judges: number): EntryContent => {
      return fact({ type: "ended", kind: "forgotten", reason: "test", judges });
    };
    script.all(joined(1));
    const known = script.attachmentOf(1);
    expect(script.all(forgotten(0), joined(2), forgotten(known), gone("left", 2))).toEqual([
      rejected,
      appended,
      rejected,
      appended,
    ]);
    expect(script.all(fact({ type: "attached", id: idOf(1) }), forgotten(known))).toEqual([published, rejected]);
    expect(script.all(forgotten(script.attachmentOf(1)), joined(3))).toEqual([published, rejected]);
    expect(script.fold.snapshot(1, none).ended).toEqual({ kind: "forgotten", reason: "test" });
  });

  it("counts nothing behind the end", () => {
    const script = new Script();
    script.all(joined(1), fact({ type: "ended", kind: "teardown", reason: "test" }));
    expect(
      script.all(
        joined(2),
        gone("left", 1),
        fact({ type: "attached", id: idOf(1) }),
        fact({ type: "ended", kind: "release", reason: "again" }),
      ),
    ).toEqual([rejected, rejected, rejected, rejected]);
    expect(script.fold.state.ended).toEqual({ type: "ended", kind: "teardown", reason: "test" });
  });

  it("takes a report only on the attachment that the member has, from its server", () => {
    const { fold } = new Script();
    fold.add(first, 1, joined(1));
    const report = { number: 2, attachment: 1, up: [], down: [] };
    expect(fold.report(idOf(1), second, report)).toBeUndefined();
    expect(fold.report(idOf(1), first, { ...report, attachment: 2 })).toBeUndefined();
    expect(fold.report(idOf(1), first, report)).toEqual({
      type: "reported",
      id: idOf(1),
      attachment: 1,
      report: { up: [], down: [] },
    });
    expect(fold.state.reports).toHaveLength(1);
    fold.add(second, 1, fact({ type: "attached", id: idOf(1) }));
    expect(fold.state.reports).toHaveLength(0);
  });

  it("moves revisions above what changes carry from earlier logs, but not without bound", () => {
    const { fold } = new Script();
    const revisionAfter = (number: number, content: EntryContent): number => {
      fold.add(first, number, content);
      return fold.revision;
    };
    expect(revisionAfter(1, joined(1))).toBe(1_001);
    expect(revisionAfter(2, change({ type: "left", id: idOf(7), reason: "test" }, undefined, 5_000))).toBe(5_001);
    expect(revisionAfter(3, joined(2, { order: 6_000 }))).toBe(6_001);
    expect(revisionAfter(4, change({ type: "left", id: idOf(8), reason: "test" }, undefined, 2 ** 53 - 1))).toBe(
      1_001 + 2 ** 50,
    );
  });

  it("goes no further above the clock, however often a log follows one that went so far", () => {
    const clock = 1_800_000_000_000_000;
    let reached = clock;
    for (let round = 0; round < 20; round += 1) {
      const fold = new LogFold({ ...headWith({}, reached), clock }, limits);
      fold.add(first, 1, joined(1, { order: greatestClaim }));
      reached = fold.revision;
    }
    expect(reached).toBeLessThan(clock + 2 ** 50 + 100);
  });

  it("remembers the newest writers, and those whose entries a snapshot leaves in the store", () => {
    const { fold } = new Script();
    const writer = (index: number): string => idOf(1_000 + index);
    for (let index = 0; index < 200; index += 1) fold.add(writer(index), 1, joined(1));
    const snapshot = fold.snapshot(1, new Map([[writer(3), 1]]));
    const named = snapshot.writers.map(([id]) => id);
    expect(named).toEqual([writer(3), ...Array.from({ length: 64 }, (_, index) => writer(136 + index))]);
    fold.add(writer(200), 1, joined(1));
    fold.forgetWriters(snapshot);
    expect([3, 4, 135, 136, 199, 200].map((index) => fold.outcomeOf(writer(index), 1))).toEqual([
      false,
      undefined,
      undefined,
      false,
      false,
      false,
    ]);
  });

  it("knows what became of the newest entries of a writer", () => {
    const { fold } = new Script();
    fold.add(first, 1, joined(1));
    fold.add(first, 2, joined(1));
    expect([1, 2, 3].map((number) => fold.outcomeOf(first, number))).toEqual([true, false, undefined]);
    const restored = new LogFold(fold.head, limits, fold.snapshot(1, none));
    expect([1, 2, 3].map((number) => restored.outcomeOf(first, number))).toEqual([true, false, undefined]);
  });
});

/** Entries that collide often. */
const contents: fc.Arbitrary<EntryContent> = fc.oneof(
  fc
    .record({
      id: fc.integer({ min: 1, max: 12 }),
      port: fc.integer({ min: 4_001, max: 4_006 }),
      carried: fc.integer({ min: 0, max: 3 }),
    })
    .map(({ id, port, carried }) => joined(id, carried === 1 ? { port, order: 900 + id } : { port })),
  fc
    .record({ old: fc.integer({ min: 1, max: 12 }), id: fc.integer({ min: 1, max: 12 }) })
    .map(({ old, id }) => replaced(old, id, 4_001 + (old % 6))),
  fc
    .record({
      type: fc.constantFrom("left" as const, "lost" as const),
      id: fc.integer({ min: 1, max: 12 }),
      judges: fc.option(fc.integer({ min: 1, max: 30 })),
    })
    .map(({ type, id, judges }) => gone(type, id, judges ?? undefined)),
  fc.integer({ min: 1, max: 12 }).map((id) => fact({ type: "attached", id: idOf(id) })),
  fc
    .record({ id: fc.integer({ min: 1, max: 12 }), judges: fc.integer({ min: 1, max: 30 }) })
    .map(({ id, judges }) => fact({ type: "detached", id: idOf(id), judges, reason: "test" })),
  fc
    .record({
      key: fc.constantFrom("a", "b"),
      holder: fc.integer({ min: 1, max: 12 }),
      token: fc.option(fc.integer({ min: 900, max: 1_100 })),
    })
    .map(({ key, holder, token }) => claimed(key, holder, token ?? undefined)),
  fc
    .record({ key: fc.constantFrom("a", "b"), judges: fc.option(fc.integer({ min: 900, max: 1_100 })) })
    .map(({ key, judges }) => unclaimed(key, judges ?? undefined)),
);

const streams = fc.array(fc.record({ writer: fc.constantFrom(first, second), content: contents }), { maxLength: 60 });

interface Numbered {
  readonly writer: Id;
  readonly number: number;
  readonly content: EntryContent;
}

function numbered(stream: readonly { readonly writer: Id; readonly content: EntryContent }[]): Numbered[] {
  const numbers = new Map<Id, number>();
  return stream.map(({ writer, content }) => {
    const number = (numbers.get(writer) ?? 0) + 1;
    numbers.set(writer, number);
    return { writer, number, content };
  });
}

function foldAll(entries: readonly Numbered[], fold = new LogFold(headWith({ capacity: 4 }), limits)): LogFold {
  for (const { writer, number, content } of entries) fold.add(writer, number, content);
  return fold;
}

describe("the fold of any stream of entries", () => {
  it("is the same from any snapshot on", () => {
    fc.assert(
      fc.property(streams, fc.nat(60), (stream, cut) => {
        const entries = numbered(stream);
        const whole = foldAll(entries);
        const before = foldAll(entries.slice(0, cut));
        const stored = JSON.parse(JSON.stringify(before.snapshot(9, none)));
        // Those that the snapshot covers may still be there, too.
        const rest = foldAll(entries, new LogFold(before.head, limits, stored));
        expect(rest.state).toEqual(whole.state);
        expect(rest.snapshot(10, none)).toEqual(whole.snapshot(10, none));
      }),
    );
  });

  it("is not changed by entries that come again, at any later place, whatever they say", () => {
    fc.assert(
      fc.property(
        streams,
        fc.array(fc.record({ of: fc.nat(59), at: fc.nat(60), instead: fc.option(contents) })),
        (stream, again) => {
          const entries = numbered(stream);
          const replayed = entries.map((entry): Numbered[] => [entry]);
          for (const { of, at, instead } of again) {
            const entry = entries[Math.min(of, at)];
            if (entry !== undefined) replayed[Math.max(of, at)]?.push({ ...entry, content: instead ?? entry.content });
          }
          expect(foldAll(replayed.flat()).snapshot(1, none)).toEqual(foldAll(entries).snapshot(1, none));
        },
      ),
    );
  });

  it("never lists an id again, gives no order or token twice, and keeps to the capacity and to one member an address", () => {
    fc.assert(
      fc.property(streams, (stream) => {
        const fold = new LogFold(headWith({ capacity: 4 }), limits);
        const buried = new Set<Id>();
        const given = new Set<number>();
        for (const { writer, number, content } of numbered(stream)) {
          const before = fold.state;
          const result = fold.add(writer, number, content);
          checkMembers(before, fold.state, buried);
          const granted = result?.type === "appended" ? grantedBy(result.entry, content) : undefined;
          if (granted !== undefined) checkGranted(granted, before, fold.state, given);
        }
      }),
    );
  });
});

type FoldState = LogFold["state"];

function checkMembers(before: FoldState, { members, revision }: FoldState, buried: Set<Id>): void {
  const listed = new Set(members.map(({ id }) => id));
  for (const { id } of before.members) if (!listed.has(id)) buried.add(id);
  expect([...listed].filter((id) => buried.has(id))).toEqual([]);
  expect(new Set(members.map(({ address }) => address)).size).toBe(members.length);
  if (JSON.stringify(members) !== JSON.stringify(before.members)) expect(revision).toBeGreaterThan(before.revision);
}

function checkGranted(granted: number, before: FoldState, { members, revision }: FoldState, given: Set<number>): void {
  expect(granted).toBe(revision);
  expect(given.has(granted)).toBe(false);
  given.add(granted);
  expect(before.members.every(({ order }) => order < granted)).toBe(true);
  expect(before.claims.every(({ token }) => token < granted)).toBe(true);
  expect(members.length).toBeLessThanOrEqual(Math.max(4, before.members.length));
}

/** The order or the token that the log has given with an entry, not one that its change has carried. */
function grantedBy(entry: Entry, content: EntryContent): number | undefined {
  if (!("change" in content)) return undefined;
  const { change } = content;
  if (entry.type === "joined" || entry.type === "replaced")
    return "order" in change && change.order !== undefined ? undefined : entry.order;
  if (entry.type === "claimed") return entry.token === undefined ? entry.revision : undefined;
  return undefined;
}
