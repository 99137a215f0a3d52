import { describe, expect, onTestFinished, test } from "vitest";
import { join, type MeshNode, RendezvousServer, serve } from "../../src/index.js";
import { rawClient, rawListener, splitAddress } from "../support/sockets.js";
import { healthyMesh, RecordedNode } from "./fixtures.js";

function newServer(insecure = false): RendezvousServer {
  const server = new RendezvousServer({ insecure });
  onTestFinished(() => server.close());
  return server;
}

function newNode(insecure = false): MeshNode {
  return new RecordedNode({ insecure }).node;
}

describe("a port that is in use", () => {
  test("fails a server's sockListen with PORT_IN_USE, which names it, and its holder notices nothing", async () => {
    const mesh = await healthyMesh();
    const { host, port } = splitAddress(mesh.address);
    const inUse = { code: "PORT_IN_USE", message: `cannot listen on ${mesh.address}: EADDRINUSE` };
    const server = newServer();
    await server.initSocket(host, port);
    await expect(server.sockListen()).rejects.toMatchObject(inUse);
    expect(server.address).toBeUndefined();
    await expect(serve({ listen: mesh.address })).rejects.toMatchObject(inUse);
    await server.initSocket(host, 0);
    expect(await server.sockListen()).toMatch(/^127\.0\.0\.1:\d+$/);
    await mesh.undisturbed();
  });

  test("fails a node's sockListen and join with PORT_IN_USE, and the node is no member", async () => {
    const mesh = await healthyMesh();
    const holder = await rawListener();
    const { host, port } = splitAddress(holder.address);
    const inUse = { code: "PORT_IN_USE", message: `cannot listen on ${holder.address}: EADDRINUSE` };
    const node = newNode();
    await node.initListeningSocket(host, port);
    await expect(node.sockListen()).rejects.toMatchObject(inUse);
    await expect(join(mesh.address, { listen: holder.address })).rejects.toMatchObject(inUse);
    await node.initListeningSocket(host, 0);
    expect(await node.sockListen()).toMatch(/^127\.0\.0\.1:\d+$/);
    await mesh.undisturbed();
  });
});

describe("an address that is not this machine's", () => {
  // A documentation address, RFC 5737: machines do not have it.
  const elsewhere = "192.0.2.1";

  test("fails a server's sockListen with NOT_OUR_ADDRESS", async () => {
    const server = newServer(true);
    await server.initSocket(elsewhere, 0);
    await expect(server.sockListen()).rejects.toMatchObject({
      code: "NOT_OUR_ADDRESS",
      message: `cannot listen on ${elsewhere}:0: EADDRNOTAVAIL`,
    });
  });

  test("fails a node's sockListen with NOT_OUR_ADDRESS", async () => {
    const node = newNode(true);
    await node.initListeningSocket(elsewhere, 0);
    await expect(node.sockListen()).rejects.toMatchObject({ code: "NOT_OUR_ADDRESS" });
  });
});

describe("an address beyond loopback", () => {
  test.each(["0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "128.0.0.1"])(
    "is refused with INSECURE_LISTEN unless the caller says insecure: %s",
    async (host) => {
      const insecure = { code: "INSECURE_LISTEN", message: expect.stringContaining(host) };
      await expect(newServer().initSocket(host, 0)).rejects.toMatchObject(insecure);
      await expect(newNode().initListeningSocket(host, 0)).rejects.toMatchObject(insecure);
      await newServer(true).initSocket(host, 0);
      await newNode(true).initListeningSocket(host, 0);
    },
  );

  test("is refused with INSECURE_LISTEN by serve and by join", async () => {
    await expect(serve({ listen: "0.0.0.0:0" })).rejects.toMatchObject({ code: "INSECURE_LISTEN" });
    const mesh = await healthyMesh();
    await expect(join(mesh.address, { listen: "0.0.0.0:0" })).rejects.toMatchObject({ code: "INSECURE_LISTEN" });
    await mesh.undisturbed();
  });
});

describe("a step that overlaps another", () => {
  test("listens once when sockListen is called twice at once: the second rejects with WRONG_STEP", async () => {
    for (const listener of [newServer(), newNode()]) {
      if (listener instanceof RendezvousServer) await listener.initSocket("127.0.0.1", 0);
      else await listener.initListeningSocket("127.0.0.1", 0);
      const [first, second] = await Promise.allSettled([listener.sockListen(), listener.sockListen()]);
      expect(first.status).toBe("fulfilled");
      expect(second).toMatchObject({ status: "rejected", reason: { code: "WRONG_STEP" } });
    }
  });

  test("listens no more when a server is closed while it begins to", async () => {
    const server = newServer();
    await server.initSocket("127.0.0.1", 0);
    const listening = server.sockListen().catch(() => undefined);
    await server.close();
    const address = await listening;
    if (address !== undefined) await expect(rawClient(address)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("listens no more when a node leaves while it begins to", async () => {
    const node = newNode();
    await node.initListeningSocket("127.0.0.1", 0);
    const listening = node.sockListen().catch(() => undefined);
    await node.leave();
    const address = await listening;
    if (address !== undefined) await expect(rawClient(address)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("does not begin to listen after close or leave: ENDED", async () => {
    const server = newServer();
    await server.initSocket("127.0.0.1", 0);
    await server.close();
    await expect(server.sockListen()).rejects.toMatchObject({ code: "ENDED" });
    const node = newNode();
    await node.initListeningSocket("127.0.0.1", 0);
    await node.leave();
    await expect(node.sockListen()).rejects.toMatchObject({ code: "ENDED" });
  });
});
