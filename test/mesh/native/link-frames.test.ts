import { describe, expect, test } from "vitest";
import type { Limits } from "../../../src/core/limits.js";
import { encodeControl } from "../../../src/protocol/native/control.js";
import { ping, pong } from "../../../src/protocol/native/frames.js";
import type { Node } from "./node.js";
import { beginPayload, type RecordingHandler } from "./recording-handler.js";
import type { Frame, Side, Wire } from "./wire.js";
import { World } from "./world.js";

/** Header, number, form, length of the topic, topic. */
const headBytes = 14;

/** Two members with a link; what the owner sends stays in its sockets until the test lets it go out. */
function stuck(limits: Partial<Limits> = {}): Carried {
  const world = new World(limits);
  const { owner, later, wire } = world.pair();
  owner.isFlushing = false;
  return { world, owner, later, wire, handler: owner.handler(later), sent: new Sent(wire, "dialer") };
}

interface Carried {
  readonly world: World;
  readonly owner: Node;
  readonly later: Node;
  readonly wire: Wire;
  readonly handler: RecordingHandler;
  readonly sent: Sent;
}

/** What one end of a wire sends from now on. */
class Sent {
  readonly #wire: Wire;
  readonly #side: Side;
  readonly #bytesBefore: number;
  readonly #framesBefore: number;

  constructor(wire: Wire, side: Side) {
    this.#wire = wire;
    this.#side = side;
    this.#bytesBefore = bytesOf(wire, side);
    this.#framesBefore = wire.frames(side).length;
  }

  get bytes(): number {
    return bytesOf(this.#wire, this.#side) - this.#bytesBefore;
  }

  get frames(): Frame[] {
    return this.#wire.frames(this.#side).slice(this.#framesBefore);
  }

  get types(): string[] {
    return this.frames.map(({ type }) => type);
  }
}

function bytesOf(wire: Wire, side: Side): number {
  return wire[side].sent.reduce((sum, { length }) => sum + length, 0);
}

/** So many texts of so many bytes each. */
function texts(count: number, bytes: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index).padEnd(bytes, "."));
}

