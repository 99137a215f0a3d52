import { describe, expect, it } from "vitest";
import { FullmeshError } from "../../src/core/errors.js";
import { AsyncQueue, type QueuedItem } from "../../src/node/async-queue.js";
import { errorOf, messageOf, reasonOf } from "../../src/node/remote-errors.js";
import { TopicEncoder } from "../../src/node/topics.js";
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
    expect([error.code, error.message]).toEqual(["HANDLER_FAILED", "FROM_THE_FUTURE: hello"]);
    expect(errorOf("toString", "x", "STREAM_ABORTED").code).toBe("STREAM_ABORTED");
  });

  it("does not pass for what this end has found itself", () => {
    for (const code of ["PEER_DOWN", "TIMED_OUT", "ABORTED", "ENDED", "QUEUE_FULL", "NOT_LINKED"]) {
      expect(errorOf(code, "no", "HANDLER_FAILED")).toMatchObject({ code: "HANDLER_FAILED", message: `${code}: no` });
    }
  });

  it("has a code and words, whatever was thrown", () => {
    const unshown = "something that cannot be shown";
    const broken = new Proxy(new Error("x"), {
      getPrototypeOf: () => {
        throw new Error("no");
      },
    });
    const thrown: [unknown, string][] = [
      [undefined, "undefined"],
      [7, "7"],
      ["words", "words"],
      [Object.create(null), unshown],
      [Object.assign(new Error("x"), { message: { a: 1 } }), "[object Object]"],
      [Object.assign(new Error("x"), { message: Object.create(null) }), unshown],
      [broken, unshown],
      [Object.assign(new FullmeshError("BUSY", "x"), { code: "FROM_THE_FUTURE" }), "x"],
      [Object.assign(new FullmeshError("BUSY", "x"), { code: { toString: () => "BUSY" } }), "x"],
    ];
    for (const [error, message] of thrown) {
      expect([reasonOf(error, "HANDLER_FAILED"), messageOf(error)]).toEqual([
        { code: "HANDLER_FAILED", message },
        message,
      ]);
    }
  });
});

/** An item that says when it is taken, or never will be. */
function waiting<Item>(item: Item, taken: Item[]): QueuedItem<Item> {
  return {
    take: () => {
      taken.push(item);
      return item;
    },
    drop: () => void taken.push(item),
  };
}

describe("a loop over things that come with time", () => {
  it("keeps their order, and tells of each when it is taken, however many wait", async () => {
    const taken: number[] = [];
    const loop = new AsyncQueue<number>(undefined, () => {});
    const got: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      for (let item = 0; item < 3_000; item += 1) {
        const number = round * 3_000 + item;
        loop.pushWaiting(waiting(number, taken));
      }
      for (let count = 0; count < 2_000; count += 1) got.push((await loop.next()).value ?? -1);
      expect(loop.size).toBe((round + 1) * 1_000);
    }
    loop.finish();
    for await (const number of loop) got.push(number);
    expect(got).toEqual(Array.from({ length: 9_000 }, (_, number) => number));
    expect(taken).toEqual(got);
    // What comes too late is let go at once.
    loop.pushWaiting(waiting(9_000, taken));
    expect(taken.at(-1)).toBe(9_000);
  });

  it("that is told of its user's failure rejects with it, and lets go of what waits", async () => {
    const taken: number[] = [];
    const ended: unknown[] = [];
    const loop = new AsyncQueue<number>(undefined, (which) => void ended.push(which));
    for (const item of [1, 2]) loop.pushWaiting(waiting(item, taken));
    const failure = new Error("enough");
    await expect(loop.throw(failure)).rejects.toBe(failure);
    expect([taken, ended, loop.size, await loop.next()]).toEqual([[1, 2], [loop], 0, { done: true, value: undefined }]);
  });

  it("passes over what turns out to be nothing when it is taken, whether somebody asks already or not", async () => {
    const loop = new AsyncQueue<number>(undefined, () => {});
    const nothing = { take: () => undefined, drop: () => {} };
    loop.pushWaiting(nothing);
    loop.push(1);
    expect((await loop.next()).value).toBe(1);
    const asked = loop.next();
    loop.pushWaiting(nothing);
    loop.push(2);
    expect((await asked).value).toBe(2);
  });

  it("gives to those who ask in the order in which they asked", async () => {
    const loop = new AsyncQueue<string>(undefined, () => {});
    const asked = [loop.next(), loop.next(), loop.next()];
    loop.push("a");
    loop.push("b");
    loop.finish();
    expect((await Promise.all(asked)).map(({ value }) => value)).toEqual(["a", "b", undefined]);
  });
});

describe("topics", () => {
  it("are the same bytes each time, and correct though there are more than are kept", () => {
    const topics = new TopicEncoder();
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
