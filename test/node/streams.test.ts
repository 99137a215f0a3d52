import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable, Transform } from "node:stream";
import { buffer } from "node:stream/consumers";
import { finished, pipeline } from "node:stream/promises";
import { describe, expect, it } from "vitest";
import { FullmeshError, type MeshNode, type MeshStream } from "../../src/index.js";
import { Recorder } from "../support/sockets.js";
import { addressOf, codeOf, outcomeOf } from "./outcomes.js";
import { pair } from "./pair.js";

const megabyte = 1024 * 1024;

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The streams of a topic that peers open. */
function streamsOf(node: MeshNode, topic: string): Recorder<MeshStream> {
  const streams = new Recorder<MeshStream>();
  node.onStream(topic, (stream) => streams.add(stream));
  return streams;
}

interface Ends {
  readonly ours: MeshStream;
  readonly theirs: MeshStream;
  readonly first: MeshNode;
  readonly second: MeshNode;
}

/** Both ends of one stream that the first node has opened. */
async function stream(options: Parameters<typeof pair>[0] = {}): Promise<Ends> {
  const { first, second } = await pair(options);
  const streams = streamsOf(second, "load");
  const ours = first.openStream(addressOf(second), "load");
  return { ours, theirs: await streams.nth(1, () => true), first, second };
}

/** The error that a stream comes to. */
async function errorOf(stream: MeshStream): Promise<FullmeshError> {
  if (stream.errored === null || stream.errored === undefined) await once(stream, "error");
  return stream.errored as FullmeshError;
}

