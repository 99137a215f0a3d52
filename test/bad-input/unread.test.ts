import { setTimeout as pause } from "node:timers/promises";
import { expect, onTestFinished, test, vi } from "vitest";
import { join, serve } from "../../src/index.js";
import { ResendBuffer } from "../../src/mesh/native/resend-buffer.js";
import { NativeMember } from "./native-member.js";

/** Short enough to be copied onto a page. */
const payloadBytes = 3_900;
/** Header, number, request, form, topic, payload. */
const frameBytes = 5 + 6 + 4 + 1 + 2 + payloadBytes;

/** What a connection is given at once: more than the kernel takes, so that the half of it waits in the process. */
const handedBytes = 8 * 1024 * 1024;

/** Time for the kernel's buffers to fill, and for an acknowledgement to be read. If it is too short the test shows less, and does not fail. */
const fillMs = 200;

test("a member that acknowledges data it has not read gets none of another member's data", async () => {
  const server = await serve({ listen: "127.0.0.1:0" });
  onTestFinished(() => server.close());
  const address = String(server.address);
  const sender = await join(address, { limits: { handedBytes } });
  onTestFinished(() => sender.leave());
  const misbehaving = await NativeMember.join(address);
  const other = await NativeMember.join(address);
  // How many bytes have gone to connections. The misbehaving member could guess it; counting keeps the test short.
  let given = 0;
  const nextSegment = ResendBuffer.prototype.nextSegment;
  const watched = vi.spyOn(ResendBuffer.prototype, "nextSegment").mockImplementation(function (this: ResendBuffer) {
    const segment = nextSegment.call(this);
    given += segment?.length ?? 0;
    return segment;
  });
  onTestFinished(() => watched.mockRestore());
  const ask = async (member: NativeMember, payload: string, count: number): Promise<void> => {
    for (let asked = 0; asked < count; asked += 1) {
      sender.request(member.address, "t", Buffer.alloc(payloadBytes, payload)).catch(() => {});
    }
    await pause(fillMs);
  };
  const count = 4_000;
  await ask(misbehaving, "for the first ", count);
  const handed = Math.floor(given / frameBytes);
  expect(handed).toBeLessThan(count);
  // First what the kernel has, and no more: that leaves the sender with pages that may well be used for somebody else.
  misbehaving.acknowledge(Math.floor(handed / 2));
  await pause(fillMs);
  await ask(other, "for the other ", 1_300);
  // And then what the kernel has not.
  misbehaving.acknowledge(handed - 1);
  await pause(fillMs);
  await ask(other, "for the other ", 300);
  const read = await misbehaving.read(count * frameBytes);
  expect(read.includes("for the first ")).toBe(true);
  expect(read.includes("for the other ")).toBe(false);
  expect(sender.peers.map((peer) => peer.address)).toContain(misbehaving.address);
});
