import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import type { MeshNode } from "../../src/index.js";
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