describe("what is begun on a link", () => {
  test("goes out at the end of the step, all of it together", () => {
    const { owner, wire, handler, sent } = stuck();
    const before = wire.dialer.sent.length;
    for (const text of texts(50, 10)) handler.send(text);
    expect([sent.bytes, handler.link.waitingBytes]).toEqual([0, 50 * (headBytes + 10)]);
    owner.handle({ type: "flush" });
    expect(wire.dialer.sent.length).toBe(before + 1);
    expect([sent.bytes, handler.link.waitingBytes]).toEqual([50 * (headBytes + 10), 0]);
  });

  test("while a message is taken goes out in the same step", () => {
    const { owner, later, wire, handler } = stuck();
    handler.onTaken = (text) => handler.send(`${text}, too`);
    later.send(owner, "hello");
    wire.flow();
    expect(later.messages).toEqual(["hello, too"]);
  });

  test("when something has moved goes out in the same step, until the connection has enough", () => {
    const { owner, handler, sent } = stuck({ handedBytes: 1_000 });
    handler.onMoved = () => handler.send("again".padEnd(86, "."));
    handler.send("begin".padEnd(86, "."));
    owner.handle({ type: "flush" });
    expect(sent.bytes).toBe(1_000);
    expect(handler.link.waitingBytes).toBe(100);
    owner.flush();
    expect(sent.bytes).toBe(2_000);
  });

  test("is given to a connection in parts, and the next part when the last one has gone out", () => {
    const { world, owner, later, wire, handler, sent } = stuck({ handedBytes: 1_000 });
    const all = texts(35, 86);
    for (const text of all) owner.send(later, text);
    expect(sent.bytes).toBe(1_000);
    expect(handler.link.waitingBytes).toBe(2_500);
    wire.flow();
    world.pass(1_000);
    expect(later.messages).toHaveLength(10);
    // What waits has become one piece meanwhile.
    owner.flush();
    expect([sent.bytes, handler.link.waitingBytes]).toEqual([3_500, 0]);
    world.flow();
    expect(later.messages).toEqual(all);
  });

  test("is given to a connection page by page, and long payloads as they are", () => {
    const { world, owner, later, handler, sent } = stuck();
    const all = texts(40, 60_000);
    for (const [index, text] of all.entries()) handler.send(text, index % 2 === 0);
    owner.handle({ type: "flush" });
    const { handedBytes } = world.limits;
    for (let given = 0; handler.link.waitingBytes > 0; ) {
      expect(sent.bytes - given).toBeGreaterThanOrEqual(handedBytes);
      expect(sent.bytes - given).toBeLessThan(handedBytes + 65_536 + 60_000);
      world.flow();
      given = sent.bytes;
      owner.flush();
    }
    world.flow();
    expect(later.messages).toEqual(all);
  });

  test("does not hold up probes, their answers and acknowledgements", () => {
    const { world, owner, later, wire, handler, sent } = stuck({ handedBytes: 1_000 });
    for (const text of texts(100, 86)) owner.send(later, text);
    later.send(owner, "to be acknowledged");
    wire.send("acceptor", ping);
    wire.from("acceptor");
    expect(sent.types.at(-1)).toBe("pong");
    world.pass(world.limits.acknowledgeMs);
    expect(sent.frames.at(-1)).toEqual({ type: "acknowledgement", number: 1 });
    world.pass(world.limits.probeMs);
    expect(sent.types.at(-1)).toBe("ping");
    expect(handler.link.waitingBytes).toBe(9_000);
  });

  test("does not wait for what the last connection has not sent", () => {
    const { world, owner, later, wire, handler } = stuck({ handedBytes: 1_000 });
    const all = texts(12, 86);
    for (const text of all) owner.send(later, text);
    expect(handler.link.waitingBytes).toBe(200);
    wire.cut("dialer").cut("acceptor");
    expect(handler.link.waitingBytes).toBe(200);
    world.pass(world.limits.redialMinMs);
    const next = owner.newest(later).connect().from("dialer").from("acceptor");
    expect(next.frames("dialer").filter(({ type }) => type === "message")).toHaveLength(10);
    owner.flush();
    world.flow();
    expect(later.messages).toEqual(all);
  });

  test.each(["dialer", "acceptor"] as const)(
    "is not lost, repeated or put out of order wherever the stream from the %s breaks",
    (side) => {
      const lengths = [0, 1, 40, 3, 90];
      const bytes = lengths.reduce((sum, length) => sum + headBytes + length, 0);
      for (let arrived = 0; arrived <= bytes; arrived += 1) {
        const world = new World();
        const { owner, later, wire } = world.pair();
        const [from, to] = side === "dialer" ? [owner, later] : [later, owner];
        for (const [index, length] of lengths.entries()) from.send(to, `${index}`.repeat(length), index % 2 === 1);
        expect(wire.pending(side)).toBe(bytes);
        wire.trickle(side, arrived).cut("dialer").cut("acceptor");
        from.send(to, "meanwhile");
        world.live(world.limits.redialMinMs + world.limits.acknowledgeMs);
        expect(to.messages).toEqual([...lengths.map((length, index) => `${index}`.repeat(length)), "meanwhile"]);
        expect(from.handler(to).link.unacknowledgedBytes).toBe(0);
      }
    },
  );
});

