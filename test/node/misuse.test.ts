import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { FullmeshError, join, type MeshNode, serve } from "../../src/index.js";
import { pair } from "./pair.js";

describe("an error about a call", () => {
  it("begins at the caller's line, and is printed with its remedy", async () => {
    const { first } = await pair();
    const calls: ((node: MeshNode) => unknown)[] = [
      (node) => node.send("nobody", "topic"),
      (node) => node.broadcast("topic", { at: 1n }),
      (node) => node.onMessage("topic", 7 as never),
      (node) => node.onRequest("topic", 7 as never),
      (node) => node.onStream("topic", 7 as never),
      (node) => node.openStream("nobody", "topic"),
      (node) => node.write("nobody", new Uint8Array(1)),
      (node) => node.events({ timeoutMs: 7 } as never),
      (node) => node.subscribe(7 as never),
      (node) => node.request("nobody", "topic"),
      (node) => node.requestAll("topic", { at: 1n }),
      (node) => node.complete({ size: 0 }),
      (node) => node.complete({ size: 9, timeoutMs: 1 }),
      (node) => join(String(node.address), { timeoutMs: -1 }),
      () => join("127.0.0.1:1", { timeoutMs: 1 }),
      () => serve({ listen: "nowhere" }),
      (node) => serve({ listen: String(node.address), logger: false }),
    ];
    for (const call of calls) {
      let thrown: unknown;
      try {
        await call(first);
      } catch (error) {
        thrown = error;
      }
      expect(thrown, call.toString()).toBeInstanceOf(FullmeshError);
      const [, caller] = (thrown as Error).stack?.match(/^ +at .*$/gm)?.[0]?.match(/([\w-]+\.test)\.ts/) ?? [];
      expect(caller, call.toString()).toBe("misuse.test");
      expect(inspect(thrown)).toMatch(/code: '[A-Z_]+',\s+remedy: /);
    }
  });

  it("keeps the stack of what `setup` throws", async () => {
    const failure = new FullmeshError("BAD_OPTION", "no");
    const { stack } = failure;
    const joining = join("127.0.0.1:1", {
      setup: () => {
        throw failure;
      },
    });
    await expect(joining).rejects.toBe(failure);
    expect(failure.stack).toBe(stack);
  });

  it.each([
    [{ key: "geheim", port: 1 }, "an object with key, port"],
    [{}, "an empty object"],
    [[1, 2], "an array of 2"],
    [new Map(), "an object of the class Map"],
    [() => {}, "a function"],
    [7n, "7n"],
    [Symbol("x"), "Symbol(x)"],
    [Object.create(null), "an empty object"],
    ["x".repeat(1_000), `"${"x".repeat(99)}…`],
  ])("says what was given: %#", async (listen, got) => {
    const error: unknown = await serve({ listen: listen as string }).catch((reason: unknown) => reason);
    expect((error as Error).message.split(", got ")[1]).toBe(got);
  });
});

describe("a misuse is refused with BAD_OPTION", () => {
  it("for a listener of an event that there is not, with the names of those that there are", async () => {
    const { first } = await pair();
    const listener = (): void => {};
    for (const add of ["on", "once", "addListener", "prependListener"] as const) {
      expect(() => first[add]("peer-up" as never, listener as never)).toThrow(
        expect.objectContaining({
          code: "BAD_OPTION",
          message: expect.stringMatching(/no event "peer-up"; .*peer:up/),
        }),
      );
    }
    expect(first.listenerCount("peer-up" as never)).toBe(0);
    for (const type of ["peer:up", "message", "bytes", "error", "removeListener"] as const) {
      expect(() => first.on(type as never, listener as never)).not.toThrow();
    }
  });

  it.each([{ name: 7 }, { mesh: 7 }, { name: null }])(
    "for %j of join, before it looks for a server",
    async (options) => {
      const [option = ""] = Object.keys(options);
      await expect(join("127.0.0.1:9", options as never)).rejects.toMatchObject({
        code: "BAD_OPTION",
        message: expect.stringContaining(`Expected \`${option}\` to be a name`),
      });
    },
  );

  it("for complete(3), with what it takes", async () => {
    const { first } = await pair();
    await expect(first.complete(3 as never)).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: "Expected an object of options such as { size: 3 }, got a number",
    });
  });
});
