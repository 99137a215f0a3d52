import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Page, PagePool, pageBytes } from "../../../src/core/page-pool.js";
import { ResendBuffer } from "../../../src/mesh/native/resend-buffer.js";
import { encodeFrame, frameHeaderBytes } from "../../../src/protocol/native/frames.js";
import { numberBytes, writeUint48 } from "../../../src/protocol/native/numbered-frames.js";

/** Header and number. */
const headBytes = 11;
const kinds = [0x10, 0x13, 0x1f] as const;
const batchKind = 0x15;

/** Pages of which each has one owner at a time, and on which nobody finds again what was there before. */
class WatchedPages extends PagePool {
  /** The memory of those that are taken. */
  readonly taken = new Set<Uint8Array>();
  /** Pieces that connections have been handed and may not have sent. */
  unsent: Handed[] = [];

  constructor() {
    super((bytes) => new Uint8Array(bytes));
  }

  override take(): Page {
    const page = super.take();
    expect(this.taken.has(page.memory)).toBe(false);
    expect(page.uses).toBe(0);
    this.taken.add(page.memory);
    return page;
  }

  override give(page: Page): void {
    expect(this.taken.delete(page.memory)).toBe(true);
    expect(page.uses).toBe(0);
    expect(this.unsent.some(({ view }) => view.buffer === page.memory.buffer)).toBe(false);
    page.memory.fill(0xdd);
    super.give(page);
  }
}

/** The bytes of a frame as it must go out. */
function frameBytes(kind: number, number: number, content: Uint8Array): Uint8Array {
  const body = new Uint8Array(numberBytes + content.length);
  writeUint48(body, 0, number);
  body.set(content, numberBytes);
  return encodeFrame(kind, body);
}

/** Content that differs from frame to frame and from byte to byte. */
function contentOf(number: number, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, index) => number * 31 + index * 7 + (index >> 8));
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

interface ModelFrame {
  readonly kind: number;
  readonly bytes: Uint8Array;
  /** Where it begins among all bytes, and where it ends. */
  readonly from: number;
  readonly to: number;
  /** The memory on which its beginning was written. */
  readonly page: Uint8Array;
  /** How many messages there are in a batch. */
  readonly messages: number;
}

/** A piece that a connection has been given, where it lies among all bytes. */
interface Handed {
  readonly view: Uint8Array;
  /** What it was then. */
  readonly bytes: Uint8Array;
  readonly from: number;
}

type Step =
  | { readonly type: "begin"; readonly kind: number; readonly bytes: number; readonly tail?: number }
  | { readonly type: "batch"; readonly bytes: number; readonly most: number }
  | { readonly type: "acknowledge"; readonly pick: number }
  | { readonly type: "hand" | "sent" | "refuse" | "checkCounts" | "rewind" };

/** An outflow beside a naive one: frames as arrays of bytes, one behind the other. */
class Pair {
  readonly pages = new WatchedPages();
  readonly outflow = new ResendBuffer(this.pages);
  readonly frames: ModelFrame[] = [];
  /** What the present connection has been handed, and has not said that it has sent. */
  #handed: Handed[] = [];
  /** Pages that were in use when a connection broke before it had sent everything: they are never used again. */
  readonly #retired = new Set<Uint8Array>();
  #acknowledged = 0;
  /** How many frames have ever gone to a connection with all their bytes. */
  #handedWhole = 0;
  /** Where, among all bytes, the next ones for the connection begin. */
  #at = 0;

  get total(): number {
    return this.frames.at(-1)?.to ?? 0;
  }

