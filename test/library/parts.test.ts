import { describe, expect, it } from "vitest";
import { FullmeshError } from "../../src/core/errors.js";
import { errorOf, messageOf, reasonOf } from "../../src/foreign-errors.js";
import { Iteration } from "../../src/iteration.js";
import { Topics } from "../../src/topics.js";
import { outcomeOf } from "./outcomes.js";

describe("an error that travels", () => {
  it("keeps its code and its message, and one of another kind gets a code, and not its stack", () => {
    expect(reasonOf(new FullmeshError("BUSY", "later"), "HANDLER_FAILED")).toEqual({ code: "BUSY", message: "later" });
    expect(reasonOf(new RangeError("too far"), "HANDLER_FAILED")).toEqual({
      code: "HANDLER_FAILED",
      message: "too far",
    });
    expect(errorOf("BUSY", "later", "HANDLER_FAILED")).toMatchObject({ code: "BUSY", message: "later" });
  });

  it("gets another code if this version does not know its own", () => {
    const error = errorOf("FROM_THE_FUTURE", "hello", "HANDLER_FAILED");
    expect([error.code, error.message, error.fault]).toEqual(["HANDLER_FAILED", "FROM_THE_FUTURE: hello", "remote"]);
    expect(errorOf("toString", "x", "STREAM_ABORTED").code).toBe("STREAM_ABORTED");
  });

  it("has words, whatever was thrown", () => {
    const thrown = [undefined, 7, "words", Object.create(null)];
    expect(thrown.map(messageOf)).toEqual(["undefined", "7", "words", "something that cannot be shown"]);
  });
});

describe("a loop over things that come with time", () => {
  it("keeps their order, and tells of each when it is taken, however many wait", async () => {
    const taken: number[] = [];
    const loop = new Iteration<number>(undefined, () => {});
    const got: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      for (let item = 0; item < 3_000; item += 1) {
        const number = round * 3_000 + item;
        loop.push(number, { taken: () => void taken.push(number) });
      }
      for (let count = 0; count < 2_000; count += 1) got.push((await loop.next()).value ?? -1);
      expect(loop.size).toBe((round + 1) * 1_000);
    }
    loop.finish();
    for await (const number of loop) got.push(number);
    expect(got).toEqual(Array.from({ length: 9_000 }, (_, number) => number));
    expect(taken).toEqual(got);
    // What comes too late is let go at once.
    loop.push(9_000, { taken: () => void taken.push(9_000) });
    expect(taken.at(-1)).toBe(9_000);
  });

  it("gives to those who ask in the order in which they asked", async () => {
    const loop = new Iteration<string>(undefined, () => {});
    const asked = [loop.next(), loop.next(), loop.next()];
    loop.push("a");
    loop.push("b");
    loop.finish();
    expect((await Promise.all(asked)).map(({ value }) => value)).toEqual(["a", "b", undefined]);
  });
});

describe("topics", () => {
  it("are the same bytes each time, and correct though there are more than are kept", () => {
    const topics = new Topics();
    expect(topics.bytesOf("größe")).toBe(topics.bytesOf("größe"));
    for (let round = 0; round < 2; round += 1) {
      for (let number = 0; number < 3_000; number += 1) {
        expect(Buffer.from(topics.bytesOf(`topic ${number}`)).toString()).toBe(`topic ${number}`);
      }
    }
    expect(outcomeOf(() => topics.bytesOf("ü".repeat(128)))).toBe("BAD_OPTION");
    expect(outcomeOf(() => topics.bytesOf(undefined as unknown as string))).toBe("BAD_OPTION");
  });
});