describe("a goodbye", () => {
  test("goes behind everything that was begun", () => {
    const { world, owner, later, wire, sent } = stuck({ handedBytes: 1_000 });
    const all = texts(25, 86);
    for (const text of all) owner.send(later, text);
    owner.leave();
    expect(sent.types).not.toContain("goodbye");
    wire.flow();
    owner.flush();
    expect(sent.types.slice(-2)).toEqual(["message", "goodbye"]);
    world.flow();
    expect(later.messages).toEqual(all);
    expect(owner.eventsOf("unlink")).toMatchObject([{ unacknowledged: 0 }]);
  });

  test("goes behind what the handler has not begun yet", () => {
    const { world, owner, later, wire, handler, sent } = stuck();
    handler.waiting = 2;
    owner.leave();
    expect(handler.link.isOpen).toBe(false);
    world.pass(1_000);
    expect(sent.types).toEqual([]);
    // The peer gives it room.
    handler.onTaken = () => {
      handler.waiting -= 1;
      handler.begin(`last words ${handler.waiting}`);
    };
    later.send(owner, "1");
    wire.from("acceptor");
    expect(sent.types).not.toContain("goodbye");
    later.send(owner, "2");
    wire.from("acceptor");
    expect(sent.types.filter((type) => type !== "acknowledgement")).toEqual(["message", "message", "goodbye"]);
    owner.isFlushing = true;
    world.flow();
    expect(later.messages).toEqual(["last words 1", "last words 0"]);
    expect(owner.eventsOf("unlink")).toMatchObject([{ unacknowledged: 0 }]);
  });

  test("goes behind whatever else the handler waits to begin, and at once when the peer has given that up", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    const handler = owner.handler(later);
    handler.isHeldUp = true;
    owner.leave();
    world.flow();
    expect(wire.frames("dialer").some(({ type }) => type === "goodbye")).toBe(false);
    handler.onTaken = () => {
      handler.isHeldUp = false;
    };
    later.send(owner, "given up");
    wire.flow();
    expect(wire.last("dialer", "goodbye")).toMatchObject({ reason: "left" });
    world.live(1_000);
    expect(owner.eventsOf("unlink")).toMatchObject([{ reason: "left", unacknowledged: 0 }]);
  });

  test("is answered behind all that this end has begun and not begun", () => {
    const { world, owner, later, wire, handler, sent } = stuck({ handedBytes: 1_000 });
    const all = texts(25, 86);
    for (const text of all) owner.send(later, text);
    handler.waiting = 1;
    later.leave();
    wire.from("acceptor");
    expect(handler.link.isOpen).toBe(false);
    owner.flush();
    expect(sent.types).not.toContain("goodbye");
    handler.waiting = 0;
    handler.begin("the last one");
    owner.handle({ type: "flush" });
    owner.flush();
    expect(sent.types.slice(-2)).toEqual(["message", "goodbye"]);
    owner.isFlushing = true;
    world.flow();
    expect(later.messages).toEqual([...all, "the last one"]);
    expect(later.eventsOf("unlink")).toMatchObject([{ reason: "left", unacknowledged: 0 }]);
    expect(owner.eventsOf("unlink")).toMatchObject([{ reason: "left", unacknowledged: 0 }]);
  });

  test("is not waited for longer than a link may drain, and what was not begun counts as not delivered", () => {
    const { world, owner, later, wire, handler } = stuck();
    handler.waiting = 3;
    owner.send(later, "not acknowledged");
    owner.leave();
    world.pass(world.limits.drainMs);
    expect(wire.dialer.isClosed).toBe(true);
    expect(owner.eventsOf("unlink")).toMatchObject([{ unacknowledged: 4 }]);
    expect(handler.endings).toEqual(["left"]);
  });

  test("acknowledges what has been taken, and nothing is owed behind it", () => {
    const { world, owner, later, wire, sent } = stuck();
    later.send(owner, "a");
    wire.from("acceptor");
    owner.leave();
    expect(sent.frames.at(-1)).toEqual({ type: "goodbye", reason: "left", received: 1 });
    world.pass(world.limits.acknowledgeMs);
    expect(sent.types.at(-1)).toBe("goodbye");
  });
});

describe("the round trip", () => {
  test("is measured when the handler wants it, once at a time, and the shortest counts", () => {
    const { world, owner, wire, handler, sent } = stuck();
    const measure = (tookMs: number): void => {
      handler.link.measure();
      owner.handle({ type: "flush" });
      wire.from("dialer");
      world.pass(tookMs);
      wire.from("acceptor");
    };
    expect(handler.link.roundTripMs).toBeUndefined();
    measure(30);
    expect(handler.link.roundTripMs).toBe(30);
    measure(40);
    expect(handler.link.roundTripMs).toBe(30);
    measure(20);
    expect(handler.link.roundTripMs).toBe(20);
    owner.handle({ type: "flush" });
    handler.send("not a reason to measure");
    owner.handle({ type: "flush" });
    expect(sent.types).toEqual(["ping", "ping", "ping", "message"]);
    for (let count = 0; count < 3; count += 1) {
      handler.link.measure();
      owner.handle({ type: "flush" });
    }
    expect(sent.types.slice(4)).toEqual(["ping"]);
  });

  test("is not that of a pong that nobody has asked for, nor of one that answers an earlier ping", () => {
    const { world, owner, wire, handler } = stuck();
    wire.send("acceptor", pong);
    wire.from("acceptor");
    expect(handler.link.roundTripMs).toBeUndefined();
    // It is asked whether it lives, and just before it has answered, the handler wants to know as well.
    world.pass(world.limits.probeMs + 100);
    handler.link.measure();
    owner.handle({ type: "flush" });
    world.pass(5);
    wire.send("acceptor", pong);
    wire.from("acceptor");
    expect(handler.link.roundTripMs).toBe(105);
  });

  test("is never taken for shorter than it is, however many pings are under way", () => {
    const { world, wire, handler } = stuck();
    world.pass(2 * world.limits.probeMs + 100);
    wire.send("acceptor", pong);
    wire.from("acceptor");
    expect(handler.link.roundTripMs).toBe(world.limits.probeMs + 100);
  });

  test("is another one on the next connection, on which it is measured if that was wanted meanwhile", () => {
    const { world, owner, later, wire, handler } = stuck();
    handler.link.measure();
    owner.handle({ type: "flush" });
    wire.flow();
    expect(handler.link.roundTripMs).toBe(0);
    wire.cut("dialer").cut("acceptor");
    expect(handler.link.roundTripMs).toBeUndefined();
    handler.link.measure();
    owner.handle({ type: "flush" });
    world.pass(world.limits.redialMinMs);
    const next = owner.newest(later).connect().from("dialer").from("acceptor").from("dialer");
    world.pass(7);
    next.from("acceptor");
    expect(next.frames("dialer").filter(({ type }) => type === "ping")).toHaveLength(1);
    expect(handler.link.roundTripMs).toBe(7);
  });
});

