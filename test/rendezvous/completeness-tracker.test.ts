import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import type { Dialect, Id } from "../../src/protocol/directory.js";
import type { LinkStage } from "../../src/protocol/missing-pair.js";
import { CompletenessTracker } from "../../src/rendezvous/completeness-tracker.js";
import type { MemberRecord } from "../../src/rendezvous/member-record.js";
import { MemberSession } from "../../src/rendezvous/member-session.js";
import { Members } from "../../src/rendezvous/members.js";

const session = new MemberSession("in:1", { host: "127.0.0.1", port: 40_000 }, defaultLimits, { push: () => {} });

function idOf(order: number): Id {
  return `id of ${order}`;
}

/** The counts, and the members whose pairs they count. */
class Counted extends CompletenessTracker {
  readonly members: Members;
  readonly removed: Set<Id>;

  constructor() {
    const members = new Members("default", 0, defaultLimits.tombstones);
    const removed = new Set<Id>();
    super(members, defaultLimits, (id) => removed.has(id));
    this.removed = removed;
    this.members = members;
  }

  /** The next member joins, with a session. */
  join(dialect: Dialect = "native"): MemberRecord {
    const order = this.members.directory.revision + 1;
    const member = { id: idOf(order), order, address: `127.0.0.1:${14_000 + order}` as const, dialect };
    const record = this.members.apply({ type: "joined", revision: order, ...member })?.entered;
    if (record === undefined) throw new Error("it is not listed");
    record.session = session;
    this.enter(record, 0);
    return record;
  }

  leave({ id }: MemberRecord): MemberRecord[] {
    const revision = this.members.directory.revision + 1;
    const removed = this.members.apply({ type: "left", id, reason: "enough", revision })?.removed;
    this.removed.add(id);
    return removed === undefined ? [] : this.remove(removed, 0);
  }
}

/** The same, worked out from scratch at every question. */
class Plainly {
  readonly members = new Map<number, MemberRecord>();
  readonly up = new Map<string, number>();

  said(from: number, about: number): number | undefined {
    return this.up.get(`${from} ${about}`);
  }

  get pairs(): { readonly isAttestable: boolean; readonly isAttested: boolean }[] {
    const members = [...this.members.values()];
    return members.flatMap((a, index) =>
      members.slice(index + 1).map((b) => {
        const [there, back] = [this.said(a.order, b.order), this.said(b.order, a.order)];
        const natives = [a, b].filter(({ dialect }) => dialect === "native").length;
        const isAttested = natives === 2 ? there !== undefined && there === back : (there ?? back) !== undefined;
        return { isAttestable: natives > 0, isAttested };
      }),
    );
  }
}

type Step =
  | { readonly do: "enter"; readonly isNative: boolean }
  | { readonly do: "remove"; readonly who: number }
  | {
      readonly do: "report";
      readonly who: number;
      readonly isFull: boolean;
      readonly up: readonly (readonly [number, number])[];
      readonly down: readonly number[];
    };

const who = fc.nat({ max: 7 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant("enter" as const), isNative: fc.boolean() }),
  fc.record({ do: fc.constant("remove" as const), who }),
  fc.record({
    do: fc.constant("report" as const),
    who,
    isFull: fc.boolean(),
    up: fc.array(fc.tuple(who, fc.integer({ min: 1, max: 2 })), { maxLength: 8 }),
    down: fc.array(who, { maxLength: 3 }),
  }),
);

/** A report, taken by both. Those that it names are picked from the members there are. */
function report(
  each: Extract<Step, { do: "report" }>,
  subject: MemberRecord,
  counted: Counted,
  plainly: Plainly,
): void {
  const known = [...plainly.members.keys()];
  const orderOf = (index: number): number => known[index % known.length] ?? 0;
  const up = each.up.map(([index, attempt]): [number, number] => [orderOf(index), attempt]);
  const down = each.down.map(orderOf);
  if (each.isFull) for (const other of known) plainly.up.delete(`${subject.order} ${other}`);
  for (const [other, attempt] of up) if (other !== subject.order) plainly.up.set(`${subject.order} ${other}`, attempt);
  for (const other of down) plainly.up.delete(`${subject.order} ${other}`);
  const said = {
    up: up.map(([order, attempt]): [Id, number] => [idOf(order), attempt]),
    down: down.map((order): [Id, LinkStage, number, string] => [idOf(order), "dialing", 1, "refused"]),
  };
  counted.report(subject, each.isFull ? { full: true, ...said } : said, 0);
}

