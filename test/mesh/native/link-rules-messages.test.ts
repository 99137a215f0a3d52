import { afterEach, describe, expect, test, vi } from "vitest";
import { Carrier } from "../../../src/mesh/native/carrier.js";
import { Replay } from "../../../src/mesh/native/replay.js";
import { encodeMessage } from "../../../src/protocol/native/message.js";
import { dropHelloRule, sayNothingReceived, takeWithoutNumbers, worlds } from "./absence.js";
import { hello, listed, type Node, World } from "./world.js";

afterEach(() => {
  vi.restoreAllMocks();
});

function message(number: number, text: string): Uint8Array {
  return encodeMessage({ number, topic: "t", payload: new TextEncoder().encode(text) });
}

/** Rules that protect from repeats, and the numbers of messages, which do so by themselves. */
const matrix = [
  { rule: true, numbers: true, delivered: ["m1"] },
  { rule: true, numbers: false, delivered: ["m1"] },
  { rule: false, numbers: true, delivered: ["m1"] },
  { rule: false, numbers: false, delivered: ["m1", "m1"] },
] as const;

describe("messages that are under way when a connection breaks", () => {
  test.each(matrix)("B1: are not read from the old connection after the hello of the next; with the rule: $rule, with numbers: $numbers", ({
    rule,
    numbers,
    delivered,
  }) => {
    const world = new World();
    const { owner, later, wire } = world.pair();
    if (!rule) vi.spyOn(Carrier.prototype, "drop").mockReturnValue();
    if (!numbers) takeWithoutNumbers();
    owner.send(later, "m1");
    // Only the owner sees the reset; its message is still on its way.
    wire.cut("dialer");
    owner.handle({ type: "timeout" });
    // The rule is the later member's, so the owner's side of it is played by what it has lost already.
    vi.restoreAllMocks();
    if (!rule) vi.spyOn(Carrier.prototype, "drop").mockReturnValue();
    if (!numbers) takeWithoutNumbers();
    world.pass(world.limits.redialMinMs);
    const next = owner.newest(later);
    expect(next).not.toBe(wire);
    next.connect().from("dialer");
    wire.from("dialer");
    next.flow();
    expect(later.messages).toEqual(delivered);
  });
});
