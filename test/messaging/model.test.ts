import fc from "fast-check";
import { expect, test } from "vitest";
import type { Stream } from "../../src/messaging/stream.js";
import { type ChannelEvent, type End, Pair, topic } from "./pair.js";

/**
 * Streams against a model that knows only what was written, read, ended and aborted: whatever the order in which the
 * applications act and frames move, what arrives is a prefix of what was written, no more than the window is unread, and
 * after everything has moved and been read it is all there.
 */

const windowBytes = 600;
const limits = {
  streamWindowBytes: windowBytes,
  streamWindowMaxBytes: windowBytes,
  streamFrameBytes: 250,
  streamBacklogBytes: 300,
  streamsOpen: 3,
};

/** One direction of one stream. */
interface Direction {
  readonly id: number;
  written: number;
  arrived: number;
  read: number;
  hasEnded: boolean;
  isFinished: boolean;
}

/** One end's view of one stream. */
interface Side {
  readonly stream: Stream;
  readonly out: Direction;
  readonly into: Direction;
  isAborted: boolean;
}

type Step =
  | { readonly type: "open" | "hand" | "arrive" | "acknowledge"; readonly end: 0 | 1 }
  | {
      readonly type: "write" | "read" | "end" | "abort";
      readonly end: 0 | 1;
      readonly at: number;
      readonly bytes: number;
    };

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constantFrom("hand" as const, "arrive" as const, "acknowledge" as const),
      end: fc.constantFrom(0 as const, 1 as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("open" as const), end: fc.constantFrom(0 as const, 1 as const) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constantFrom("write" as const, "write" as const, "read" as const, "read" as const),
      end: fc.constantFrom(0 as const, 1 as const),
      at: fc.nat(5),
      bytes: fc.oneof(fc.nat(700), fc.constantFrom(4_096, 5_000)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constantFrom("end" as const, "end" as const, "abort" as const),
      end: fc.constantFrom(0 as const, 1 as const),
      at: fc.nat(5),
      bytes: fc.constant(0),
    }),
  },
);

/** The byte at a place of a stream's direction: a lost, repeated or misplaced one is seen. */
function byteAt(id: number, place: number): number {
  return (id * 31 + place * 7 + (place >> 8)) & 255;
}

class Model {
  readonly pair = new Pair(limits);
  readonly ends: readonly [End, End] = [this.pair.first, this.pair.second];
  readonly sides: readonly [Map<Stream, Side>, Map<Stream, Side>] = [new Map(), new Map()];
  /** By the stream's number: what its opener sends, and what the other sends. */
  readonly directions = new Map<number, readonly [Direction, Direction]>();
  /** How many streams the other end has aborted, and how often a window was full. */
  aborted = 0;
  stalled = 0;
  #seen: [number, number] = [0, 0];

  play(step: Step): void {
    const end = this.ends[step.end];
    if (step.type === "open") this.open(step.end);
    else if (step.type === "hand") {
      end.link.hand(3);
      end.channel.moved();
    } else if (step.type === "arrive") for (let count = 0; count < 2; count += 1) this.arrive(step.end);
    else if (step.type === "acknowledge") {
      end.link.acknowledge();
      end.channel.moved();
    } else {
      const all = [...this.sides[step.end].values()];
      const side = "at" in step ? all[step.at % Math.max(1, all.length)] : undefined;
      if (side !== undefined && "bytes" in step) act(side, step.type, step.bytes);
    }
    this.hear(0);
    this.hear(1);
  }

  open(index: 0 | 1): void {
    const stream = this.ends[index].channel.open(topic("t"));
    if (stream.state === "closed") return;
    const directions = [fresh(stream.id), fresh(stream.id)] as const;
    this.directions.set(stream.id, directions);
    this.sides[index].set(stream, { stream, out: directions[0], into: directions[1], isAborted: false });
  }

  /** One frame from this end arrives at the other. */
  arrive(index: 0 | 1): void {
    const to = this.ends[index === 0 ? 1 : 0];
    const frame = this.ends[index].link.arrive();
    if (frame === undefined) return;
    expect(to.channel.take(frame.kind, frame.bytes, frame.from, frame.to, 0)).toBeUndefined();
  }