  get kept(): ModelFrame[] {
    return this.frames.slice(this.#acknowledged);
  }

  get keptFrom(): number {
    return this.frames[this.#acknowledged - 1]?.to ?? 0;
  }

  /** The pages that hold what is not acknowledged, and the one that is being written. */
  get needed(): Set<Uint8Array> {
    const { kept } = this;
    const needed = new Set(kept.map(({ page }) => page));
    if (kept.length > 0) needed.add(this.outflow.memory);
    return needed;
  }

  play(step: Step): void {
    if (step.type === "begin") this.begin(step.kind, step.bytes, step.tail);
    else if (step.type === "batch") this.batch(step.bytes, step.most);
    else if (step.type === "acknowledge") this.acknowledge(step.pick);
    else this[step.type]();
    this.check();
  }

  begin(kind: number, bytes: number, tailBytes?: number): void {
    const number = this.frames.length + 1;
    const content = contentOf(number, bytes + (tailBytes ?? 0));
    const tail = tailBytes === undefined ? undefined : content.slice(bytes);
    const at = this.outflow.begin(kind, bytes, tail);
    const page = this.outflow.memory;
    page.set(content.subarray(0, bytes), at);
    const frame = frameBytes(kind, number, content);
    this.frames.push({ kind, bytes: frame, from: this.total, to: this.total + frame.length, page, messages: 0 });
  }

  /** Adds a message to the batch that was begun last, or begins another one. */
  batch(bytes: number, most: number): void {
    const payload = contentOf(this.frames.length + 1, bytes);
    const message = Uint8Array.of(0, 1, 0x74, bytes >> 8, bytes, ...payload);
    const last = this.frames.at(-1);
    const added = this.outflow.extend(batchKind, message.length, most);
    if (added === undefined) {
      const at = this.outflow.begin(batchKind, message.length);
      const page = this.outflow.memory;
      page.set(message, at);
      this.#push(page, message, 1);
      return;
    }
    // Nothing of it has gone anywhere, it is the newest one, and it has kept to the bound.
    expect([last?.kind, this.#at <= (last?.from ?? 0)]).toEqual([batchKind, true]);
    expect((last?.bytes.length ?? 0) + message.length).toBeLessThanOrEqual(most + frameHeaderBytes);
    this.outflow.memory.set(message, added);
    this.frames.pop();
    this.#push(
      this.outflow.memory,
      Uint8Array.of(...(last?.bytes.subarray(headBytes) ?? []), ...message),
      (last?.messages ?? 0) + 1,
    );
  }

  #push(page: Uint8Array, content: Uint8Array, messages: number): void {
    const frame = frameBytes(batchKind, this.frames.length + 1, content);
    this.frames.push({
      kind: batchKind,
      bytes: frame,
      from: this.total,
      to: this.total + frame.length,
      page,
      messages,
    });
  }

  hand(): boolean {
    const view = this.outflow.nextSegment();
    if (view === undefined || view === "changed") {
      expect(view).toBeUndefined();
      expect(this.#at).toBe(this.total);
      return false;
    }
    expect(view.length).toBeGreaterThan(0);
    const handed = { view, bytes: Uint8Array.from(view), from: this.#at };
    this.#handed.push(handed);
    this.pages.unsent.push(handed);
    this.#at += view.length;
    expect(this.#at).toBeLessThanOrEqual(this.total);
    const whole = this.frames.findIndex(({ to }) => to > this.#at);
    this.#handedWhole = Math.max(this.#handedWhole, whole === -1 ? this.frames.length : whole);
    return true;
  }

  /** Acknowledges one of the numbers that may be acknowledged. */
  acknowledge(pick: number): void {
    const number = this.#acknowledged + (pick % (this.#handedWhole - this.#acknowledged + 1));
    expect(this.outflow.acknowledge(number)).toBe(true);
    this.#acknowledged = number;
    this.#at = Math.max(this.#at, this.keptFrom);
  }

  /** What cannot be is refused, and changes nothing. */
  refuse(): void {
    for (const number of [this.#acknowledged - 1, this.#handedWhole + 1, this.frames.length + 1]) {
      expect(this.outflow.acknowledge(number)).toBe(false);
    }
  }

  /** The connection has sent all that it was handed. */
  sent(): void {
    const former = new Set(this.#handed);
    this.pages.unsent = this.pages.unsent.filter((handed) => !former.has(handed));
    this.#handed = [];
    this.outflow.sent();
    expect(this.pages.taken).toEqual(new Set([...this.needed, ...this.#retired]));
  }

  /** What the last connection has not sent, it may still send at any time. */
  rewind(): void {
    if (this.#handed.length > 0) for (const memory of this.pages.taken) this.#retired.add(memory);
    this.outflow.rewind();
    this.#handed = [];
    this.#at = this.keptFrom;
  }

  clear(): void {
    const { size } = this.pages.taken;
    this.outflow.clear();
    expect(this.outflow.nextSegment()).toBeUndefined();
    expect([this.outflow.unacknowledgedBytes, this.outflow.waitingBytes, this.outflow.countMessages()]).toEqual([
      0, 0, 0,
    ]);
    // A connection may still be sending what lies on them.
    expect(this.pages.taken.size).toBe(size);
    this.#expectIntact();
  }

  check(): void {
    const { outflow } = this;
    expect(outflow.begun).toBe(this.frames.length);
    expect(outflow.acknowledged).toBe(this.#acknowledged);
    expect(outflow.unacknowledgedBytes).toBe(this.total - this.keptFrom);
    expect(outflow.waitingBytes).toBe(this.total - this.#at);
    for (const page of this.needed) expect(this.pages.taken.has(page)).toBe(true);
    if (this.#handed.length === 0) expect(this.pages.taken).toEqual(new Set([...this.needed, ...this.#retired]));
    this.#expectIntact();
  }

  checkCounts(): void {
    const messages = this.kept.map(({ kind, messages }) => (kind === 0x10 ? 1 : messages));
    expect(this.outflow.countMessages()).toBe(messages.reduce((sum, count) => sum + count, 0));
  }

  /** What a connection has not sent is still what it was handed, on this connection and on all before it. */
  #expectIntact(): void {
    for (const { view, bytes } of this.pages.unsent) expect(isEqual(view, bytes)).toBe(true);
    // And that is what the frames are.
    const all = Buffer.concat(this.kept.map(({ bytes }) => bytes));
    const { keptFrom } = this;
    for (const { view, from } of this.#handed) {
      const skipped = Math.max(0, keptFrom - from);
      if (skipped >= view.length) continue;
      const at = from + skipped - keptFrom;
      expect(isEqual(view.subarray(skipped), all.subarray(at, at + view.length - skipped))).toBe(true);
    }
  }
}

test("whatever is begun, handed, acknowledged and handed again, the bytes are those of the frames, in order", () => {
  const kind = fc.constantFrom(...kinds);
  const small = fc.nat({ max: 60 });
  const large = fc.integer({ min: 15_000, max: pageBytes - headBytes });
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ type: fc.constant("begin" as const), kind, bytes: small }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant("begin" as const), kind, bytes: large }) },
    {
      weight: 2,
      arbitrary: fc.record({
        type: fc.constant("begin" as const),
        kind,
        bytes: fc.oneof({ weight: 4, arbitrary: small }, large),
        tail: fc.integer({ min: 1, max: 5_000 }),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        type: fc.constant("batch" as const),
        bytes: fc.oneof({ weight: 4, arbitrary: small }, fc.integer({ min: 3_000, max: 4_000 })),
        most: fc.constantFrom(200, 16_384),
      }),
    },
    { weight: 5, arbitrary: fc.constant({ type: "hand" as const }) },
    { weight: 3, arbitrary: fc.record({ type: fc.constant("acknowledge" as const), pick: fc.nat({ max: 1_000 }) }) },
    { weight: 2, arbitrary: fc.constant({ type: "sent" as const }) },
    { weight: 1, arbitrary: fc.constant({ type: "refuse" as const }) },
    { weight: 1, arbitrary: fc.constant({ type: "checkCounts" as const }) },
    { weight: 1, arbitrary: fc.constant({ type: "rewind" as const }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, isCleared) => {
      const pair = new Pair();
      for (const each of steps) pair.play(each);
      if (isCleared) {
        pair.clear();
        return;
      }
      while (pair.hand()) pair.check();
      pair.acknowledge(pair.kept.length);
      pair.check();
      pair.sent();
      expect([pair.kept.length, pair.needed.size]).toEqual([0, 0]);
    }),
    { numRuns: 400 },
  );
});

/** An outflow, and what it hands to a connection now. */
function start(): {
  outflow: ResendBuffer;
  pages: WatchedPages;
  handed: () => Uint8Array[];
  begin: (bytes: number) => void;
} {
  const pages = new WatchedPages();
  const outflow = new ResendBuffer(pages);
  return {
    outflow,
    pages,
    handed: () => {
      const pieces: Uint8Array[] = [];
      for (let piece = outflow.nextSegment(); piece instanceof Uint8Array; piece = outflow.nextSegment()) {
        pieces.push(piece);
      }
      return pieces;
    },
    begin: (bytes) => {
      const content = contentOf(outflow.begun + 1, bytes);
      const at = outflow.begin(0x10, bytes);
      outflow.memory.set(content, at);
    },
  };
}

describe("an outflow", () => {
  test("holds no page before its first frame, and none when everything is acknowledged", () => {
    const { outflow, pages, handed, begin } = start();
    expect([pages.taken.size, outflow.nextSegment(), outflow.memory.length]).toEqual([0, undefined, 0]);
    expect([outflow.acknowledge(0), outflow.acknowledge(1), outflow.acknowledge(-1)]).toEqual([true, false, false]);
    begin(10);
    handed();
    expect(pages.taken.size).toBe(1);
    outflow.acknowledge(1);
    outflow.sent();
    expect([pages.taken.size, outflow.memory.length]).toEqual([0, 0]);
  });

  test("gives no page back before the connection has sent it, whatever the other end says", () => {
    const { outflow, pages, handed, begin } = start();
    begin(10);
    handed();
    expect([outflow.acknowledge(1), outflow.unacknowledgedBytes, pages.taken.size]).toEqual([true, 0, 1]);
    begin(10);
    handed();
    expect([outflow.acknowledge(2), pages.taken.size]).toEqual([true, 2]);
    outflow.sent();
    expect(pages.taken.size).toBe(0);
    // And at once, if it has.
    begin(10);
    handed();
    outflow.sent();
    outflow.acknowledge(3);
    expect(pages.taken.size).toBe(0);
  });

  test.each([
    ["acknowledged", 1],
    ["not acknowledged", 0],
  ])("never gives back a page that a connection had not sent when it broke, what it had being %s", (_, number) => {
    const { outflow, pages, handed, begin } = start();
    begin(10);
    handed();
    // Written behind it, on the same page.
    begin(10);
    outflow.acknowledge(number);
    outflow.rewind();
    handed();
    outflow.sent();
    outflow.acknowledge(2);
    expect([outflow.unacknowledgedBytes, pages.taken.size]).toEqual([0, 1]);
  });

  test("gives back the pages of a connection that had sent all when it broke", () => {
    const { outflow, pages, handed, begin } = start();
    begin(10);
    handed();
    outflow.sent();
    outflow.rewind();
    handed();
    outflow.sent();
    outflow.acknowledge(1);
    expect(pages.taken.size).toBe(0);
  });

  test("hands all frames that were begun together in one piece", () => {
    const { handed, begin } = start();
    for (let count = 0; count < 100; count += 1) begin(20);
    const pieces = handed();
    expect(pieces).toHaveLength(1);
    const frames = Array.from({ length: 100 }, (_, index) => frameBytes(0x10, index + 1, contentOf(index + 1, 20)));
    expect(isEqual(pieces[0] ?? new Uint8Array(0), Buffer.concat(frames))).toBe(true);
  });

  test("fills a page to its last byte, and goes on with the next", () => {
    const { pages, handed, begin } = start();
    begin(pageBytes - 2 * headBytes);
    begin(0);
    expect(pages.taken.size).toBe(1);
    begin(0);
    expect(pages.taken.size).toBe(2);
    expect(handed().map(({ length }) => length)).toEqual([pageBytes, headBytes]);
  });

  test("does not copy what it is given as the rest of a frame, and says how long the whole is", () => {
    const { outflow, handed } = start();
    const tail = contentOf(9, 70_000);
    const at = outflow.begin(0x19, 1, tail);
    outflow.memory[at] = 7;
    const pieces = handed();
    expect(pieces.map(({ length }) => length)).toEqual([headBytes + 1, tail.length]);
    expect(pieces[1]?.buffer).toBe(tail.buffer);
    expect(isEqual(Buffer.concat(pieces), frameBytes(0x19, 1, Uint8Array.of(7, ...tail)))).toBe(true);
    expect([outflow.unacknowledgedBytes, outflow.waitingBytes]).toEqual([headBytes + 1 + tail.length, 0]);
  });

  test("takes a view for the rest of a frame as it is", () => {
    const { outflow, handed } = start();
    const memory = contentOf(1, 100);
    outflow.begin(0x19, 0, memory.subarray(10, 20));
    expect(isEqual(Buffer.concat(handed()), frameBytes(0x19, 1, memory.subarray(10, 20)))).toBe(true);
  });

  test("takes nothing for the rest of a frame", () => {
    const { outflow, handed, pages } = start();
    outflow.begin(0x19, 0, new Uint8Array(0));
    expect(isEqual(Buffer.concat(handed()), frameBytes(0x19, 1, new Uint8Array(0)))).toBe(true);
    outflow.sent();
    expect([outflow.acknowledge(1), outflow.unacknowledgedBytes, pages.taken.size]).toEqual([true, 0, 0]);
  });

  test("does not believe that a frame has arrived whose rest has not been handed", () => {
    const { outflow, begin } = start();
    begin(1);
    outflow.begin(0x10, 0, contentOf(2, 10));
    outflow.nextSegment();
    expect([outflow.acknowledge(2), outflow.acknowledge(1), outflow.waitingBytes]).toEqual([false, true, 10]);
    outflow.nextSegment();
    expect([outflow.acknowledge(2), outflow.waitingBytes]).toEqual([true, 0]);
  });

  test("remembers on the next connection what had been handed to the last one", () => {
    const { outflow, handed, begin } = start();
    for (let count = 0; count < 4; count += 1) begin(5);
    handed();
    begin(5);
    outflow.rewind();
    expect(outflow.waitingBytes).toBe(5 * (headBytes + 5));
    // The hello or the answer says what has arrived, before anything is handed again.
    expect([outflow.acknowledge(5), outflow.acknowledge(3)]).toEqual([false, true]);
    expect([outflow.unacknowledgedBytes, outflow.waitingBytes]).toEqual([2 * (headBytes + 5), 2 * (headBytes + 5)]);
    const rest = [4, 5].map((number) => frameBytes(0x10, number, contentOf(number, 5)));
    expect(isEqual(Buffer.concat(handed()), Buffer.concat(rest))).toBe(true);
  });

  test("writes on behind what has been handed, on the same page", () => {
    const { outflow, pages, handed, begin } = start();
    begin(5);
    const [first] = handed();
    begin(5);
    outflow.acknowledge(1);
    const [second] = handed();
    expect(second?.buffer).toBe(first?.buffer);
    expect(second?.byteOffset).toBe(headBytes + 5);
    expect(pages.taken.size).toBe(1);
  });

  test("counts messages in what is written, handed and partly acknowledged, and no other frames", () => {
    const { outflow, handed, begin } = start();
    for (let count = 0; count < 3; count += 1) begin(5);
    outflow.begin(0x13, 0, contentOf(4, 5));
    expect(outflow.countMessages()).toBe(3);
    handed();
    begin(0);
    outflow.acknowledge(2);
    expect(outflow.countMessages()).toBe(2);
    expect(handed().map(({ length }) => length)).toEqual([headBytes]);
  });

  test("writes frames of the same length as long as there are numbers, in six bytes", () => {
    const { handed, begin } = start();
    for (let count = 0; count < 300; count += 1) begin(0);
    expect([...(handed()[0] ?? [])].slice(-headBytes)).toEqual([0, 0, 0, 6, 0x10, 0, 0, 0, 0, 1, 44]);
  });
});
