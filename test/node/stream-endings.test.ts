import { once } from "node:events";
import { PassThrough } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { expect, test } from "vitest";
import { FullmeshError } from "../../src/core/errors.js";
import type { Peer } from "../../src/index.js";
import type { Stream } from "../../src/messaging/stream.js";
import { MeshStream, type StreamEvents } from "../../src/node/mesh-stream.js";
import type { MessagingContext } from "../../src/node/messaging-context.js";

const down = new FullmeshError("PEER_DOWN", "the link has ended");
const abort = new FullmeshError("STREAM_ABORTED", "the peer has aborted the stream");

/** A stream of which the test plays the link. Nothing that is written has room. */
function stream(): { readonly mesh: MeshStream; readonly events: StreamEvents } {
  const link = { write: () => false, end: () => {}, abort: () => {}, read: () => {}, skip: () => {} };
  const open = new Map<Stream, StreamEvents>();
  const context = { wake: () => {} } as unknown as MessagingContext;
  const mesh = new MeshStream(
    link as unknown as Stream,
    { address: "10.0.0.1:1" } as unknown as Peer,
    "t",
    context,
    open,
  );
  const [events] = open.values();
  if (events === undefined) throw new Error("nobody listens");
  return { mesh, events };
}

test("what has come to its end is read to its end, whenever the link ends, and then the stream is closed", async () => {
  for (const isReading of [false, true]) {
    const { mesh, events } = stream();
    const early = isReading ? buffer(mesh) : undefined;
    const bytes = Buffer.alloc(150_000, "x");
    for (let at = 0; at < bytes.length; at += 30_000) events.arrived(bytes.subarray(at, at + 30_000));
    events.finished();
    events.aborted(down);
    // The node ends, too.
    events.aborted(new FullmeshError("ENDED", "this node has ended"));
    const closed = once(mesh, "close");
    expect((await (early ?? buffer(mesh))).equals(bytes)).toBe(true);
    await closed;
    expect([mesh.errored, mesh.writableFinished]).toEqual([null, false]);
  }
});

test("it can be piped away to its end, too", async () => {
  const { mesh, events } = stream();
  const sink = new PassThrough({ highWaterMark: 1_000 });
  const piped = pipeline(mesh, sink);
  const bytes = Buffer.alloc(150_000, "x");
  events.arrived(bytes);
  events.finished();
  events.aborted(down);
  expect((await buffer(sink)).equals(bytes)).toBe(true);
  await piped;
  expect(mesh.destroyed).toBe(true);
});

test("a write that waits fails with the link once all that has come is read, and at once if nobody reads", async () => {
  for (const isReading of [false, true]) {
    const { mesh, events } = stream();
    let isRead = false;
    const written = new Promise<[unknown, boolean]>((resolve) => {
      mesh.write("waits", (error) => resolve([error, isRead]));
    });
    events.arrived(Buffer.from("last words"));
    events.finished();
    const reading = isReading ? buffer(mesh) : undefined;
    void reading?.then(() => {
      isRead = true;
    });
    events.aborted(down);
    expect((await reading)?.toString()).toBe(isReading ? "last words" : undefined);
    expect((await written)[0]).toBe(down);
  }
});

test("an end that is said after the link's never seems to have arrived", async () => {
  const { mesh, events } = stream();
  events.finished();
  events.aborted(down);
  const failed = once(mesh, "error");
  mesh.end();
  mesh.resume();
  expect(await failed).toEqual([down]);
  expect([mesh.errored, mesh.writableFinished]).toEqual([down, false]);
});

test.each([
  ["what has not come to its end", false, down],
  ["what the peer has aborted", true, abort],
])("%s fails at once", async (_, isFinished, error) => {
  const { mesh, events } = stream();
  events.arrived(Buffer.from("some"));
  if (isFinished) events.finished();
  events.aborted(error);
  await expect(buffer(mesh)).rejects.toBe(error);
});