  /** Looks at what has arrived at this end since the last time. */
  hear(index: 0 | 1): void {
    const { arrivals } = this.ends[index];
    for (const arrival of arrivals.slice(this.#seen[index])) {
      if (arrival.type === "stream") this.#hearOpening(index, arrival.stream);
      const side = "stream" in arrival ? this.sides[index].get(arrival.stream) : undefined;
      if (side !== undefined) this.#hearOf(side, arrival);
    }
    this.#seen[index] = arrivals.length;
  }

  #hearOpening(index: 0 | 1, stream: Stream): void {
    const [into, out] = this.directions.get(stream.id) ?? [];
    if (out === undefined || into === undefined) throw new Error("nobody has opened it");
    this.sides[index].set(stream, { stream, out, into, isAborted: false });
  }

  #hearOf(side: Side, arrival: ChannelEvent): void {
    const { into } = side;
    // After the end of a stream, or its abort at either end, nothing arrives of it.
    expect([side.isAborted, into.isFinished && arrival.type === "data"]).toEqual([false, false]);
    if (arrival.type === "data") this.#hearBytes(side, arrival.bytes);
    else if (arrival.type === "finished") {
      expect([into.hasEnded, into.arrived, into.isFinished]).toEqual([true, into.written, false]);
      into.isFinished = true;
    } else if (arrival.type === "aborted") {
      side.isAborted = true;
      this.aborted += 1;
    }
  }

  #hearBytes({ into }: Side, bytes: Uint8Array): void {
    const wanted = Uint8Array.from(bytes, (_, index) => byteAt(into.id, into.arrived + index));
    expect(Buffer.compare(bytes, wanted)).toBe(0);
    into.arrived += bytes.length;
    expect(into.arrived).toBeLessThanOrEqual(into.written);
    expect(into.arrived - into.read).toBeLessThanOrEqual(windowBytes);
    if (into.arrived - into.read === windowBytes) this.stalled += 1;
  }

  /** Everything moves and is read, until there is nothing more to move or to read. */
  finish(): void {
    for (let before = -1, now = 0; before !== now; ) {
      before = now;
      this.pair.settle();
      this.hear(0);
      this.hear(1);
      for (const side of this.#all()) act(side, "read", Number.POSITIVE_INFINITY);
      now = this.#all().reduce((sum, { into }) => sum + into.read, 0);
    }
    for (const { stream, out, into, isAborted } of this.#all()) {
      if (isAborted) continue;
      expect([into.arrived, into.isFinished, stream.waitingBytes]).toEqual([into.written, into.hasEnded, 0]);
      expect(stream.state === "closed").toBe(out.hasEnded && into.hasEnded);
    }
    const open = this.#all().filter(({ stream }) => stream.state !== "closed").length;
    expect(this.ends.reduce((sum, { channel }) => sum + channel.underWay.streams, 0)).toBe(open);
    expect(this.pair.faults).toEqual([]);
  }

  #all(): Side[] {
    return this.sides.flatMap((sides) => [...sides.values()]);
  }
}

function fresh(id: number): Direction {
  return { id, written: 0, arrived: 0, read: 0, hasEnded: false, isFinished: false };
}

function act(side: Side, type: "write" | "read" | "end" | "abort", wanted: number): void {
  const { stream, out, into } = side;
  if (type === "write" && !out.hasEnded && !side.isAborted) {
    // An abort of the peer may have come and not been heard.
    if (stream.state === "closed") return;
    const bytes = Uint8Array.from({ length: wanted }, (_, index) => byteAt(out.id, out.written + index));
    out.written += wanted;
    stream.write(bytes);
    if (wanted < 4_096) bytes.fill(0);
  } else if (type === "read") {
    const bytes = Math.min(wanted, into.arrived - into.read);
    into.read += bytes;
    stream.read(bytes);
  } else if (type === "end" && !side.isAborted && stream.state !== "closed") {
    out.hasEnded = true;
    stream.end();
  } else if (type === "abort" && stream.state !== "closed") {
    side.isAborted = true;
    stream.abort("STOP", "");
  }
}

test("any interleaving of steps brings prefixes of what was written, within the window, and all of it in the end", () => {
  let [finished, aborted, stalled] = [0, 0, 0];
  fc.assert(
    fc.property(fc.array(steps, { minLength: 40, maxLength: 160, size: "max" }), (all) => {
      const model = new Model();
      model.open(0);
      for (const step of all) model.play(step);
      model.finish();
      finished += model.ends.reduce((sum, end) => sum + end.of("finished").length, 0);
      aborted += model.aborted;
      stalled += model.stalled;
    }),
    { numRuns: 150 },
  );
  // The runs are not vacuous.
  expect([finished > 50, aborted > 50, stalled > 50]).toEqual([true, true, true]);
});