describe("a handler", () => {
  test("boards when the link is up for the first time, handles over all its connections, and hears of its end once", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    expect([owner.handler(later).isOwner, later.handler(owner).isOwner]).toEqual([true, false]);
    wire.cut("dialer").cut("acceptor");
    world.live(1_000);
    expect([owner.handlers.handlers.length, later.handlers.handlers.length]).toEqual([1, 1]);
    expect(owner.handler(later).link.isOpen).toBe(true);
    owner.leave();
    world.flow();
    for (const handler of [owner.handler(later), later.handler(owner)]) {
      expect([handler.endings, handler.late, handler.link.isOpen]).toEqual([["left"], 0, false]);
    }
  });

  test("of a link that was never up is told of its end alone", () => {
    const world = new World();
    const [owner, later] = world.mesh(2) as [Node, Node];
    owner.newest(later).connect();
    owner.leave();
    expect(owner.handlers.handlers).toMatchObject([{ ups: 0, moves: 0, late: 0, endings: ["left"] }]);
  });

  test("begins in vain on a link that has ended", () => {
    const world = new World();
    const { owner, later } = world.pair();
    const handler = owner.handler(later);
    owner.leave();
    world.flow();
    handler.begin("nobody hears it");
    owner.handle({ type: "flush" });
    world.live(60_000);
    expect(later.messages).toEqual([]);
  });

  test("hears nothing more of a peer that has refused the link", () => {
    const { world, owner, later, wire, handler } = stuck();
    const refusal = encodeControl({ type: "refuse", code: "SESSION_LOST", message: "no" });
    later.send(owner, "not heard");
    wire.acceptor.onItsWay.unshift({ bytes: refusal, memory: refusal });
    wire.from("acceptor");
    expect([owner.messages, handler.endings, handler.late]).toEqual([[], ["SESSION_LOST no"], 0]);
    world.live(60_000);
    expect(owner.dials(later)).toHaveLength(1);
  });
});

describe("a payload that is lent to a link", () => {
  const longText = "x".repeat(10_000);
  const lent = (on: RecordingHandler): ArrayBuffer => {
    const buffer = new ArrayBuffer(longText.length);
    const payload = new Uint8Array(buffer);
    payload.set(new TextEncoder().encode(longText));
    beginPayload(on.link, payload);
    return buffer;
  };

  test("and is transferred away ends that link at both ends, with a note, and no other", () => {
    const world = new World();
    const [owner, second, third] = world.mesh(3) as [Node, Node, Node];
    world.flow();
    const buffer = lent(owner.handler(second));
    owner.handler(third).send("goes on");
    structuredClone(buffer, { transfer: [buffer] });
    owner.handle({ type: "flush" });
    owner.send(third, "and on");
    world.live(1_000);
    expect(third.messages).toEqual(["goes on", "and on"]);
    expect(owner.eventsOf("unlink")).toMatchObject([{ peer: second.address, unacknowledged: 1 }]);
    expect(owner.notes).toEqual(["PAYLOAD_CHANGED"]);
    expect(second.eventsOf("unlink")).toMatchObject([{ reason: expect.stringMatching(/^SESSION_LOST /) }]);
    expect(second.messages).toEqual([]);
  });

  test("goes to a connection together with the beginning of its frame, however much that has been given", () => {
    const { owner, handler, sent } = stuck({ handedBytes: 10 });
    lent(handler);
    owner.handle({ type: "flush" });
    expect([sent.bytes, handler.link.waitingBytes]).toEqual([headBytes + 10_000, 0]);
  });

  test("and is transferred away before it goes out again ends the link", () => {
    const { world, owner, later, wire, handler } = stuck();
    const buffer = lent(handler);
    owner.handle({ type: "flush" });
    wire.cut("dialer").cut("acceptor");
    structuredClone(buffer, { transfer: [buffer] });
    world.live(1_000);
    expect(owner.eventsOf("unlink")).toMatchObject([{ reason: expect.stringMatching(/^PAYLOAD_CHANGED /) }]);
    expect(later.messages).toEqual([]);
  });
});
