import { describe, expect, it } from "vitest";
import { FullmeshError, messageOf } from "../../src/core/errors.js";
import { codeToSend, dataOf, errorFromPeer } from "../../src/node/remote-errors.js";
import { TopicEncoder } from "../../src/node/topics.js";
import { type LazyItem, UnboundedAsyncQueue } from "../../src/node/unbounded-async-queue.js";
import { outcomeOf } from "./outcomes.js";

describe("an error that travels", () => {
  it("keeps a code of its own, and never brings one of this library's", () => {
    const coded = (code: unknown): unknown => Object.assign(new Error("x"), { code });
    const sent = ["E_LATER", "ENOENT", "TIMED_OUT", "two words", "", 7, { toString: () => "E" }].map((code) =>
      codeToSend(coded(code), "HANDLER_FAILED"),
    );
    expect(sent).toEqual(["E_LATER", "ENOENT", ...Array(5).fill("HANDLER_FAILED")]);
    expect(codeToSend(new FullmeshError("BUSY", "later"), "HANDLER_FAILED")).toBe("HANDLER_FAILED");
    for (const code of ["PEER_DOWN", "TIMED_OUT", "ABORTED", "ENDED", "QUEUE_FULL", "NOT_LINKED", "BUSY"]) {
      const error = errorFromPeer(code, "no", "HANDLER_FAILED");
      expect([error.name, error.code, error.message]).toEqual(["RemoteError", "HANDLER_FAILED", `${code}: no`]);
    }
    expect(errorFromPeer("E_LATER", "no", "HANDLER_FAILED")).toMatchObject({ name: "RemoteError", code: "E_LATER" });
    expect(errorFromPeer("toString", "x", "STREAM_ABORTED").code).toBe("toString");
    // What the library at the peer says itself.
    expect(errorFromPeer("NO_HANDLER", "no", "HANDLER_FAILED")).toMatchObject({
      name: "FullmeshError",
      code: "NO_HANDLER",
    });
  });

  it("has a code, a message and no data, whatever was thrown", () => {
    const unshown = "something that cannot be shown";
    const broken = new Proxy(new Error("x"), {
      get: () => {
        throw new Error("no");
      },
    });
    const thrown: [unknown, string][] = [
      [undefined, "undefined"],
      [null, "null"],
      [7, "7"],
      ["words", "words"],
      [Object.create(null), unshown],
      [Object.assign(new Error("x"), { message: { a: 1 } }), "[object Object]"],
      [Object.assign(new Error("x"), { message: Object.create(null) }), unshown],
      [broken, unshown],
    ];
    for (const [error, message] of thrown) {
      const described = [codeToSend(error, "HANDLER_FAILED"), messageOf(error), dataOf(error)];
      expect(described).toEqual(["HANDLER_FAILED", message, undefined]);
    }
  });
});

/** An item that says when it is taken, or never will be. */
function waiting<Item>(item: Item, taken: Item[]): LazyItem<Item> {
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
    const loop = new UnboundedAsyncQueue<number>(undefined, () => {});
    const got: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      for (let item = 0; item < 3_000; item += 1) {
        const number = round * 3_000 + item;
        loop.pushLazy(waiting(number, taken));
      }
      for (let count = 0; count < 2_000; count += 1) got.push((await loop.next()).value ?? -1);
      expect(loop.size).toBe((round + 1) * 1_000);
    }
    loop.finish();
    for await (const number of loop) got.push(number);
    expect(got).toEqual(Array.from({ length: 9_000 }, (_, number) => number));
    expect(taken).toEqual(got);
    // What comes too late is let go at once.
    loop.pushLazy(waiting(9_000, taken));
    expect(taken.at(-1)).toBe(9_000);
  });

  it("that is told of its user's failure rejects with it, and lets go of what waits", async () => {
    const taken: number[] = [];
    const ended: unknown[] = [];
    const loop = new UnboundedAsyncQueue<number>(undefined, (which) => void ended.push(which));
    for (const item of [1, 2]) loop.pushLazy(waiting(item, taken));
    const failure = new Error("enough");
    await expect(loop.throw(failure)).rejects.toBe(failure);
    expect([taken, ended, loop.size, await loop.next()]).toEqual([[1, 2], [loop], 0, { done: true, value: undefined }]);
  });

  it("passes over what turns out to be nothing when it is taken, whether somebody asks already or not", async () => {
    const loop = new UnboundedAsyncQueue<number>(undefined, () => {});
    const nothing = { take: () => undefined, drop: () => {} };
    loop.pushLazy(nothing);
    loop.push(1);
    expect((await loop.next()).value).toBe(1);
    const asked = loop.next();
    loop.pushLazy(nothing);
    loop.push(2);
    expect((await asked).value).toBe(2);
  });

  it("gives to those who ask in the order in which they asked", async () => {
    const loop = new UnboundedAsyncQueue<string>(undefined, () => {});
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
