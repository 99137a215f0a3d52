import { describe, expect, test } from "vitest";
import { join } from "../../src/index.js";
import { freePort, type RawConnection, rawListener } from "../support/sockets.js";
import { healthyMesh, list, type NodeAtFakeServer, nodeAtFakeServer, RecordedNode } from "./fixtures.js";

/** A classic node that has connected to this server and listens, and has not registered. */
async function connected(server: string): Promise<RecordedNode> {
  const me = new RecordedNode({ dialect: "classic", limits: { quietMs: 50, lingerMs: 50 } });
  await me.node.connectToServer(server);
  await me.node.initListeningSocket("127.0.0.1", 0);
  await me.node.sockListen();
  return me;
}

/** A node at a fake server, and the peer's end of the one link that it has dialed. */
async function nodeWithLink(): Promise<{ readonly me: NodeAtFakeServer; readonly link: RawConnection }> {
  const me = await nodeAtFakeServer();
  const peer = await rawListener();
  await me.server.write(list(me.address, peer.address));
  await me.registering;
  const link = await peer.accepted(1);
  await link.received("Hello from:");
  return { me, link };
}

describe("an unreachable server", () => {
  test("fails connectToServer at once with SERVER_UNREACHABLE, and join in the end, with that as the cause", async () => {
    const address = `127.0.0.1:${await freePort()}`;
    const unreachable = { code: "SERVER_UNREACHABLE", message: `${address}: ECONNREFUSED` };
    await expect(join(address, { timeoutMs: 100 })).rejects.toMatchObject({
      code: "TIMED_OUT",
      message: `after 100 ms no connection to ${address}: ECONNREFUSED`,
      cause: expect.objectContaining(unreachable),
    });
    const { node } = new RecordedNode();
    await expect(node.connectToServer(address)).rejects.toMatchObject(unreachable);
  });

  test("fails connectToServer with SERVER_UNREACHABLE for a host name that does not exist", async () => {
    const { node } = new RecordedNode();
    await expect(node.connectToServer("nowhere.invalid:4000")).rejects.toMatchObject({
      code: "SERVER_UNREACHABLE",
      message: expect.stringMatching(/^nowhere\.invalid:4000: /),
    });
  });

  test("can be dialed again, and is connected to once it listens", async () => {
    const port = await freePort();
    const { node } = new RecordedNode();
    await expect(node.connectToServer(`127.0.0.1:${port}`)).rejects.toMatchObject({ code: "SERVER_UNREACHABLE" });
    const listener = await rawListener({ port });
    await node.connectToServer(listener.address);
    expect((await listener.accepted(1)).remote).toMatch(/^127\.0\.0\.1:/);
  });
});

describe("a server that vanishes before the registration", () => {
  test("has its idle connection closed when it never stops sending, and registering connects again", async () => {
    const listener = await rawListener();
    const me = await connected(listener.address);
    const idle = await listener.accepted(1);
    await idle.write("A".repeat(100_000));
    expect(await me.notes.nth(1)).toMatchObject({ code: "SERVER_IDLE_CLOSED", level: "info" });
    expect(await idle.ended).toBe("fin");
    const registering = me.node.registerWithServer();
    const server = await listener.accepted(2);
    await server.write(list(await server.received(/:\d+$/)));
    await registering;
  });

  test.each([
    ["closes", "end"],
    ["resets", "reset"],
  ] as const)("is noted with SERVER_IDLE_CLOSED when it %s, and registering connects again", async (_, how) => {
    const listener = await rawListener();
    const me = await connected(listener.address);
    const idle = await listener.accepted(1);
    idle[how]();
    expect(await me.notes.nth(1)).toMatchObject({
      code: "SERVER_IDLE_CLOSED",
      level: "info",
      remote: listener.address,
    });
    const registering = me.node.registerWithServer();
    const server = await listener.accepted(2);
    const own = await server.received(/:\d+$/);
    await server.write(list(own));
    await registering;
    expect(me.address).toBe(own);
    expect(idle.text).toBe("");
    expect(me.notes.codes).toEqual(["SERVER_IDLE_CLOSED"]);
  });

  test("fails the registration with SERVER_UNREACHABLE when nobody listens there any more", async () => {
    const listener = await rawListener({ port: await freePort() });
    const me = await connected(listener.address);
    listener.close();
    (await listener.accepted(1)).end();
    await me.notes.wait("SERVER_IDLE_CLOSED");
    await expect(me.node.registerWithServer()).rejects.toMatchObject({
      code: "SERVER_UNREACHABLE",
      message: `${listener.address}: ECONNREFUSED`,
    });
    await expect(me.node.start()).rejects.toMatchObject({ code: "SERVER_UNREACHABLE" });
  });

  test("can be joined in steps with pauses longer than the server waits for a first byte", async () => {
    const mesh = await healthyMesh({ limits: { firstByteMs: 100 } });
    const me = new RecordedNode();
    await me.node.connectToServer(mesh.address);
    await mesh.notes.wait("HANDSHAKE_TIMEOUT");
    await me.notes.wait("SERVER_IDLE_CLOSED");
    await me.node.initListeningSocket("127.0.0.1", 0);
    await me.node.sockListen();
    await me.node.registerWithServer();
    await me.node.complete({ size: 3 });
    const left = new Promise((resolve) => mesh.server.once("left", resolve));
    await me.node.leave();
    await left;
    await mesh.undisturbed({ guests: [me.address] });
    expect(mesh.notes.codes).toEqual(["HANDSHAKE_TIMEOUT"]);
  });
});