describe("a stream", () => {
  it("carries megabytes both ways at once, unchanged, whatever the chunks", async () => {
    const { ours, theirs } = await stream();
    const there = randomBytes(6 * megabyte);
    const back = randomBytes(5 * megabyte);
    const sizes = [1, 100, 4_095, 4_096, 70_000, 300_000];
    const chunks = function* (bytes: Buffer): Generator<Buffer> {
      for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1;
        yield bytes.subarray(at, at + size);
        at += size;
      }
    };
    const [gotThere, gotBack] = await Promise.all([
      buffer(theirs),
      buffer(ours),
      pipeline(Readable.from(chunks(there)), ours, { end: true }),
      pipeline(Readable.from(chunks(back)), theirs, { end: true }),
    ]);
    expect([hashOf(gotThere), hashOf(gotBack)]).toEqual([hashOf(there), hashOf(back)]);
    await Promise.all([finished(ours), finished(theirs)]);
  });

  it("tells of its peer and its topic at both ends, and takes texts", async () => {
    const { ours, theirs, first, second } = await stream();
    expect([ours.peer.address, theirs.peer.address]).toEqual([second.address, first.address]);
    expect([ours.topic, theirs.topic]).toEqual(["load", "load"]);
    ours.end("größe");
    expect((await buffer(theirs)).toString()).toBe("größe");
  });

  it("ends each direction on its own", async () => {
    const { ours, theirs } = await stream();
    ours.end("question");
    expect((await buffer(theirs)).toString()).toBe("question");
    // The other direction is as open as before.
    theirs.write("ans");
    theirs.end("wer");
    expect((await buffer(ours)).toString()).toBe("answer");
    await Promise.all([finished(ours), finished(theirs)]);
    expect([ours.errored, theirs.errored]).toEqual([null, null]);
  });

  it("writes many small chunks that were held up, in order, and a caller may use its buffer again", async () => {
    const { ours, theirs } = await stream();
    const chunk = Buffer.alloc(4);
    const count = 50_000;
    ours.cork();
    for (let number = 0; number < count; number += 1) {
      ours.write(Buffer.from(chunk.fill(0)));
      chunk.writeUInt32BE(number);
      ours.write(Buffer.from(chunk));
    }
    ours.uncork();
    const reused = Buffer.from("last");
    ours.write(reused, () => {
      reused.fill(0);
      ours.end();
    });
    const all = await buffer(theirs);
    expect(all.length).toBe(8 * count + 4);
    for (let number = 0; number < count; number += 1) {
      if (all.readUInt32BE(8 * number + 4) !== number) throw new Error(`${number} is not in its place`);
    }
    expect(all.subarray(-4).toString()).toBe("last");
  });

  it("holds its writer up while nobody reads, and messages pass it by", async () => {
    const { ours, theirs, first, second } = await stream();
    let written = 0;
    const chunk = Buffer.alloc(65_536, "x");
    second.onRequest("ping", () => "pong");
    while (!ours.writableNeedDrain) {
      ours.write(chunk);
      written += chunk.length;
      // What could still go out has gone by the time that so many replies have come.
      for (let round = 0; round < 20; round += 1) await first.request(addressOf(second), "ping");
    }
    expect(written).toBeLessThan(2 * megabyte);
    // Once it is read, it goes on.
    const read = buffer(theirs);
    await once(ours, "drain");
    ours.end();
    expect(await read).toHaveLength(written);
  });

  it("that is aborted fails at both ends, and the other end learns why", async () => {
    const { ours, theirs } = await stream();
    ours.write("some");
    ours.abort(Object.assign(new Error("no time for this"), { code: "LUNCH" }));
    const error = await errorOf(theirs);
    expect([error.code, error.message]).toEqual(["STREAM_ABORTED", expect.stringContaining("no time for this")]);
    expect(error.cause).toMatchObject({ code: "LUNCH", message: "no time for this" });
    expect(await errorOf(ours)).toMatchObject({ code: "STREAM_ABORTED", cause: { code: "LUNCH" } });
  });

  it("that is aborted with a code that the other end finds itself is not taken for a finding of its own", async () => {
    for (const code of ["PEER_DOWN", "TIMED_OUT"] as const) {
      const { ours, theirs } = await stream();
      ours.abort(new FullmeshError(code, "the one behind me"));
      const error = await errorOf(theirs);
      expect([error.code, error.message]).toEqual(["STREAM_ABORTED", expect.stringContaining("the one behind me")]);
      expect(error.cause).toMatchObject({ name: "RemoteError", code: "STREAM_ABORTED", message: "the one behind me" });
    }
  });

  it("that is destroyed, or whose loop is left, is given up at the other end", async () => {
    for (const give of [
      (each: MeshStream): unknown => each.destroy(new Error("out of paper")),
      async (each: MeshStream): Promise<void> => {
        each.write("x".repeat(10));
        for await (const _chunk of each) break;
      },
    ]) {
      const { ours, theirs } = await stream();
      const failed = errorOf(theirs);
      theirs.on("data", () => {});
      theirs.write("something to read");
      await give(ours);
      expect((await failed).code).toBe("STREAM_ABORTED");
      expect(ours.destroyed && theirs.destroyed).toBe(true);
    }
  });

  it("tells writes that wait, and whoever waits for its end, when it is destroyed", async () => {
    const { ours, theirs } = await stream();
    const written = new Recorder<unknown>();
    for (let count = 0; count < 40; count += 1) {
      ours.write(Buffer.alloc(65_536), (error) => written.add(error === null || error === undefined));
    }
    // Until nothing is read any more, a few of them go.
    await written.nth(2, (isWritten) => isWritten === true);
    const ended = finished(ours).catch(codeOf);
    ours.destroy();
    expect(await ended).toBe("ABORTED");
    await written.nth(40, () => true);
    expect(written.items.at(-1)).toBe(false);
    expect((await errorOf(theirs)).code).toBe("STREAM_ABORTED");
  });

  it("without anybody to take it fails with NO_HANDLER as the cause, and is no uncaught error", async () => {
    const { first, second } = await pair();
    const lone = first.openStream(addressOf(second), "nobody");
    lone.write("hello?");
    await new Promise((resolve) => lone.once("close", resolve));
    expect(codeOf(lone.errored)).toBe("STREAM_ABORTED");
    expect(lone.errored?.cause).toMatchObject({ code: "NO_HANDLER" });
  });

  it("is aborted with what its taker throws or rejects with", async () => {
    const { first, second, secondLog } = await pair();
    second.onStream("throws", () => {
      throw new Error("broken pen");
    });
    second.onStream("rejects", async (each) => {
      await once(each, "data");
      throw Object.assign(new Error("not now"), { code: "PEN_BUSY" });
    });
    const thrown = first.openStream(addressOf(second), "throws");
    expect((await errorOf(thrown)).cause).toMatchObject({ code: "HANDLER_FAILED", message: "broken pen" });
    const rejected = first.openStream(addressOf(second), "rejects");
    rejected.write("hello");
    expect((await errorOf(rejected)).cause).toMatchObject({
      name: "RemoteError",
      code: "PEN_BUSY",
      message: "not now",
    });
    await secondLog.nth(2, ({ code, stack }) => code === "HANDLER_FAILED" && stack?.includes("streams.test") === true);
  });

  it("goes through pipelines, whose failure at one end reaches the other", async () => {
    const { first, second } = await pair();
    const shout = (): Transform =>
      new Transform({ transform: (chunk, _encoding, done) => done(null, String(chunk).toUpperCase()) });
    second.onStream("shout", async (each) => {
      await pipeline(each, shout(), each);
    });
    const loud = first.openStream(addressOf(second), "shout");
    loud.end("hello");
    expect((await buffer(loud)).toString()).toBe("HELLO");
    const failing = first.openStream(addressOf(second), "shout");
    const source = new Readable({ read() {} });
    source.push("hel");
    const piped = pipeline(source, failing, async (back: AsyncIterable<Buffer>) => {
      for await (const _chunk of back) source.destroy(new Error("the disk is full"));
    });
    await expect(piped).rejects.toThrow("the disk is full");
    expect(second.peers).toHaveLength(1);
  });

  it("whose bytes are transferred away before they are read says so, instead of leaving them out", async () => {
    const { ours, theirs, first, second } = await stream();
    const gone = new Promise<void>((resolve) => {
      second.once("message", ({ payload }) => {
        const { buffer } = payload as Uint8Array<ArrayBuffer>;
        structuredClone(buffer, { transfer: [buffer] });
        resolve();
      });
    });
    // Both go out in one turn, and come in one read.
    ours.write(randomBytes(8_000));
    first.send(String(second.address), "behind it", randomBytes(100));
    await gone;
    const failure = new Promise((resolve) => theirs.once("error", resolve));
    theirs.resume();
    expect(await failure).toMatchObject({ code: "PAYLOAD_CHANGED" });
  });

  it("whose bytes come one by one is kept in few pieces until somebody reads", async () => {
    const { ours, theirs, first, second } = await stream({ limits: { streamFrameBytes: 1 } });
    const bytes = randomBytes(2_000);
    const isThere = new Promise((resolve) => second.once("message", resolve));
    ours.end(bytes);
    first.send(String(second.address), "behind it");
    await isThere;
    const pieces: Buffer[] = [];
    theirs.on("data", (piece: Buffer) => pieces.push(piece));
    await new Promise((resolve) => theirs.once("end", resolve));
    expect(Buffer.concat(pieces)).toEqual(bytes);
    expect(pieces.length).toBeLessThan(10);
  });

  it("that was ended arrives completely at a slow reader, although its writer leaves at once", async () => {
    const { ours, theirs, first } = await stream({ limits: { streamWindowMaxBytes: 262_144 } });
    // More than the peer takes unread, by less than one frame: all of it counts as written.
    const bytes = randomBytes(315_000);
    const pieces = Array.from({ length: 35 }, (_, index) => bytes.subarray(index * 9_000, (index + 1) * 9_000));
    await pipeline(Readable.from(pieces), ours);
    let hasLeft = false;
    const left = first.leave().then(() => {
      hasLeft = true;
    });
    const got: Buffer[] = [];
    let leftBefore: boolean | undefined;
    for await (const chunk of theirs) {
      leftBefore ??= hasLeft;
      got.push(chunk);
      await new Promise(setImmediate);
    }
    await left;
    expect([hashOf(Buffer.concat(got)), leftBefore]).toEqual([hashOf(bytes), false]);
  });

  it("is read to its end although the link has ended before, and is closed only then", async () => {
    const { ours, theirs, first } = await stream();
    const bytes = randomBytes(100_000);
    ours.end(bytes);
    await once(theirs, "readable");
    await first.leave();
    expect(first.peers).toMatchObject([{ state: "broken" }]);
    const closed = once(theirs, "close");
    expect(hashOf(await buffer(theirs))).toBe(hashOf(bytes));
    await closed;
  });

  it("fails with PEER_DOWN when the peer leaves, and with ENDED at the peer itself", async () => {
    const { ours, theirs, second } = await stream();
    const failures = [errorOf(ours), errorOf(theirs)];
    await second.leave();
    expect((await Promise.all(failures)).map(codeOf)).toEqual(["PEER_DOWN", "ENDED"]);
  });

  it("beyond those that may be open is refused with OVERLOADED", async () => {
    const { first, second } = await pair({ limits: { streamsOpen: 2 } });
    streamsOf(second, "load");
    const streams = Array.from({ length: 3 }, () => first.openStream(addressOf(second), "load"));
    const last = streams.at(-1);
    if (last === undefined) throw new Error("no stream");
    expect((await errorOf(last)).cause).toMatchObject({ code: "OVERLOADED" });
    expect(streams.map(({ destroyed }) => destroyed)).toEqual([false, false, true]);
  });

  it("that is over keeps its place until what came is read, or it is destroyed", async () => {
    const { first, second } = await pair({ limits: { streamsOpen: 1 } });
    const streams = streamsOf(second, "load");
    const open = (): MeshStream => first.openStream(addressOf(second), "load");
    const ours = open();
    ours.resume().end("all of it");
    const theirs = await streams.nth(1, () => true);
    theirs.end();
    await finished(ours);
    // It is over at both ends, and nobody has read it.
    expect((await errorOf(open())).cause).toMatchObject({ code: "OVERLOADED" });
    theirs.destroy();
    open();
    await streams.nth(2, () => true);
  });

  it("is refused with a code for what is none", async () => {
    const { first, second } = await pair({}, { dialect: "classic" });
    const to = addressOf(second);
    expect(outcomeOf(() => first.openStream(to, "x"))).toBe("CLASSIC_PEER");
    expect(outcomeOf(() => second.openStream(addressOf(first), "x"))).toBe("CLASSIC_PEER");
    expect(outcomeOf(() => first.openStream("127.0.0.1:1", "x"))).toBe("UNKNOWN_PEER");
    expect(outcomeOf(() => first.openStream(to, "a".repeat(256)))).toBe("BAD_OPTION");
    const stop = first.onStream("x", () => {});
    expect(outcomeOf(() => first.onStream("x", () => {}))).toBe("WRONG_STEP");
    stop();
    first.onStream("x", () => {});
    await first.leave();
    expect(outcomeOf(() => first.openStream(to, "x"))).toBe("ENDED");
  });
});
