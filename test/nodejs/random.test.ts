import { describe, expect, test, vi } from "vitest";
import { newId, newSeed, randomBytes } from "../../src/nodejs/random.js";

describe("random bytes", () => {
  test("have the requested number, and differ each time", () => {
    expect([1, 16, 256].map((count) => randomBytes(count).length)).toEqual([1, 16, 256]);
    const drawn = Array.from({ length: 1_000 }, () => randomBytes(16).toString("hex"));
    expect(new Set(drawn).size).toBe(drawn.length);
  });

  test("use every bit", () => {
    const seen = Array.from({ length: 100 }, () => randomBytes(8)).reduce((any, bytes) => {
      bytes.forEach((byte, at) => {
        any[at] = (any[at] ?? 0) | byte;
      });
      return any;
    }, new Uint8Array(8));
    expect([...seen]).toEqual(new Array(8).fill(0xff));
  });

  test("come from node:crypto where the system has no /dev/urandom", async () => {
    vi.resetModules();
    vi.doMock("node:fs", () => ({
      openSync: () => {
        throw new Error("ENOENT");
      },
    }));
    const { newId: drawn } = await import("../../src/nodejs/random.js");
    expect(drawn()).toMatch(/^[0-9a-f]{32}$/);
    vi.doUnmock("node:fs");
  });
});

test("an id is 128 bits in hexadecimal digits, and a seed an integer of 48 bits", () => {
  expect(newId()).toMatch(/^[0-9a-f]{32}$/);
  const seed = newSeed();
  expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 48).toBe(true);
});
