import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PagePool } from "../../../src/core/page-pool.js";
import { ResendBuffer } from "../../../src/mesh/native/resend-buffer.js";
import { ResumeState } from "../../../src/mesh/native/resume-state.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { beginText } from "./recording-handler.js";
import { read } from "./wire.js";

/** One end of a link without its machine. */
class End {
  readonly outflow = new ResendBuffer(new PagePool((bytes) => new Uint8Array(bytes)));
  readonly replay = new ResumeState(this.outflow);
  readonly taken: string[] = [];
  isUp = false;
  /** What is on its way to it: bytes, or the number of an acknowledgement. */
  way: (Uint8Array | number)[] = [];

  add(text: string): void {
    beginText(this.outflow, text);
  }

  /** All that there is to hand to a connection, as it is by now. */
  handed(): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (let piece = this.outflow.nextSegment(); piece instanceof Uint8Array; piece = this.outflow.nextSegment()) {
      pieces.push(Uint8Array.from(piece));
    }
    return pieces;
  }

  take(bytes: Uint8Array): void {
    for (const frame of read([encodePreface(), bytes])) {
      if (frame.type !== "message") continue;
      const verdict = take(this.replay, frame.number);
      expect(verdict).not.toBe("gap");
      if (verdict === "deliver") this.taken.push(frame.text);
    }
  }
}

/** A frame has come, all of it. */
function take(replay: ResumeState, number: number): string {
  const verdict = replay.judge(number);
  if (verdict === "deliver") replay.advance();
  return verdict;
}

function texts(pieces: readonly Uint8Array[]): string[] {
  return read([encodePreface(), ...pieces]).flatMap((frame) => (frame.type === "message" ? [frame.text] : []));
}

/** An owner's end that has sent four frames. */
function four(): End {
  const end = new End();
  end.replay.takeAnswer(1, 1, 0);
  for (const text of ["a", "b", "c", "d"]) end.add(text);
  end.handed();
  return end;
}

describe("a replay", () => {
  test("delivers the next frame, drops a repeated one, and notices a missing one and a number that is none", () => {
    const { replay } = new End();
    expect([0, 1, 1, 2, 1, 4, 0, 3].map((number) => take(replay, number))).toEqual([
      "gap",
      "deliver",
      "repeated",
      "deliver",
      "repeated",
      "gap",
      "gap",
      "deliver",
    ]);
    expect(replay.received).toBe(3);
  });

  test("of a later member begins anew as long as the owner has read no answer", () => {
    const end = new End();
    end.add("early");
    expect([end.replay.takeHello(1, 0, 0), end.replay.since]).toEqual([true, 1]);
    expect(texts(end.handed())).toEqual(["early"]);
    expect([end.replay.takeHello(4, 0, 0), end.replay.since]).toEqual([true, 4]);
    end.outflow.rewind();
    expect(texts(end.handed())).toEqual(["early"]);
  });

  test.each<[string, (end: End) => void]>([
    ["has sent", ({ replay }) => take(replay, 1)],
    [
      "has acknowledged",
      (end) => {
        end.add("x");
        end.handed();
        expect(end.outflow.acknowledge(1)).toBe(true);
      },
    ],
  ])("of a later member does not begin anew for an owner that %s something", (_, use) => {
    const end = new End();
    end.replay.takeHello(1, 0, 0);
    use(end);
    expect(end.replay.takeHello(2, 0, 0)).toBe(false);
    expect(end.replay.since).toBe(1);
  });

  test("that has taken something goes on only with the state of both", () => {
    const { replay } = new End();
    replay.takeHello(2, 0, 0);
    take(replay, 1);
    expect([replay.takeHello(3, 1, 0), replay.takeHello(3, 2, 1), replay.takeHello(3, 2, 0)]).toEqual([
      false,
      false,
      true,
    ]);
    expect(new End().replay.takeHello(3, 3, 0)).toBe(false);
    expect(new End().replay.takeHello(3, 0, 1)).toBe(false);
    expect(new End().replay.takeHello(3, 2, 1)).toBe(false);
  });

  test("takes what the other end has received for an acknowledgement, which neither goes back nor ahead", () => {
    const { outflow, replay } = four();
    expect([replay.takeHello(2, 1, 3), replay.takeHello(2, 1, 2), replay.takeHello(2, 1, 5)]).toEqual([
      true,
      false,
      false,
    ]);
    expect([replay.takeAnswer(3, 1, 2), replay.takeAnswer(3, 1, 5), replay.takeAnswer(3, 1, 4)]).toEqual([
      false,
      false,
      true,
    ]);
    expect([outflow.acknowledged, outflow.unacknowledgedBytes]).toEqual([4, 0]);
  });

  test("of an owner takes the answer that begins its state, and then only those that go on with it", () => {
    const { replay } = new End();
    expect([replay.takeAnswer(2, 1, 0), replay.takeAnswer(2, 2, 1), new End().replay.takeAnswer(2, 2, 0)]).toEqual([
      false,
      false,
      true,
    ]);
    const begun = new End().replay;
    begun.takeAnswer(2, 2, 0);
    take(begun, 1);
    expect([begun.takeAnswer(3, 3, 0), begun.takeAnswer(3, 2, 0), begun.since]).toEqual([false, true, 2]);
  });
});

