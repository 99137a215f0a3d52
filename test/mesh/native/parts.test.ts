import { describe, expect, test } from "vitest";
import { encodeFrame } from "../../../src/protocol/native/frames.js";
import { numberBytes, numberedKinds, writeUint48 } from "../../../src/protocol/native/numbered-frames.js";
import { hello } from "./names.js";
import type { Node } from "./node.js";
import { messageFrame, type RecordingHandler } from "./recording-handler.js";
import type { Wire } from "./wire.js";
import { World } from "./world.js";

const head = numberBytes + 5;

/** The frame of a portion. */
function portion(number: number, text: string): Uint8Array {
  const body = new Uint8Array(numberBytes + text.length);
  writeUint48(body, 0, number);
  body.set(new TextEncoder().encode(text), numberBytes);
  return encodeFrame(numberedKinds.data, body);
}

/** A later member whose owner the test plays, on a connection of its own for each attempt. */
class Played {
  readonly world = new World();
  readonly later: Node = this.world.admitted(2, [1, 2]);
  readonly #dialed: Wire[] = [];

  dial(): Wire {
    const last = this.#dialed.at(-1);
    last?.abort("dialer");
    last?.from("dialer");
    const attempt = this.#dialed.length + 1;
    const greeting = attempt === 1 ? hello(1) : hello(attempt, 1, 2, 1);
    const wire = this.world.call(this.later).say("dialer", greeting).from("acceptor");
    this.#dialed.push(wire);
    return wire;
  }

  get handler(): RecordingHandler {
    const [handler] = this.later.handlers.handlers;
    if (handler === undefined) throw new Error("nobody rides");
    return handler;
  }

  /** What it says that it has received, when that is due. */
  acknowledged(wire: Wire): number | undefined {
    this.world.pass(this.world.limits.acknowledgeMs);
    return wire.last("acceptor", "acknowledgement")?.number;
  }
}

describe("a frame that comes in parts", () => {
  test("is given to the handler as it comes, and is acknowledged when all of it is there", () => {
    const played = new Played();
    const wire = played.dial().say("dialer", messageFrame(1, "m1"));
    const frame = portion(2, "abcdefghij");
    for (const [from, to] of [
      [0, head + 8],
      [head + 8, head + 9],
    ]) {
      wire.say("dialer", frame.subarray(from, to));
    }
    expect(played.acknowledged(wire)).toBe(1);
    wire.say("dialer", frame.subarray(head + 9), messageFrame(3, "m3"));
    expect(played.handler.parts).toEqual([
      ["abcdefgh", 2],
      ["i", 1],
      ["j", 0],
    ]);
    expect(played.later.messages).toEqual(["m1", "m3"]);
    expect(played.acknowledged(wire)).toBe(3);
  });

  test("comes again from its beginning on the next connection, whole or in parts, and counts once", () => {
    const played = new Played();
    const frame = portion(1, "abcdefghij");
    played.dial().say("dialer", frame.subarray(0, head + 5));
    played.dial().say("dialer", frame.subarray(0, head + 8));
    const wire = played.dial();
    expect(wire.last("acceptor", "answer")).toMatchObject({ received: 0 });
    wire.say("dialer", frame, messageFrame(2, "m2"));
    expect(played.handler.parts).toEqual([
      ["abcde", 5],
      ["abcdefgh", 2],
      ["abcdefghij", 0],
    ]);
    expect(played.later.messages).toEqual(["m2"]);
    expect(played.acknowledged(wire)).toBe(2);
  });

  test("is ignored to its end if it has been taken before", () => {
    const played = new Played();
    const frame = portion(1, "abcdefghij");
    played.dial().say("dialer", frame);
    const wire = played.dial();
    for (const part of [frame.subarray(0, head + 5), frame.subarray(head + 5)]) wire.say("dialer", part);
    wire.say("dialer", portion(2, "klmnopqrst").subarray(0, head + 9));
    expect(played.handler.parts).toEqual([
      ["abcdefghij", 0],
      ["klmnopqrs", 1],
    ]);
    expect(played.acknowledged(wire)).toBe(1);
  });

  test("may not leave out one before it", () => {
    const played = new Played();
    const wire = played.dial().say("dialer", portion(2, "abcdefghij").subarray(0, head + 8));
    expect(wire.last("acceptor", "refuse")).toMatchObject({ code: "SESSION_LOST" });
    expect(played.handler.parts).toEqual([]);
  });
});
