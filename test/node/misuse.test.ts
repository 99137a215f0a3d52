import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { join, type MeshNode } from "../../src/index.js";
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
    ];
    for (const call of calls) {
      let thrown: unknown;
      try {
        call(first);
      } catch (error) {
        thrown = error;
      }
      const [, caller] = (thrown as Error).stack?.match(/^ +at .*$/gm)?.[0]?.match(/([\w-]+\.test)\.ts/) ?? [];
      expect(caller, call.toString()).toBe("misuse.test");
      expect(inspect(thrown)).toMatch(/code: '[A-Z_]+',\s+remedy: /);
    }
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
