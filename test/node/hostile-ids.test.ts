import { readFileSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import { join, type MeshNode, serve } from "../../src/index.js";
import { StartedProcess } from "../support/processes.js";

const library = new URL("../../dist/src/index.js", import.meta.url).href;

function program(text: string): StartedProcess {
  const source = `import { createRequire } from "node:module";\nimport { join } from ${JSON.stringify(library)};\n${text}`;
  const started = new StartedProcess(process.execPath, ["--input-type=module", "-e", source]);
  onTestFinished(() => started.stop());
  return started;
}

/** It takes some of what comes, and keeps the rest waiting for ever: requests, streams, and messages for a loop. */
function victim(server: string): StartedProcess {
  return program(`
    const node = await join(${JSON.stringify(server)}, { name: "victim", logger: false });
    const inWork = [];
    node.onRequest("forever", (payload) => new Promise((resolve) => void inWork.push([payload, resolve])));
    node.onRequest("echo", (payload) => payload);
    node.onStream("deaf", () => {});
    node.onStream("echo", (stream) => stream.pipe(stream));
    const loop = node.subscribe("loop");
    node.on("message", ({ peer, topic, payload }) => {
      if (topic === "echo") node.send(peer, "echoed", payload);
    });
    console.log(node.address);
  `);
}

/** Four members in one process, each of which sends all that it may, and more. */
function hostileMembers(server: string, target: string): StartedProcess {
  return program(`
    const ids = 4;
    const target = ${JSON.stringify(target)};
    const outcomes = {};
    const counted = (outcome) => void (outcomes[outcome] = (outcomes[outcome] ?? 0) + 1);
    // What they send as values, whatever they are asked to send: made once, because to make it costs more than to send it.
    const { Encoder } = createRequire(${JSON.stringify(library)})("@msgpack/msgpack");
    Encoder.prototype.encodeSharedRef = ({ bytes }) => new Uint8Array(bytes);
    const list = (item, count) => {
      const bytes = Buffer.alloc(5 + item.length * count);
      bytes.fill(Buffer.from(item), 5);
      bytes.writeUInt8(0xdd, 0);
      bytes.writeUInt32BE(count, 1);
      return { bytes };
    };
    const attack = async () => {
      const node = await join(${JSON.stringify(server)}, { logger: false, limits: { valueBytes: 2 ** 40 } });
        await node.complete({ size: 2 });
      const settled = () => node.request(target, "echo", undefined, { timeoutMs: Infinity });
      // What is heavier than a value may be, what is nearly as heavy as that, and what is light on the wire only.
      const values = [
        [list([0x80], 262_144), 16],
        [list([0x80], 120_000), 16],
        [list([0x81, 0xcd, 0x03, 0xff, 1], 1_200), 63],
      ];
      for (const [value, times] of values) {
        for (let count = 0; count < times; count += 1) {
          node.request(target, "forever", value, { timeoutMs: Infinity }).catch(({ code }) => counted(code));
          // As much as may be under way.
          if (count === 31) await settled();
        }
        await settled();
      }
      for (let count = 0; count < 20_000; count += 1) {
        if (!node.send(target, "loop", list([], 0))) break;
      }
      const bytes = Buffer.alloc(262_144);
      for (let count = 0; count < 60; count += 1) {
        node.openStream(target, "deaf").on("error", ({ code }) => counted(code)).write(bytes);
      }
      // An id for which the others have left no room is put off with its messages, and all that is behind them is never heard.
      await node.request(target, "echo", undefined, { timeoutMs: 2_000 }).catch(({ code }) => counted("end " + code));
    };
    await Promise.all(Array.from({ length: ids }, attack));
    console.log("attacked " + JSON.stringify(outcomes));
    await new Promise(() => setInterval(() => {}, 1_000));
  `);
}

/** Uses everything that the victim offers, once. */
async function isServed(node: MeshNode, target: string): Promise<boolean> {
  const value = { rows: Array.from({ length: 100 }, (_, row) => ({ row, text: `row ${row}` })) };
  expect(await node.request(target, "echo", value)).toEqual(value);
  const echoed = new Promise((resolve) => {
    node.once("message", ({ payload }) => resolve(payload));
  });
  node.send(target, "echo", value);
  expect(await echoed).toEqual(value);
  const stream = node.openStream(target, "echo");
  stream.end(Buffer.alloc(100_000, 7));
  let bytes = 0;
  for await (const chunk of stream) bytes += chunk.length;
  expect(bytes).toBe(100_000);
  return true;
}

/** The most memory that a process has ever had resident, in MiB. */
function peakMiB({ pid }: StartedProcess): number {
  const [, kilobytes] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) / 1_024;
}

describe.skipIf(process.platform !== "linux")("a member beside four hostile ids of one secret holder", () => {
  it("stays under 600 MiB, and serves an honest one meanwhile and afterwards", async () => {
    const server = await serve({ listen: "127.0.0.1:0" });
    onTestFinished(() => server.close());
    const member = victim(String(server.address));
    const target = await member.line((line) => line.startsWith("127."), "its address");
    const honest = await join(String(server.address));
    onTestFinished(() => honest.leave());
    await honest.complete({ size: 2 });
    const attack = hostileMembers(String(server.address), target);
    let isOver = false;
    const over = attack.line((line) => line.startsWith("attacked"), "that it has sent everything", 50_000);
    const end = (): void => {
      isOver = true;
    };
    over.then(end, end);
    let served = 0;
    while (!isOver) served += (await isServed(honest, target)) ? 1 : 0;
    const outcomes = JSON.parse((await over).slice("attacked ".length)) as Record<string, number>;
    expect(await isServed(honest, target)).toBe(true);
    expect(served).toBeGreaterThan(2);
    expect(outcomes).toMatchObject({ BAD_VALUE: 4 * 16, OVERLOADED: expect.any(Number) });
    expect(peakMiB(member)).toBeLessThan(600);
  });
});
