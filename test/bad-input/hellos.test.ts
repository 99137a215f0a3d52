import { describe, expect, test } from "vitest";
import type { NodeOptions } from "../../src/index.js";
import { freePort, type RawConnection, rawClient, rawListener } from "../support/sockets.js";
import { list, type NodeAtFakeServer, nodeAtFakeServer, text } from "./fixtures.js";

interface Linked {
  readonly me: NodeAtFakeServer;
  /** A peer that joined before the node and has dialed it. */
  readonly earlier: string;
  readonly link: RawConnection;
}

/** A node with one healthy link, which no other connection may disturb. */
async function nodeWithLink(options: NodeOptions = {}): Promise<Linked> {
  const me = await nodeAtFakeServer(options);
  const earlier = `127.0.0.1:${await freePort()}`;
  await me.server.write(list(earlier, me.address));
  await me.registering;
  const link = await rawClient(me.address);
  await link.write(`Hello from:${earlier}`);
  await me.ups.first((address) => address === earlier);
  return { me, earlier, link };
}

/** Resolves when the node has processed all that was written to it before this call: a later connection has been refused. */
async function processed(me: NodeAtFakeServer, calls: number): Promise<void> {
  const marker = await rawClient(me.address);
  await marker.write("?");
  await me.notes.wait("BAD_HELLO", calls);
}

/** That the healthy link carries bytes both ways and has never been down. */
async function undisturbed({ me, earlier, link }: Linked): Promise<void> {
  const peer = me.node.peers.find(({ address }) => address === earlier);
  expect(peer).toEqual({ address: earlier, dialect: "classic", direction: "accepted", state: "up" });
  await link.write("<there>");
  await me.received(me.ups.items[0] ?? me.address, "<there>");
  me.node.write(earlier, text("<and back>"));
  await link.received("<and back>");
  expect(me.downs.items).toEqual([]);
}

