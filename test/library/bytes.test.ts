import { describe, expect, it, onTestFinished } from "vitest";
import { type JoinOptions, join, type MeshNode, type RendezvousServer, serve } from "../../src/index.js";

/** A mesh of two, the first of which dials. */
async function pair(
  options: JoinOptions = {},
): Promise<{ server: RendezvousServer; first: MeshNode; second: MeshNode }> {
  const server = await serve({ listen: "127.0.0.1:0" });
  onTestFinished(() => server.close());
  const first = await join(String(server.address), options);
  const second = await join(String(server.address), options);
  onTestFinished(async () => {
    await Promise.all([first.leave(), second.leave()]);
  });
  await Promise.all([first.complete({ size: 2 }), second.complete({ size: 2 })]);
  return { server, first, second };
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

describe("bytes between members", () => {
  it("all arrive though the mesh is torn down right behind them", async () => {
    const { server, first, second } = await pair();
    const heard = countBytes(second);
    first.write(String(second.address), new Uint8Array(3 * megabyte));
    await server.teardown();
    expect(await heard).toBe(3 * megabyte);
  });

  it("all arrive though their writer leaves right behind them, without a note", async () => {
    // The time to linger begins only when all has gone out.
    const { server, first, second } = await pair({ limits: { lingerMs: 1 } });
    const notes: string[] = [];
    first.on("note", ({ code }) => notes.push(code));
    let sum = 0;
    const allHeard = new Promise<void>((resolve) => {
      second.on("bytes", ({ bytes }) => {
        sum += bytes.length;
        if (sum === 12 * megabyte) resolve();
      });
    });
    first.write(String(second.address), new Uint8Array(12 * megabyte));
    await Promise.all([first.leave(), allHeard]);
    expect(notes).toEqual([]);
    await server.teardown();
  });

  it("that are written from within an event count against the limits at once", async () => {
    const { first, second } = await pair({ limits: { queueSoftBytes: 10_000, queueHardBytes: 20_000 } });
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
    const { first, second } = await pair();
    const text = "hello" as unknown as Uint8Array;
    expect(() => first.write(String(second.address), text)).toThrow("Expected `bytes` to be a Uint8Array");
    expect(() => first.writeAll(text)).toThrow("Expected `bytes` to be a Uint8Array");
    const [peer] = first.peers;
    if (peer === undefined) throw new Error("no peer");
    expect(first.write(peer, Buffer.from("hello"))).toBe(true);
  });
});
