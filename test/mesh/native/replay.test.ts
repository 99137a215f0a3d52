import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Replay } from "../../../src/mesh/native/replay.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { read } from "./wire.js";

function texts(frames: Iterable<Uint8Array>): string[] {
  return read([encodePreface(), ...frames]).flatMap((frame) => (frame.type === "message" ? [frame.text] : []));
}

function payload(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Sent and not acknowledged, then three of four acknowledged. */
function four(): Replay {
  const replay = new Replay();
  replay.takeAnswer(1, 1, 0);
  for (const text of ["a", "b", "c", "d"]) replay.add("t", payload(text));
  return replay;
}

describe("a replay", () => {
  test("keeps what has not been acknowledged, in order, and counts it", () => {
    const replay = four();
    expect(replay.unacknowledged).toBe(4);
    expect(replay.unacknowledgedBytes).toBe(4 * (5 + 6 + 1 + 1 + 1));
    expect(replay.acknowledge(3)).toBe(true);
    expect(texts(replay.frames)).toEqual(["d"]);
    expect(replay.unacknowledged).toBe(1);
    expect(replay.unacknowledgedBytes).toBe(14);
  });

  test("takes an acknowledgement again, but none that goes back or ahead", () => {
    const replay = four();
    replay.acknowledge(3);
    expect([replay.acknowledge(3), replay.acknowledge(2), replay.acknowledge(5)]).toEqual([true, false, false]);
    expect(replay.unacknowledged).toBe(1);
  });

  test("delivers the next message, drops a repeated one, and notices a missing one", () => {
    const replay = new Replay();
    expect([1, 1, 2, 1, 4, 3].map((number) => replay.take(number))).toEqual([
      "deliver",
      "repeated",
      "deliver",
      "repeated",
      "gap",
      "deliver",
    ]);
    expect(replay.received).toBe(3);
  });

  test("of a later member begins anew as long as the owner has read no answer", () => {
    const replay = new Replay();
    replay.add("t", payload("early"));
    expect([replay.takeHello(1, 0, 0), replay.since]).toEqual([true, 1]);
    expect([replay.takeHello(4, 0, 0), replay.since]).toEqual([true, 4]);
    expect(texts(replay.frames)).toEqual(["early"]);
  });

  test.each([
    ["has sent", (replay: Replay) => replay.take(1)],
    ["has acknowledged", (replay: Replay) => replay.add("t", payload("x")) && replay.acknowledge(1)],
  ])("of a later member does not begin anew for an owner that %s something", (_, use) => {
    const replay = new Replay();
    replay.takeHello(1, 0, 0);
    use(replay);
    expect(replay.takeHello(2, 0, 0)).toBe(false);
    expect(replay.since).toBe(1);
  });

  test("of a later member goes on only with the state of both", () => {
    const replay = new Replay();
    replay.takeHello(2, 0, 0);
    expect([replay.takeHello(3, 1, 0), replay.takeHello(3, 2, 1), replay.takeHello(3, 2, 0)]).toEqual([
      false,
      false,
      true,
    ]);
    expect(new Replay().takeHello(3, 2, 0)).toBe(false);
    expect(four().takeHello(3, 0, 1)).toBe(false);
  });

  test("of an owner takes the answer that begins its state, and then only those that go on with it", () => {
    const replay = new Replay();
    expect([replay.takeAnswer(2, 1, 0), replay.takeAnswer(2, 2, 1), new Replay().takeAnswer(2, 2, 0)]).toEqual([
      false,
      false,
      true,
    ]);
    const begun = new Replay();
    begun.takeAnswer(2, 2, 0);
    expect([begun.takeAnswer(3, 3, 0), begun.takeAnswer(3, 2, 0), begun.since]).toEqual([false, true, 2]);
  });
});

/** Two ends and the connection between them, which may break at any point: a model of a link without its machine. */
class Ends {
  readonly owner = new Replay();
  readonly later = new Replay();
  readonly delivered = { owner: [] as string[], later: [] as string[] };
  attempt = 0;
  /** What is on its way to each end. */
  readonly ways = { owner: [] as (Uint8Array | number)[], later: [] as (Uint8Array | number)[] };
  isUp = { owner: false, later: false };

  send(from: "owner" | "later", text: string): void {
    const frame = this[from].add("t", payload(text));
    if (this.isUp[from]) this.ways[from === "owner" ? "later" : "owner"].push(frame);
  }

  acknowledge(from: "owner" | "later"): void {
    if (this.isUp[from]) this.ways[from === "owner" ? "later" : "owner"].push(this[from].received);
  }

  arrive(at: "owner" | "later"): void {
    const item = this.isUp[at] ? this.ways[at].shift() : undefined;
    if (typeof item === "number") expect(this[at].acknowledge(item)).toBe(true);
    else if (item !== undefined) {
      for (const frame of read([encodePreface(), item])) {
        if (frame.type !== "message") continue;
        const verdict = this[at].take(frame.number);
        expect(verdict).not.toBe("gap");
        if (verdict === "deliver") this.delivered[at].push(frame.text);
      }
    }
  }

  /** A new attempt; of its hello and its answer, so many arrive. */
  reset(arriving: 0 | 1 | 2): void {
    this.ways.owner.length = 0;
    this.ways.later.length = 0;
    this.isUp = { owner: false, later: false };
    this.attempt += 1;
    const { owner, later, attempt } = this;
    if (arriving === 0) return;
    expect(later.takeHello(attempt, owner.since, owner.received)).toBe(true);
    this.isUp.later = true;
    this.ways.owner.push(...later.frames);
    const { since, received } = later;
    if (arriving === 1) return;
    expect(owner.takeAnswer(attempt, since, received)).toBe(true);
    this.isUp.owner = true;
    this.ways.later.push(...owner.frames);
  }
}

test("whatever is sent, acknowledged, lost and reset in between, every message is delivered once and in order", () => {
  const side = fc.constantFrom("owner" as const, "later" as const);
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ type: fc.constant("send" as const), side }) },
    { weight: 6, arbitrary: fc.record({ type: fc.constant("arrive" as const), side }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant("acknowledge" as const), side }) },
    {
      weight: 2,
      arbitrary: fc.record({ type: fc.constant("reset" as const), arriving: fc.constantFrom(0 as const, 1, 2) }),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const ends = new Ends();
      const sent = { owner: [] as string[], later: [] as string[] };
      for (const each of steps) {
        if (each.type === "reset") ends.reset(each.arriving as 0 | 1 | 2);
        else if (each.type !== "send") ends[each.type](each.side);
        else {
          const text = `${each.side} ${sent[each.side].length}`;
          sent[each.side].push(text);
          ends.send(each.side, text);
        }
        expect(sent.owner.slice(0, ends.delivered.later.length)).toEqual(ends.delivered.later);
        expect(sent.later.slice(0, ends.delivered.owner.length)).toEqual(ends.delivered.owner);
      }
      ends.reset(2);
      while (ends.ways.later.length > 0) ends.arrive("later");
      while (ends.ways.owner.length > 0) ends.arrive("owner");
      ends.acknowledge("owner");
      ends.acknowledge("later");
      ends.arrive("later");
      ends.arrive("owner");
      expect(ends.delivered).toEqual({ owner: sent.later, later: sent.owner });
      expect([ends.owner.unacknowledged, ends.later.unacknowledgedBytes]).toEqual([0, 0]);
    }),
    { numRuns: 300 },
  );
});
