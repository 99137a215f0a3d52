import { describe, expect, onTestFinished, test } from "vitest";
import { serve } from "../../src/index.js";
import { freePort, type RawConnection, rawClient, rawListener } from "../support/sockets.js";
import { addressOf, list, type NodeAtFakeServer, Notes, nodeAtFakeServer } from "./fixtures.js";
import { unacceptingListener } from "./unaccepting.js";

/** Quick to try again, so that a test need not wait. */
const limits = { redialMinMs: 10, redialMaxMs: 40, relinkMs: 10 };

/** Links the node with one more, healthy peer, that no failing dial may disturb. */
async function healthyLink(me: NodeAtFakeServer): Promise<{ address: string; check: () => Promise<void> }> {
  const peer = await rawListener();
  const check = async (): Promise<void> => {
    const link = await peer.accepted(1);
    const up = await me.ups.first((address) => address === peer.address);
    await link.write("<healthy>");
    await me.received(up, "<healthy>");
    expect(me.downs.items).not.toContain(peer.address);
    expect(peer.connections.items.length).toBe(1);
  };
  return { address: peer.address, check };
}

async function hello(connection: RawConnection, from: NodeAtFakeServer): Promise<void> {
  expect(await connection.received(from.address)).toBe(`Hello from:${from.address}`);
}

describe("a node that dials a listed address", () => {
  test("notes DIAL_FAILED when it refuses, tries again while it is listed, and links when somebody listens", async () => {
    const me = await nodeAtFakeServer({ limits });
    const healthy = await healthyLink(me);
    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    await me.server.write(list(me.address, address, healthy.address));
    const note = await me.notes.nth(1);
    expect(note).toMatchObject({ code: "DIAL_FAILED", level: "warn", remote: address });
    expect(note.message).toBe(`cannot reach ${address} (attempt 1): ECONNREFUSED`);
    expect((await me.notes.nth(2)).message).toBe(`cannot reach ${address} (attempt 2): ECONNREFUSED`);
    const listener = await rawListener({ port });
    await hello(await listener.accepted(1), me);
    await me.ups.first((peer) => peer === address);
    await healthy.check();
    expect(me.downs.items).toEqual([]);
  });

  test("gives up a refusing address that the newest list no longer names", async () => {
    const me = await nodeAtFakeServer({ limits });
    const healthy = await healthyLink(me);
    const port = await freePort();
    await me.server.write(list(me.address, `127.0.0.1:${port}`, healthy.address));
    await me.notes.wait("DIAL_FAILED");
    await me.server.write(list(me.address, healthy.address));
    // A list is settled when the next one has come.
    const later = await rawListener();
    await me.server.write(list(me.address, healthy.address, later.address));
    await me.ups.first((peer) => peer === later.address);
    const listener = await rawListener({ port });
    later.connections.items[0]?.socket.destroy();
    await hello(await later.accepted(2), me);
    const marker = await rawClient(listener.address);
    const first = await listener.accepted(1);
    expect(first.remote).toBe(marker.local);
    await healthy.check();
  });

  test("notes DIAL_TIMEOUT when it does not answer, tries again, and links when it answers", async () => {
    const me = await nodeAtFakeServer({ limits: { ...limits, dialMs: 200 } });
    const healthy = await healthyLink(me);
    const asleep = await unacceptingListener();
    await rawClient(asleep.address);
    await rawClient(asleep.address);
    await me.server.write(list(me.address, asleep.address, healthy.address));
    const note = await me.notes.nth(1);
    expect(note).toMatchObject({ code: "DIAL_TIMEOUT", level: "warn", remote: asleep.address });
    expect(note.message).toBe(`cannot reach ${asleep.address} (attempt 1): no answer within 200 ms`);
    await me.notes.wait("DIAL_TIMEOUT", 2);
    await healthy.check();
    asleep.wake();
    await me.ups.first((peer) => peer === asleep.address);
    expect(me.downs.items).toEqual([]);
  });

  test("emits peer:up, then peer:down, for a wrong process that closes at once, and dials it again", async () => {
    const me = await nodeAtFakeServer({ limits });
    const healthy = await healthyLink(me);
    const wrong = await rawListener();
    await me.server.write(list(me.address, wrong.address, healthy.address));
    for (const n of [1, 2, 3]) {
      const connection = await wrong.accepted(n);
      await hello(connection, me);
      await me.ups.nth(n, (peer) => peer === wrong.address);
      connection.end();
      await me.downs.nth(n, (peer) => peer === wrong.address);
      expect(await connection.ended).toBe("fin");
    }
    await healthy.check();
  });

  test("emits peer:up, then peer:down, for a wrong process that resets at once, and dials it again", async () => {
    const me = await nodeAtFakeServer({ limits });
    const healthy = await healthyLink(me);
    const wrong = await rawListener();
    await me.server.write(list(me.address, wrong.address, healthy.address));
    const first = await wrong.accepted(1);
    await hello(first, me);
    await me.ups.nth(1, (peer) => peer === wrong.address);
    first.reset();
    await me.downs.nth(1, (peer) => peer === wrong.address);
    await hello(await wrong.accepted(2), me);
    await me.ups.nth(2, (peer) => peer === wrong.address);
    await healthy.check();
  });

  test("delivers the answer of an HTTP server as bytes, then emits peer:down, and dials it again", async () => {
    const me = await nodeAtFakeServer({ limits });
    const healthy = await healthyLink(me);
    const wrong = await rawListener();
    await me.server.write(list(me.address, wrong.address, healthy.address));
    const connection = await wrong.accepted(1);
    await hello(connection, me);
    await connection.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    connection.end();
    const up = await me.ups.first((peer) => peer === wrong.address);
    await me.received(up, "HTTP/1.1 400 Bad Request");
    await me.downs.first((peer) => peer === wrong.address);
    await hello(await wrong.accepted(2), me);
    await healthy.check();
  });

  test("delivers the refusal of a rendezvous server listed as a member as bytes, then emits peer:down, and dials it again", async () => {
    const me = await nodeAtFakeServer({ limits });
    const healthy = await healthyLink(me);
    const notes = new Notes();
    const server = await serve({ listen: "127.0.0.1:0", logger: notes.logger });
    onTestFinished(() => server.close());
    const wrong = addressOf(server);
    await me.server.write(list(me.address, wrong, healthy.address));
    const note = await notes.nth(1);
    expect(note.code).toBe("HELLO_AT_SERVER");
    await me.received(wrong, "refused HELLO_AT_SERVER: ");
    await me.downs.first((peer) => peer === wrong);
    await notes.wait("HELLO_AT_SERVER", 2);
    expect(server.members).toEqual([]);
    await healthy.check();
  });
});
