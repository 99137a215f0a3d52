import { describe, expect, it } from "vitest";
import type { JoinOptions, MeshNode } from "../../src/index.js";
import { type Pair, pair } from "./pair.js";

function classicPair(options: JoinOptions = {}): Promise<Pair> {
  return pair({ dialect: "classic", ...options });
}

/** Counts the bytes that a node hears, until it has closed. */
function countBytes(node: MeshNode): Promise<number> {
  let sum = 0;
  node.on("bytes", ({ bytes }) => {
    sum += bytes.length;
  });
  return new Promise((resolve) => node.once("closed", () => resolve(sum)));
}

const megabyte = 1024 * 1024;

describe("bytes between classic members", () => {
  it("all arrive though the mesh is torn down right behind them", async () => {
    const { server, first, second } = await classicPair();
    const heard = countBytes(second);
    first.write(String(second.address), new Uint8Array(3 * megabyte));
    await server.teardown();
    expect(await heard).toBe(3 * megabyte);
  });

  it("all arrive though their writer leaves right behind them, without a note", async () => {
    // The time to linger begins only when all has gone out.
    const { server, first, second, firstLog } = await classicPair({ limits: { lingerMs: 1 } });
    let sum = 0;
    const allHeard = new Promise<void>((resolve) => {
      second.on("bytes", ({ bytes }) => {
        sum += bytes.length;
        if (sum === 12 * megabyte) resolve();
      });
    });
    first.write(String(second.address), new Uint8Array(12 * megabyte));
    await Promise.all([first.leave(), allHeard]);
    expect(firstLog.codes).toEqual([]);
    await server.teardown();
  });

  it("that are written from within an event count against the limits at once", async () => {
    const { first, second } = await classicPair({ limits: { queueSoftBytes: 10_000, queueHardBytes: 20_000 } });
    const answers: unknown[] = [];
    const done = new Promise<void>((resolve) => {
      second.once("bytes", ({ peer }) => {
        for (let count = 0; count < 4; count += 1) {
          try {
            answers.push(second.write(peer, new Uint8Array(6_000)));
          } catch (error) {
            answers.push((error as { code?: unknown }).code);
          }
        }
        resolve();
      });
    });
    first.writeAll(new Uint8Array(1));
    await done;
    expect(answers).toEqual([true, false, false, "QUEUE_FULL"]);
  });

  it("are refused with BAD_OPTION when they are none, and a peer may be given as `peers` has it", async () => {
    const { first, second } = await classicPair();
    const text = "hello" as unknown as Uint8Array;
    expect(() => first.write(String(second.address), text)).toThrow("Expected `bytes` to be a Uint8Array");
    expect(() => first.writeAll(text)).toThrow("Expected `bytes` to be a Uint8Array");
    const [peer] = first.peers;
    if (peer === undefined) throw new Error("no peer");
    expect(first.write(peer, Buffer.from("hello"))).toBe(true);
  });
});