describe("a server that vanishes during the registration", () => {
  test.each([
    ["closes", "end"],
    ["resets", "reset"],
  ] as const)("fails it with SERVER_VANISHED when it %s", async (_, how) => {
    const me = await nodeAtFakeServer();
    const address = me.server.local;
    me.server[how]();
    const vanished = { code: "SERVER_VANISHED", message: `${address}: closed before it had listed this node` };
    await expect(me.registering).rejects.toMatchObject(vanished);
    await expect(me.node.start()).rejects.toMatchObject(vanished);
  });

  test.each([
    ["closes", "end"],
    ["resets", "reset"],
  ] as const)("is dialed again by join when it %s, and admits the node once it is back", async (_, how) => {
    const listener = await rawListener();
    const joining = join(listener.address, { dialect: "classic" });
    const first = await listener.accepted(1);
    await first.received(/:\d+$/);
    first[how]();
    const second = await listener.accepted(2);
    const own = await second.received(/:\d+$/);
    await second.write(list(own));
    const node = await joining;
    expect(node.address).toBe(own);
    second.end();
    await node.closed;
  });

  test("fails it with SERVER_VANISHED also after lists that lacked the node", async () => {
    const me = await nodeAtFakeServer();
    await me.server.write(list("127.0.0.1:14000"));
    await me.notes.wait("NOT_LISTED");
    me.server.end();
    await expect(me.registering).rejects.toMatchObject({ code: "SERVER_VANISHED" });
  });
});

describe("a server that vanishes after the registration", () => {
  test("ends the mesh when it closes: start resolves, and the links close", async () => {
    const { me, link } = await nodeWithLink();
    me.server.end();
    expect(await link.ended).toBe("fin");
    link.end();
    expect(await me.node.start()).toBe("the server closed");
    expect(me.notes.codes).toEqual([]);
  });

  test("makes start reject with INCOMPLETE and the server's message when the mesh was not complete", async () => {
    const me = await nodeAtFakeServer();
    await me.server.write(list(me.address));
    await me.registering;
    await me.server.write("refused INCOMPLETE: not complete within 60 s: 1 of 2 members are there");
    me.server.end();
    await expect(me.node.start()).rejects.toMatchObject({
      code: "INCOMPLETE",
      message: "not complete within 60 s: 1 of 2 members are there",
    });
  });

  test("makes start reject with SERVER_VANISHED when it resets, and the links close", async () => {
    const { me, link } = await nodeWithLink();
    const address = me.server.local;
    me.server.reset();
    expect(await link.ended).toBe("fin");
    link.end();
    await expect(me.node.start()).rejects.toMatchObject({
      code: "SERVER_VANISHED",
      message: `the connection to ${address} broke: ECONNRESET`,
    });
  });

  test("closes the links also with peers that do not close their end", async () => {
    const { me, link } = await nodeWithLink();
    me.server.end();
    expect(await me.node.start()).toBe("the server closed");
    expect(await link.ended).toBe("fin");
  });
});