describe("a hello from an address that no list names", () => {
  test("is parked, and admitted with what follows it when a list names it in time", async () => {
    const linked = await nodeWithLink();
    const { me, earlier } = linked;
    const late = `127.0.0.1:${await freePort()}`;
    const dialer = await rawClient(me.address);
    await dialer.write(`Hello from:${late}`);
    await processed(me, 1);
    await dialer.write("and more");
    await processed(me, 2);
    expect(me.ups.items).toEqual([earlier]);
    await me.server.write(list(earlier, late, me.address));
    const admitted = await me.ups.nth(2, () => true);
    expect(admitted).toBe(late);
    await me.received(admitted, "and more");
    me.node.write(late, text("welcome"));
    expect(await dialer.received("welcome")).toBe("welcome");
    await undisturbed(linked);
    expect(me.notes.codes).toEqual(["BAD_HELLO", "BAD_HELLO"]);
  });

  test("is parked, and admitted with what is glued to it when a list names it in time", async () => {
    const linked = await nodeWithLink();
    const { me, earlier } = linked;
    const late = `127.0.0.1:${await freePort()}`;
    const dialer = await rawClient(me.address);
    await dialer.write(`Hello from:${late}and more`);
    await processed(me, 1);
    await me.server.write(list(earlier, late, me.address));
    const admitted = await me.ups.nth(2, () => true);
    await dialer.write(", and the end");
    await me.received(admitted, "the end");
    expect(me.textOf(admitted)).toBe("and more, and the end");
    await undisturbed(linked);
  });

  test("is closed with UNKNOWN_PEER when no list names it in time", async () => {
    const linked = await nodeWithLink({ limits: { parkedMs: 200 } });
    const { me, earlier } = linked;
    const client = await rawClient(me.address);
    await client.write("Hello from:127.0.0.1:14000");
    const note = await me.notes.nth(1);
    expect(note).toMatchObject({ code: "UNKNOWN_PEER", level: "warn", remote: client.local });
    expect(note.message).toContain("127.0.0.1:14000");
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("");
    expect(me.ups.items).toEqual([earlier]);
    await undisturbed(linked);
  });

  test("is closed with PARKING_FULL when too many others wait", async () => {
    const linked = await nodeWithLink({ limits: { parked: 1, parkedMs: 600_000 } });
    const { me } = linked;
    const parked = await rawClient(me.address);
    await parked.write("Hello from:127.0.0.1:14000");
    await processed(me, 1);
    const client = await rawClient(me.address);
    await client.write("Hello from:127.0.0.1:14001");
    expect(await me.notes.nth(2)).toMatchObject({ code: "PARKING_FULL", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    await undisturbed(linked);
  });

  test.each([
    ["in a piece of their own", false],
    ["glued to it", true],
  ])("is closed with PARKING_FULL when more than parkedBytes follow it, %s", async (_, isGlued) => {
    const linked = await nodeWithLink({ limits: { parkedBytes: 1_000, parkedMs: 600_000 } });
    const { me } = linked;
    const client = await rawClient(me.address);
    const tooMuch = "x".repeat(1_001);
    await client.write(`Hello from:127.0.0.1:14000${isGlued ? tooMuch : ""}`);
    await processed(me, 1);
    if (!isGlued) {
      await client.write(tooMuch);
      await processed(me, 2);
    }
    expect(me.notes.codes).toContain("PARKING_FULL");
    expect(await client.ended).toBe("fin");
    await undisturbed(linked);
  });
});

describe("a hello that contradicts what the node knows", () => {
  test("is closed with ALREADY_LINKED when its peer has a link on another connection", async () => {
    const linked = await nodeWithLink();
    const { me, earlier } = linked;
    const second = await rawClient(me.address);
    await second.write(`Hello from:${earlier}`);
    expect(await me.notes.nth(1)).toMatchObject({ code: "ALREADY_LINKED", level: "warn", remote: second.local });
    expect(await second.ended).toBe("fin");
    expect(second.text).toBe("");
    expect(me.ups.items).toEqual([earlier]);
    await undisturbed(linked);
  });

  test("is payload when it is the second one on the same connection", async () => {
    const linked = await nodeWithLink();
    const { me, earlier, link } = linked;
    await link.write(`Hello from:${earlier}`);
    await me.received(me.ups.items[0] ?? me.address, `Hello from:${earlier}`);
    expect(me.ups.items).toEqual([earlier]);
    expect(me.notes.codes).toEqual([]);
    await undisturbed(linked);
  });

  test("is closed with HELLO_FROM_SELF when it names the node's own address", async () => {
    const linked = await nodeWithLink();
    const { me, earlier } = linked;
    const client = await rawClient(me.address);
    await client.write(`Hello from:${me.address}`);
    expect(await me.notes.nth(1)).toMatchObject({ code: "HELLO_FROM_SELF", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("");
    expect(me.ups.items).toEqual([earlier]);
    await undisturbed(linked);
  });

  test("is closed with WRONG_DIRECTION when it comes from a member that joined later, and the link to it stays", async () => {
    const linked = await nodeWithLink();
    const { me, earlier } = linked;
    const later = await rawListener();
    await me.server.write(list(earlier, me.address, later.address));
    const dialed = await later.accepted(1);
    await dialed.received(`Hello from:${me.address}`);
    const client = await rawClient(me.address);
    await client.write(`Hello from:${later.address}`);
    expect(await me.notes.nth(1)).toMatchObject({ code: "WRONG_DIRECTION", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("");
    expect(me.node.peers).toMatchObject([
      { address: earlier, direction: "accepted" },
      { address: later.address, direction: "dialed" },
    ]);
    await dialed.write("<dialed>");
    const peer = await me.ups.nth(2, () => true);
    await me.received(peer, "<dialed>");
    await undisturbed(linked);
  });

  test("is closed with WRONG_DIRECTION also while the later member cannot be dialed", async () => {
    const linked = await nodeWithLink({ limits: { redialMinMs: 600_000, redialMaxMs: 600_000 } });
    const { me, earlier } = linked;
    const later = `127.0.0.1:${await freePort()}`;
    await me.server.write(list(earlier, me.address, later));
    await me.notes.wait("DIAL_FAILED");
    const client = await rawClient(me.address);
    await client.write(`Hello from:${later}`);
    await me.notes.wait("WRONG_DIRECTION");
    expect(await client.ended).toBe("fin");
    expect(me.ups.items).toEqual([earlier]);
    await undisturbed(linked);
  });
});

describe("a node with too many connections", () => {
  test("notes BUSY and closes those beyond the pending handshakes", async () => {
    const linked = await nodeWithLink({ limits: { handshakesPending: 1, firstByteCrowdedMs: 600_000 } });
    const { me } = linked;
    const silent = await rawClient(me.address);
    const client = await rawClient(me.address);
    expect(await me.notes.nth(1)).toMatchObject({ code: "BUSY", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("");
    silent.end();
    await me.notes.wait("NOTHING_SAID");
    await undisturbed(linked);
  });

  test("notes NO_DESCRIPTORS and closes at once those beyond the connection limit", async () => {
    // One to the server, one link.
    const linked = await nodeWithLink({ limits: { connections: 2 } });
    const { me } = linked;
    const client = await rawClient(me.address);
    expect(await me.notes.nth(1)).toMatchObject({ code: "NO_DESCRIPTORS", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    await undisturbed(linked);
  });
});
