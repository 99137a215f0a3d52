import { afterEach, describe, expect, test, vi } from "vitest";
import { Link } from "../../../src/mesh/native/link.js";
import { ResumeState } from "../../../src/mesh/native/resume-state.js";
import { dropHelloRule, sayNothingReceived, takeWithoutNumbers, worlds } from "./absence.js";
import { hello, listed } from "./names.js";
import type { Node } from "./node.js";
import { messageFrame } from "./recording-handler.js";
import { World } from "./world.js";

afterEach(() => {
  vi.restoreAllMocks();
});

/** Rules that protect from repeats are one way, the numbers of messages another. Either is enough. */
const matrix = [
  { rule: "with", numbers: "with", delivered: ["m1"] },
  { rule: "with", numbers: "without", delivered: ["m1"] },
  { rule: "without", numbers: "with", delivered: ["m1"] },
  { rule: "without", numbers: "without", delivered: ["m1", "m1"] },
] as const;

describe("a message is delivered once", () => {
  test.each(matrix)("B1: what an old connection still holds is not read, $rule the rule, $numbers numbers", (row) => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    owner.send(later, "m1");
    // Only the owner sees the reset; its message is still on its way when it says the next hello.
    wire.cut("dialer");
    if (row.rule === "without") vi.spyOn(Link.prototype, "drop").mockReturnValue();
    if (row.numbers === "without") takeWithoutNumbers();
    world.pass(world.limits.redialMinMs);
    const next = owner.newest(later).connect().from("dialer");
    expect(next.last("acceptor", "answer")).toMatchObject({ received: 0 });
    wire.from("dialer");
    next.flow();
    expect(later.messages).toEqual(row.delivered);
  });

  test.each((["B2: a hello", "B3: an answer"] as const).flatMap((what) => matrix.map((row) => ({ what, ...row }))))(
    "$what says what has been received, $rule the rule, $numbers numbers",
    ({ what, rule, numbers, delivered }) => {
      const world = new World();
      const { owner, later, wire } = world.pair();
      // The one that says it is the one that has received something.
      const [from, to] = what === "B2: a hello" ? [later, owner] : [owner, later];
      from.send(to, "m1");
      // The message is delivered, and its acknowledgement is lost.
      wire.flow().cut("dialer").cut("acceptor");
      if (numbers === "without") takeWithoutNumbers();
      if (rule === "without") sayNothingReceived();
      world.pass(world.limits.redialMinMs);
      owner.newest(later).flow();
      expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
      expect(to.messages).toEqual(delivered);
    },
  );
});

describe("B4: an owner sends nothing before the answer", () => {
  test("the real one keeps its messages for the answer", () => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    wire.cut("dialer");
    owner.send(later, "m1");
    world.pass(world.limits.redialMinMs);
    const next = owner.newest(later).connect();
    owner.send(later, "m2");
    expect(next.frames("dialer").map(({ type }) => type)).toEqual(["hello"]);
    next.from("dialer").from("acceptor");
    expect(next.frames("dialer").map(({ type }) => type)).toEqual(["hello", "message", "message"]);
    next.flow();
    expect(later.messages).toEqual(["m1", "m2"]);
  });

  test("one that does not is not heard twice, because of the numbers, but the two ends lose one another", () => {
    const world = new World();
    const later = world.admitted(2, [1, 2]);
    const first = world.call(later).say("dialer", hello(1), messageFrame(1, "m1"));
    // It has given up its first attempt without having read the answer, and so has no state to go on from.
    first.abort("dialer");
    const second = world.call(later).say("dialer", hello(2), messageFrame(1, "m1")).from("acceptor");
    expect(later.messages).toEqual(["m1"]);
    expect(second.last("acceptor", "refuse")).toMatchObject({ code: "SESSION_LOST" });
    // A mere hello may be a stranger's: it is for the owner, who hears the refusal, to end the link.
    expect(later.eventsOf("unlink")).toHaveLength(0);
  });
});

describe("F0: an end that has forgotten what it had", () => {
  test.each(worlds)("as owner is told so, or messages are missing ($world)", ({ isThere }) => {
    if (!isThere) dropHelloRule("F0");
    const world = new World();
    const later = world.admitted(2, [1, 2]);
    const first = world.call(later).say("dialer", hello(1)).from("acceptor");
    const owner = { address: listed(1).address } as Node;
    later.send(owner, "m1");
    first.say("dialer", Uint8Array.of(0, 0, 0, 6, 3, 0, 0, 0, 0, 0, 1)).abort("dialer");
    first.from("dialer");
    const second = world.call(later).say("dialer", hello(2)).from("acceptor");
    later.send(owner, "m2");
    if (isThere) {
      expect(second.last("acceptor", "refuse")).toMatchObject({ code: "SESSION_LOST" });
      expect(later.eventsOf("unlink")).toHaveLength(0);
    } else {
      // The owner has received 0 messages, and the first that it hears of is the second.
      expect(second.last("acceptor", "message")).toMatchObject({ number: 2, text: "m2" });
    }
  });

  test.each(worlds)("as later member ends the link, or messages are missing ($world)", ({ isThere }) => {
    if (!isThere) vi.spyOn(ResumeState.prototype, "takeAnswer").mockReturnValue(true);
    const world = new World();
    const owner = world.admitted(1, [1, 2]);
    const later = { address: listed(2).address } as Node;
    const first = owner.newest(later).connect();
    first.say("acceptor", { type: "answer", attempt: 1, since: 1, received: 0 });
    owner.send(later, "m1");
    first.say("acceptor", Uint8Array.of(0, 0, 0, 6, 3, 0, 0, 0, 0, 0, 1));
    first.abort("acceptor");
    first.from("acceptor");
    world.pass(world.limits.redialMinMs);
    const second = owner.newest(later).connect();
    expect(second.last("dialer", "hello")).toMatchObject({ attempt: 2, since: isThere ? 1 : 0 });
    second.say("acceptor", { type: "answer", attempt: 2, since: 2, received: 0 });
    owner.send(later, "m2");
    if (isThere) {
      expect(second.last("dialer", "refuse")).toMatchObject({ code: "SESSION_LOST" });
      expect(owner.eventsOf("unlink")).toHaveLength(1);
      world.pass(60_000);
      expect(owner.dials(later)).toHaveLength(2);
    } else expect(second.last("dialer", "message")).toMatchObject({ number: 2, text: "m2" });
  });

  test("F5': an answer may only begin the state of its own attempt, or go on with the one of both", () => {
    for (const [since, isTaken] of [
      [1, true],
      [2, false],
    ] as const) {
      const world = new World();
      const owner = world.admitted(1, [1, 2]);
      const later = { address: listed(2).address } as Node;
      owner.newest(later).connect().say("acceptor", { type: "answer", attempt: 1, since, received: 0 });
      expect(owner.isUp(later)).toBe(isTaken);
    }
  });
});