/** One step, taken by both. */
function take(each: Step, counted: Counted, plainly: Plainly): void {
  if (each.do === "enter") {
    const newcomer = counted.join(each.isNative ? "native" : "classic");
    plainly.members.set(newcomer.order, newcomer);
    return;
  }
  const known = [...plainly.members.values()];
  const subject = known[each.who % Math.max(1, known.length)];
  if (subject === undefined) return;
  if (each.do === "remove") {
    plainly.members.delete(subject.order);
    counted.leave(subject);
  } else if (subject.dialect === "native") {
    report(each, subject, counted, plainly);
  }
}

describe("the counts of pairs", () => {
  test("are at every step what counting all pairs anew comes to", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (script) => {
        const counted = new Counted();
        const plainly = new Plainly();
        for (const each of script) {
          take(each, counted, plainly);
          const { pairs } = plainly;
          expect({ links: counted.links, unverified: counted.unverified, missing: counted.missing }).toEqual({
            links: pairs.filter(({ isAttestable, isAttested }) => isAttestable && isAttested).length,
            unverified: pairs.filter(({ isAttestable }) => !isAttestable).length,
            missing: pairs.filter(({ isAttestable, isAttested }) => isAttestable && !isAttested).length,
          });
          expect(counted.overdue(1_000)).toHaveLength(counted.missing);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("change their version with the set of linked pairs and with the members, and with nothing else", () => {
    const counted = new Counted();
    const [a, b] = [counted.join(), counted.join()];
    const versions = [counted.version];
    const note = (): number => versions.push(counted.version);
    counted.report(a, { up: [[idOf(2), 1]], down: [] }, 0);
    note();
    counted.report(b, { up: [[idOf(1), 1]], down: [] }, 0);
    note();
    counted.report(b, { up: [[idOf(1), 1]], down: [] }, 0);
    note();
    counted.leave(b);
    note();
    const [start = 0] = versions;
    expect(versions.map((version) => version - start)).toEqual([0, 0, 1, 1, 3]);
  });
});

describe("a mesh in which every pair is attested", () => {
  function linked(): { readonly counted: Counted; readonly members: readonly [MemberRecord, MemberRecord] } {
    const counted = new Counted();
    const members = [counted.join(), counted.join()] as const;
    counted.report(members[0], { up: [[idOf(2), 1]], down: [] }, 0);
    counted.report(members[1], { up: [[idOf(1), 1]], down: [] }, 0);
    return { counted, members };
  }

  test("is whole while everybody is there, and not while a member has no session", () => {
    const { counted, members } = linked();
    const [a] = members;
    expect([counted.isWhole, counted.members.present]).toEqual([true, 2]);
    a.session = undefined;
    expect([counted.isWhole, counted.members.present, counted.missing]).toEqual([false, 1, 0]);
    expect(members.map(({ isPresent }) => isPresent)).toEqual([false, true]);
  });

  test("is whole again only once who has come back has reported its links", () => {
    const { counted, members } = linked();
    const [a] = members;
    a.session = undefined;
    a.session = session;
    counted.setBack(a);
    counted.setBack(a);
    expect([counted.isWhole, counted.members.present]).toEqual([false, 2]);
    counted.report(a, { full: true, up: [[idOf(2), 1]], down: [] }, 0);
    expect(counted.isWhole).toBe(true);
  });

  test("forgets with a member whether it was there", () => {
    const { counted, members } = linked();
    const [a, b] = members;
    a.session = undefined;
    counted.leave(a);
    expect([counted.isWhole, counted.members.present]).toEqual([true, 1]);
    counted.setBack(b);
    // Alone, there is nothing to report.
    expect(counted.isWhole).toBe(true);
    counted.leave(b);
    expect([counted.isWhole, counted.members.present]).toEqual([true, 0]);
  });
});

describe("what a report lets go", () => {
  test("are those of whom it said before that they are linked, and whom it names no more", () => {
    const counted = new Counted();
    const [a, b, c, d] = [counted.join(), counted.join(), counted.join(), counted.join()];
    const up: [Id, number][] = [
      [idOf(2), 1],
      [idOf(3), 1],
      [idOf(4), 1],
    ];
    expect(counted.report(a, { up, down: [] }, 0)).toEqual([]);
    expect(counted.report(a, { up: [], down: [[idOf(2), "broken", 1, "ECONNRESET"]] }, 0)).toEqual([b]);
    expect(counted.report(a, { full: true, up: [[idOf(4), 2]], down: [] }, 0)).toEqual([c]);
    expect(counted.leave(a)).toEqual([d]);
  });
});
