import { describe, expect, test } from "vitest";
import type { Address } from "../../src/index.js";
import { type RawConnection, rawListener } from "../support/sockets.js";
import { list, type NodeAtFakeServer, nodeAtFakeServer, text } from "./fixtures.js";

const kib = 1024;
const chunk = new Uint8Array(64 * kib).fill(0x78);
const limits = { queueSoftBytes: 256 * kib, queueHardBytes: 1024 * kib };

interface StalledPeerSetup {
  readonly me: NodeAtFakeServer;
  /** A peer whose socket is not read until the test resumes it. */
  readonly stalled: Address;
  readonly stalledEnd: RawConnection;
  readonly healthy: Address;
  readonly healthyEnd: RawConnection;
}

async function nodeWithStalledPeer(): Promise<StalledPeerSetup> {
  const me = await nodeAtFakeServer({ limits });
  const [stalledListener, healthyListener] = [await rawListener({ isPaused: true }), await rawListener()];
  await me.server.write(list(me.address, stalledListener.address, healthyListener.address));
  const stalled = await me.ups.first((address) => address === stalledListener.address);
  const healthy = await me.ups.first((address) => address === healthyListener.address);
  return {
    me,
    stalled,
    healthy,
    stalledEnd: await stalledListener.accepted(1),
    healthyEnd: await healthyListener.accepted(1),
  };
}

/** Writes until the kernel takes no more and this many bytes, or more, wait. Returns how many were taken in all. */
function fill(me: NodeAtFakeServer, peer: Address): number {
  let taken = chunk.length;
  while (me.node.write(peer, chunk)) taken += chunk.length;
  return taken;
}

/** Writes until the hard limit. Returns how many bytes were taken, and the error; no kernel takes 64 MiB. */
function overfill(me: NodeAtFakeServer, peer: Address): { readonly taken: number; readonly error: unknown } {
  let taken = 0;
  try {
    for (; taken < 64 * kib * kib; taken += chunk.length) me.node.write(peer, chunk);
  } catch (error) {
    return { taken, error };
  }
  return { taken, error: undefined };
}

describe("a peer that does not read", () => {
  test("makes write return false at the soft limit, and emits drain when there is room again", async () => {
    const { me, stalled, stalledEnd } = await nodeWithStalledPeer();
    const drained: Address[] = [];
    me.node.on("drain", ({ peer }) => drained.push(peer.address));
    const taken = fill(me, stalled);
    expect(taken).toBeGreaterThan(limits.queueSoftBytes);
    // Still taken, and still false.
    expect(me.node.write(stalled, chunk)).toBe(false);
    expect(drained).toEqual([]);
    const drain = new Promise((resolve) => me.node.once("drain", resolve));
    stalledEnd.socket.resume();
    expect(await drain).toMatchObject({ type: "drain", peer: { address: stalled, dialect: "classic" } });
    expect(me.node.write(stalled, text("<the end>"))).toBe(true);
    const received = await stalledEnd.received("<the end>");
    expect(received.length).toBe(`Hello from:${me.address}`.length + taken + chunk.length + "<the end>".length);
    expect(drained).toEqual([stalled]);
    expect(me.downs.items).toEqual([]);
  });

  test("makes write throw QUEUE_FULL at the hard limit and take nothing, and the link goes on when it reads", async () => {
    const { me, stalled, stalledEnd } = await nodeWithStalledPeer();
    const { taken, error } = overfill(me, stalled);
    expect(error).toMatchObject({ name: "FullmeshError", code: "QUEUE_FULL" });
    expect(String(error)).toContain(stalled);
    expect(() => me.node.write(stalled, chunk)).toThrow(expect.objectContaining({ code: "QUEUE_FULL" }));
    const drain = new Promise((resolve) => me.node.once("drain", resolve));
    stalledEnd.socket.resume();
    await drain;
    expect(me.node.write(stalled, text("<the end>"))).toBe(true);
    const received = await stalledEnd.received("<the end>");
    expect(received.length).toBe(`Hello from:${me.address}`.length + taken + "<the end>".length);
    expect(me.downs.items).toEqual([]);
  });

  test("costs only its own queue: writeAll names it, and the other peer gets everything", async () => {
    const { me, stalled, healthy, healthyEnd } = await nodeWithStalledPeer();
    overfill(me, stalled);
    expect(me.node.writeAll(chunk)).toMatchObject([{ peer: { address: stalled }, code: "QUEUE_FULL" }]);
    expect(me.node.write(healthy, text("<the end>"))).toBe(true);
    const received = await healthyEnd.received("<the end>");
    expect(received.length).toBe(`Hello from:${me.address}`.length + chunk.length + "<the end>".length);
    expect(me.downs.items).toEqual([]);
  });

  test("cannot hold up the end: start resolves though what waits for it never left", async () => {
    const { me, stalled, stalledEnd, healthyEnd } = await nodeWithStalledPeer();
    fill(me, stalled);
    me.server.end();
    expect(await me.node.start()).toBe("the server closed");
    expect(await healthyEnd.ended).toBe("fin");
    expect(stalledEnd.text).toBe("");
  });
});
