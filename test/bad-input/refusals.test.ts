import { describe, expect, test } from "vitest";
import { join, MeshNode } from "../../src/index.js";
import { freePort, rawClient } from "../support/sockets.js";
import { healthyMesh, nodeAtFakeServer } from "./fixtures.js";

const encodedList = (...addresses: readonly string[]): string => `list:\n${addresses.join("\n")}`;

describe("a server that has no room", () => {
  test("refuses a connection with BUSY while handshakesPending connections have not registered", async () => {
    const mesh = await healthyMesh({ limits: { handshakesPending: 2, firstByteCrowdedMs: 600_000 } });
    const silent = [await rawClient(mesh.address), await rawClient(mesh.address)];
    const client = await rawClient(mesh.address);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "BUSY", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("refused BUSY: too many connections have not yet registered");
    for (const connection of silent) connection.end();
    await mesh.notes.wait("NOTHING_SAID", 2);
    await mesh.undisturbed();
    expect(mesh.notes.codes).toEqual(["BUSY", "NOTHING_SAID", "NOTHING_SAID"]);
  });

  test("applies firstByteCrowdedMs above handshakesCrowded, with HANDSHAKE_TIMEOUT", async () => {
    const limits = { handshakesCrowded: 1, firstByteMs: 600_000, firstByteCrowdedMs: 200 };
    const mesh = await healthyMesh({ limits });
    const client = await rawClient(mesh.address);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "HANDSHAKE_TIMEOUT", remote: client.local });
    expect(await client.ended).toBe("fin");
    await mesh.undisturbed();
  });

  test("closes a connection beyond the connection limit at once and notes NO_DESCRIPTORS", async () => {
    const mesh = await healthyMesh({ limits: { connections: 3 } });
    const third = await rawClient(mesh.address);
    const client = await rawClient(mesh.address);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "NO_DESCRIPTORS", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("");
    third.end();
    expect(await third.ended).toBe("fin");
    await mesh.notes.wait("NOTHING_SAID");
    third.socket.destroy();
    await mesh.undisturbed();
    expect(mesh.notes.codes).toEqual(["NO_DESCRIPTORS", "NOTHING_SAID"]);
  });

  test("refuses a newcomer with MESH_SEALED once the capacity has been reached", async () => {
    const mesh = await healthyMesh({ capacity: 2, limits: { settleMs: 600_000 } }, "classic");
    const client = await rawClient(mesh.address);
    await client.write(`127.0.0.1:${await freePort()}`);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "MESH_SEALED", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("refused MESH_SEALED: the mesh has reached its capacity of 2");
    await mesh.undisturbed({ isOpen: false });
  });

  test("takes a newcomer again when a member has left after the capacity had been reached", async () => {
    const mesh = await healthyMesh({ capacity: 3, limits: { settleMs: 600_000 } }, "classic");
    const third = await join(mesh.address, { dialect: "classic" });
    await expect(join(mesh.address)).rejects.toMatchObject({ code: "REFUSED" });
    const left = new Promise((resolve) => mesh.server.once("left", resolve));
    await third.leave();
    await left;
    const fourth = await join(mesh.address, { dialect: "classic" });
    await fourth.complete({ size: 3 });
    expect(mesh.notes.codes).toEqual(["MESH_SEALED"]);
  });

  test("refuses with LIST_FULL a member with which the list would be longer than readers accept", async () => {
    const members = ["127.0.0.1:14000", "127.0.0.1:14001", "127.0.0.1:14002"];
    const listBytes = encodedList(...members).length - 1;
    // The healthy members have ports of five digits too.
    const mesh = await healthyMesh({ limits: { listBytes } });
    const client = await rawClient(mesh.address);
    await client.write(`127.0.0.1:${await freePort()}`);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "LIST_FULL", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe(`refused LIST_FULL: the list would exceed ${listBytes} bytes`);
    await mesh.undisturbed({ isOpen: false });
  });

  test("takes a member with which the list is exactly as long as readers accept", async () => {
    const members = ["127.0.0.1:14000", "127.0.0.1:14001", "127.0.0.1:14002"];
    const mesh = await healthyMesh({ limits: { listBytes: encodedList(...members).length } });
    await mesh.undisturbed();
    expect(mesh.notes.codes).toEqual([]);
  });
});

describe("a joiner that is refused", () => {
  test("gets REFUSED from join, with the server's message", async () => {
    const mesh = await healthyMesh();
    await expect(join(mesh.address, { advertise: "10.1.2.3:14000" })).rejects.toMatchObject({
      name: "FullmeshError",
      code: "REFUSED",
      message: "FOREIGN_HOST: 10.1.2.3:14000 was registered from 127.0.0.1",
    });
    await mesh.undisturbed();
  });

  test("ends: start rejects too, and later steps reject with ENDED", async () => {
    const mesh = await healthyMesh();
    const node = new MeshNode({ advertise: "10.1.2.3:14000" });
    await node.connectToServer(mesh.address);
    await node.initListeningSocket("127.0.0.1", 0);
    await node.sockListen();
    await expect(node.registerWithServer()).rejects.toMatchObject({ code: "REFUSED" });
    await expect(node.start()).rejects.toMatchObject({ code: "REFUSED" });
    await expect(node.registerWithServer()).rejects.toMatchObject({ code: "ENDED" });
    await mesh.undisturbed();
  });

  test("gets REFUSED with what came instead when the answer is neither a list nor a refusal", async () => {
    const me = await nodeAtFakeServer();
    await me.server.write("220 mail.example ESMTP ready\r\n");
    me.server.end();
    await expect(me.registering).rejects.toMatchObject({
      code: "REFUSED",
      message: expect.stringContaining("mail.example ESMTP ready"),
    });
    await expect(me.node.start()).rejects.toMatchObject({ code: "REFUSED" });
  });

  test("gets REFUSED with the end text when a server ends the mesh instead of answering", async () => {
    const me = await nodeAtFakeServer();
    await me.server.write("bye");
    await expect(me.registering).rejects.toMatchObject({ code: "REFUSED", message: 'the server answered "bye"' });
    expect(await me.server.ended).toBe("fin");
  });
});
