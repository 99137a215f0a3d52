// Streams of bytes: Node's own, with a pace of their own, both ways, to be used with everything that takes one.
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const first = await join(server.address);
  const second = await join(server.address);
  await Promise.all([first.complete({ size: 2 }), second.complete({ size: 2 })]);
  // Counts what comes, and says how much it was: the other direction is still open then.
  second.onStream("count", async (stream) => {
    let bytes = 0;
    for await (const chunk of stream.pipe(createGunzip())) bytes += chunk.length;
    stream.end(`${bytes} bytes`);
  });
  second.onStream("moody", (stream) => stream.abort(new Error("not today")));

  const [peer] = first.peers;
  const counted = first.openStream(peer, "count");
  const [answer] = await Promise.all([
    text(counted),
    pipeline(Readable.from(Array.from({ length: 100 }, () => Buffer.alloc(65_536))), createGzip(), counted),
  ]);
  console.log(answer);
  await text(first.openStream(peer, "moody")).catch(({ code, cause }) => console.log(`${code}: ${cause.message}`));
  await text(first.openStream(peer, "nobody")).catch(({ code, cause }) => console.log(`${code}: ${cause.code}`));
} finally {
  await server.teardown();
}

// Prints:
// 6553600 bytes
// STREAM_ABORTED: not today
// STREAM_ABORTED: NO_HANDLER
