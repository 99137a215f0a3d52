import { describe, expect, test } from "vitest";
import { freePort, rawClient, rawListener } from "../support/sockets.js";
import { list, nodeAtFakeServer } from "./fixtures.js";

/** How many connections a listener has had, counted by one more that must come last. */
async function connectionsBefore(listener: Awaited<ReturnType<typeof rawListener>>): Promise<number> {
  const marker = await rawClient(listener.address);
  // The kernel hands out connections in the order in which they came.
  await listener.connections.first(({ remote }) => remote === marker.local);
  return listener.connections.items.length - 1;
}

describe("a node whose server sends a bad list", () => {
  test("notes NOT_LISTED for a list that lacks its own address, and dials none of its addresses", async () => {
    const me = await nodeAtFakeServer();
    const other = await rawListener();
    const peer = await rawListener();
    await me.server.write(list(other.address));
    const note = await me.notes.nth(1);
    expect(note).toMatchObject({ code: "NOT_LISTED", level: "warn", remote: me.server.local });
    expect(note.message).toBe(`the list lacks ${me.address}`);
    await me.server.write(list(me.address, peer.address));
    await me.registering;
    await me.ups.first((address) => address === peer.address);
    expect(await connectionsBefore(other)).toBe(0);
    expect(me.node.members.map(({ address }) => address)).toEqual([me.address, peer.address]);
    expect(me.notes.codes).toEqual(["NOT_LISTED"]);
  });

  test("keeps its links and its server when a later list lacks its own address", async () => {
    const me = await nodeAtFakeServer();
    const peer = await rawListener();
    await me.server.write(list(me.address, peer.address));
    await me.registering;
    const link = await peer.accepted(1);
    await link.received(`Hello from:${me.address}`);
    await me.server.write(list(peer.address));
    expect(await me.notes.nth(1)).toMatchObject({ code: "NOT_LISTED" });
    expect(me.node.rank).toBe(-1);
    await link.write("still here");
    await me.received(me.ups.items[0] ?? me.address, "still here");
    await me.server.write(list(me.address, peer.address));
    await me.lists.nth(3, () => true);
    expect(me.downs.items).toEqual([]);
    expect(await connectionsBefore(peer)).toBe(1);
  });

  test("notes LIST_DUPLICATE for an address that a list names twice, and links with it once", async () => {
    const me = await nodeAtFakeServer();
    const peer = await rawListener();
    const last = await rawListener();
    await me.server.write(list(me.address, peer.address, peer.address, last.address));
    expect(await me.notes.nth(1)).toMatchObject({ code: "LIST_DUPLICATE", level: "warn", remote: me.server.local });
    await me.ups.nth(2, () => true);
    expect(me.ups.items.toSorted()).toEqual([peer.address, last.address].toSorted());
    expect(await connectionsBefore(peer)).toBe(1);
    expect(me.node.members.map(({ address }) => address)).toEqual([me.address, peer.address, last.address]);
    // The next list, which lacks this node, is noted once it has settled; by then all notes about the first one are there.
    await me.server.write(list(peer.address));
    await me.notes.wait("NOT_LISTED");
    expect(me.notes.codes).toEqual(["LIST_DUPLICATE", "NOT_LISTED"]);
  });

  test("takes the first of the two when its own address stands in a list twice, with LIST_DUPLICATE", async () => {
    const me = await nodeAtFakeServer();
    const before = await rawListener();
    const after = await rawListener();
    const last = await rawListener();
    await me.server.write(list(before.address, me.address, after.address, me.address, last.address));
    await me.registering;
    expect(await me.notes.nth(1)).toMatchObject({ code: "LIST_DUPLICATE", level: "warn" });
    await me.ups.nth(2, () => true);
    expect(me.ups.items.toSorted()).toEqual([after.address, last.address].toSorted());
    expect(await connectionsBefore(before)).toBe(0);
    expect(me.node.rank).toBe(1);
  });

  test("waits to be dialed by a peer that stands both before and after it, with LIST_DUPLICATE", async () => {
    const me = await nodeAtFakeServer();
    const peer = await rawListener();
    const last = await rawListener();
    await me.server.write(list(peer.address, me.address, peer.address, last.address));
    expect(await me.notes.nth(1)).toMatchObject({ code: "LIST_DUPLICATE" });
    await me.ups.nth(1, () => true);
    expect(me.ups.items).toEqual([last.address]);
    expect(await connectionsBefore(peer)).toBe(0);
    const dialer = await rawClient(me.address);
    await dialer.write(`Hello from:${peer.address}`);
    await me.ups.first((address) => address === peer.address);
  });

  test.each([
    ["garbage", "%%%"],
    ["an octet of 300", "300.1.2.3:14000"],
    ["port 0", "127.0.0.1:0"],
    ["port 99999", "127.0.0.1:99999"],
    ["0.0.0.0", "0.0.0.0:14000"],
    ["a lone host", "127.0.0.1"],
  ])("notes BAD_LIST for an entry that is %s, skips it and links with the others", async (_, entry) => {
    const me = await nodeAtFakeServer();
    const peer = await rawListener();
    await me.server.write(list(me.address, entry, peer.address));
    await me.registering;
    expect(await me.notes.nth(1)).toMatchObject({ code: "BAD_LIST", level: "warn", remote: me.server.local });
    await me.ups.first((address) => address === peer.address);
    expect(me.node.members.map(({ address }) => address)).toEqual([me.address, peer.address]);
    await me.lists.first((members) => members.length === 2);
    expect(me.downs.items).toEqual([]);
  });

  test("ends with LIST_TOO_LONG when a list exceeds what it accepts, before and after it has been listed", async () => {
    const me = await nodeAtFakeServer({ limits: { listBytes: 100 } });
    const others = await Promise.all(Array.from({ length: 10 }, async () => `127.0.0.1:${await freePort()}`));
    await me.server.write(list(...others, me.address));
    await expect(me.registering).rejects.toMatchObject({ code: "LIST_TOO_LONG" });
    await expect(me.node.start()).rejects.toMatchObject({
      code: "LIST_TOO_LONG",
      message: "the server's list exceeds 100 bytes",
    });
    expect(await me.server.ended).toBe("fin");
    const listed = await nodeAtFakeServer({ limits: { listBytes: 100 } });
    await listed.server.write(list(listed.address));
    await listed.registering;
    await listed.server.write(list(listed.address, ...others));
    await expect(listed.node.start()).rejects.toMatchObject({ code: "LIST_TOO_LONG" });
    expect(await listed.server.ended).toBe("fin");
  });

  test.each([
    ["letters", "A", `the server answered "${"A".repeat(512)}"`],
    ["NULs", "\0", "the server sent 65536 bytes and neither a list nor an end text"],
  ])("ends with REFUSED when it never stops sending %s", async (_, letter, message) => {
    // The quiet period never comes.
    const me = await nodeAtFakeServer({ limits: { quietMs: 600_000 } });
    await me.server.write(letter.repeat(100_000));
    await expect(me.registering).rejects.toMatchObject({ code: "REFUSED", message });
    expect(await me.server.ended).toBe("fin");
  });

  test("ends with the text that a listed node receives, however long it is", async () => {
    const me = await nodeAtFakeServer({ limits: { quietMs: 600_000, endTextBytes: 20 } });
    await me.server.write(list(me.address));
    await me.registering;
    await me.server.write("A".repeat(100_000));
    await me.node.start();
    expect(await me.server.ended).toBe("fin");
  });
});