type Name = "owner" | "later";

function other(name: Name): Name {
  return name === "owner" ? "later" : "owner";
}

/** Two ends and the connection between them, which may break at any point: a model of a link without its machine. */
class Ends {
  readonly owner = new End();
  readonly later = new End();
  attempt = 0;

  send(from: Name, text: string): void {
    this[from].add(text);
    if (this[from].isUp) this[other(from)].way.push(...this[from].handed());
  }

  acknowledge(from: Name): void {
    if (this[from].isUp) this[other(from)].way.push(this[from].replay.received);
  }

  arrive(at: Name): void {
    const end = this[at];
    const item = end.isUp ? end.way.shift() : undefined;
    if (typeof item === "number") expect(end.outflow.acknowledge(item)).toBe(true);
    else if (item !== undefined) end.take(item);
  }

  /** A new attempt, dialed by either end; of its hello and its answer, so many arrive. */
  reset(arriving: 0 | 1 | 2, dialer: Name): void {
    const [asking, answering] = [this[dialer].replay, this[other(dialer)].replay];
    for (const end of [this.owner, this.later]) {
      end.way = [];
      end.isUp = false;
    }
    this.attempt += 1;
    if (arriving === 0) return;
    expect(answering.takeHello(this.attempt, asking.since, asking.received)).toBe(true);
    this.#up(other(dialer));
    if (arriving === 1) return;
    expect(asking.takeAnswer(this.attempt, answering.since, answering.received)).toBe(true);
    this.#up(dialer);
  }

  #up(name: Name): void {
    this[name].isUp = true;
    this[name].outflow.rewind();
    this[other(name)].way.push(...this[name].handed());
  }
}

test("whatever is sent, acknowledged, lost and reset in between, every frame is taken once and in order", () => {
  const side = fc.constantFrom("owner" as const, "later" as const);
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ type: fc.constant("send" as const), side }) },
    { weight: 6, arbitrary: fc.record({ type: fc.constant("arrive" as const), side }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant("acknowledge" as const), side }) },
    {
      weight: 2,
      arbitrary: fc.record({ type: fc.constant("reset" as const), arriving: fc.constantFrom(0 as const, 1, 2), side }),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const ends = new Ends();
      const sent = { owner: [] as string[], later: [] as string[] };
      for (const each of steps) {
        if (each.type === "reset") ends.reset(each.arriving as 0 | 1 | 2, each.side);
        else if (each.type !== "send") ends[each.type](each.side);
        else {
          const text = `${each.side} ${sent[each.side].length}`;
          sent[each.side].push(text);
          ends.send(each.side, text);
        }
        expect(sent.owner.slice(0, ends.later.taken.length)).toEqual(ends.later.taken);
        expect(sent.later.slice(0, ends.owner.taken.length)).toEqual(ends.owner.taken);
      }
      ends.reset(2, "owner");
      while (ends.later.way.length > 0) ends.arrive("later");
      while (ends.owner.way.length > 0) ends.arrive("owner");
      ends.acknowledge("owner");
      ends.acknowledge("later");
      ends.arrive("later");
      ends.arrive("owner");
      expect([ends.owner.taken, ends.later.taken]).toEqual([sent.later, sent.owner]);
      expect([ends.owner.outflow.unacknowledgedBytes, ends.later.outflow.unacknowledgedBytes]).toEqual([0, 0]);
    }),
    { numRuns: 300 },
  );
});
