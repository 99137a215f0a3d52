import { createRequire } from "node:module";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { bytesOf, payloadFormOf, payloadOf } from "../../src/node/payloads.js";
import { payloadForms } from "../../src/protocol/native/payload.js";
import { Recorder } from "../support/sockets.js";
import { addressOf, failureOf, outcomeOf } from "./outcomes.js";
import { pair } from "./pair.js";

/** What comes out at the other end. */
function travelled(payload: unknown): unknown {
  const form = payloadFormOf(payload);
  return payloadOf(form, new Uint8Array(bytesOf(payload, form)));
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level += 1) value = [value];
  return value;
}

describe("a payload", () => {
  it.each([
    ["null", null],
    ["a truth", true],
    ["small numbers", [0, 1, -1, 127, 128, -33, 65_536, -70_000]],
    [
      "large and broken numbers",
      [2 ** 40, -(2 ** 45), 0.1, Number.MAX_SAFE_INTEGER, Number.NaN, Number.NEGATIVE_INFINITY],
    ],
    ["texts", ["", "größe", "日本", "x".repeat(70_000)]],
    ["a date", new Date(1_700_000_000_123)],
    ["lists and objects", { a: [1, { b: null }], "": [[], {}], long: Array.from({ length: 70_000 }, () => 1) }],
    ["what lies as deep as may be", nested(99)],
    ["nothing", undefined],
  ])("comes out as it was: %s", (_name, payload) => {
    expect(travelled(payload)).toEqual(payload);
  });

  it("of bytes travels as it is, also inside of values, whatever kind of bytes they were", () => {
    const bytes = Buffer.from([1, 2, 3]);
    expect(payloadFormOf(bytes)).toBe(payloadForms.bytes);
    expect(bytesOf(bytes, payloadForms.bytes)).toBe(bytes);
    expect(travelled({ bytes })).toEqual({ bytes: Uint8Array.of(1, 2, 3) });
  });

  it("leaves out what is undefined in an object, as JSON does, and takes objects of a class for plain ones", () => {
    class Point {
      readonly x = 1;
      readonly y = undefined;
    }
    expect(travelled([new Point(), Object.create(null)])).toEqual([{ x: 1 }, {}]);
  });

  const circular: { self?: unknown } = {};
  circular.self = circular;
  it.each([
    ["a Map", new Map([[1, 2]])],
    ["a Set in an object", { set: new Set([1]) }],
    ["a function", (): void => {}],
    ["a symbol", Symbol("x")],
    ["a bigint", 1n],
    ["an error", new Error("x")],
    ["other typed arrays than bytes", new Float64Array(2)],
    ["a date that is none", new Date(Number.NaN)],
    ["a promise", Promise.resolve(1)],
    ["what is too deep", nested(101)],
    ["what contains itself", circular],
    [
      "what fails when it is read",
      {
        get x(): never {
          throw new Error("no");
        },
      },
    ],
  ])("is refused with BAD_VALUE if it would come out as something else: %s", (_name, payload) => {
    expect(outcomeOf(() => bytesOf(payload, payloadFormOf(payload)))).toBe("BAD_VALUE");
    // The next one is none the worse for it.
    expect(travelled({ fine: [1] })).toEqual({ fine: [1] });
  });

  it("names the path to what cannot travel, and what can", () => {
    const user = (id: unknown): unknown => ({ users: [{}, {}, {}, { id }] });
    const node: { left?: unknown } = {};
    node.left = [node];
    const messageOf = (payload: unknown): string => {
      try {
        return String(bytesOf(payload, payloadFormOf(payload)));
      } catch (error) {
        return (error as Error).message.split("; a payload may be ")[0] ?? "";
      }
    };
    expect(
      [user(1n), user(new Map()), user(Symbol("x")), user(() => {}), user(new Date(Number.NaN)), node, new Set()].map(
        messageOf,
      ),
    ).toEqual([
      "payload.users[3].id is a bigint",
      "payload.users[3].id is a Map",
      "payload.users[3].id is a symbol",
      "payload.users[3].id is a function",
      "payload.users[3].id is an invalid date",
      "payload.left[0] is circular: it contains itself",
      "payload is a Set",
    ]);
    expect(messageOf({ "a b": [1n] })).toBe('payload["a b"][0] is a bigint');
    expect(messageOf({ a: nested(101) })).toMatch(/^payload\.a\[0\].* is nested deeper than 100$/);
  });

  it("is refused with BAD_VALUE if it would take too much memory, by who sends it as by who gets it", () => {
    const maps = Array.from({ length: 200_000 }, () => ({}));
    const bytes = Uint8Array.from([0xdd, 0, 3, 0x0d, 0x40, ...Array(200_000).fill(0x80)]);
    expect(outcomeOf(() => bytesOf(maps, payloadForms.value))).toBe("BAD_VALUE");
    expect(outcomeOf(() => payloadOf(payloadForms.value, bytes))).toBe("BAD_VALUE");
    expect(payloadOf(payloadForms.value, bytes, 30_000_000)).toHaveLength(200_000);
    expect(travelled(maps.slice(0, 100_000))).toHaveLength(100_000);
  });

  it("is its own once it has been encoded at 4 KiB or more, and gives up large memory", () => {
    const first = bytesOf("x".repeat(5_000), payloadForms.value);
    const second = bytesOf("y".repeat(5_000), payloadForms.value);
    expect(payloadOf(payloadForms.value, first)).toBe("x".repeat(5_000));
    expect(payloadOf(payloadForms.value, second)).toBe("y".repeat(5_000));
    expect(bytesOf("x".repeat(500_000), payloadForms.value).buffer.byteLength).toBe(500_005);
    expect(bytesOf(1, payloadForms.value).buffer.byteLength).toBeLessThan(100_000);
  });

  it.each([
    ["nothing at all", []],
    ["a type that there is not", [0xc1]],
    ["two values", [1, 2]],
    ["a text that is cut short", [0xa3, 0x61]],
    ["an extension that nobody has defined", [0xd4, 5, 0]],
    ["a date that is none", [0xc7, 12, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ["a date in an array that is none", [0x91, 0xc7, 12, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]],
    ["a key of the prototype", [0x81, 0xa9, ...Buffer.from("__proto__"), 1]],
    ["an array that is not all there", [0xdd, 0xff, 0xff, 0xff, 0xff]],
  ])("that is no value is refused with BAD_VALUE: %s", (_name, bytes) => {
    expect(outcomeOf(() => payloadOf(payloadForms.value, Uint8Array.from(bytes)))).toBe("BAD_VALUE");
    expect(payloadOf(payloadForms.value, Uint8Array.of(1))).toBe(1);
  });
});

/** From now on values are sent as bytes that are none. */
function sendNonsense(): void {
  const { Encoder } = createRequire(import.meta.url)("@msgpack/msgpack") as typeof import("@msgpack/msgpack");
  const spy = vi.spyOn(Encoder.prototype, "encodeSharedRef").mockReturnValue(Uint8Array.of(0xc1));
  onTestFinished(() => spy.mockRestore());
}

describe("a value that cannot be read", () => {
  it("is dropped with a note if it is a message, whose sender goes on", async () => {
    const { first, second, secondLog } = await pair();
    const heard = new Recorder<unknown>();
    second.on("message", ({ payload }) => heard.add(payload));
    sendNonsense();
    first.send(addressOf(second), "a", "a value");
    first.send(addressOf(second), "a", Uint8Array.of(1));
    expect(await heard.nth(1, () => true)).toEqual(Uint8Array.of(1));
    expect(secondLog.codes).toEqual(["BAD_VALUE"]);
  });

  it("fails the request with BAD_VALUE, be it in the question or in the reply", async () => {
    const { first, second } = await pair();
    second.onRequest("a", () => "a value");
    sendNonsense();
    expect(await failureOf(first.request(addressOf(second), "a", "a value"))).toBe("BAD_VALUE");
    expect(await failureOf(first.request(addressOf(second), "a"))).toBe("BAD_VALUE");
  });
});
