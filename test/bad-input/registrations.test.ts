import { describe, expect, test } from "vitest";
import { freePort, rawClient, rawListener } from "../support/sockets.js";
import { type HealthyMesh, healthyMesh } from "./fixtures.js";

/** The next events of this kind, as `address: reason`. */
function departures(mesh: HealthyMesh): Promise<string> {
  return new Promise((resolve) => {
    mesh.server.once("left", ({ address, reason }) => resolve(`${address} left: ${reason}`));
    mesh.server.once("lost", ({ address, reason }) => resolve(`${address} lost: ${reason}`));
  });
}

function joins(mesh: HealthyMesh): Promise<string> {
  return new Promise((resolve) => mesh.server.once("joined", ({ address }) => resolve(address)));
}

describe("a second registration on one connection", () => {
  test("is ignored and noted with SECOND_REGISTRATION when it is glued to the first", async () => {
    const mesh = await healthyMesh();
    const own = await rawListener();
    const other = await rawListener();
    const client = await rawClient(mesh.address);
    await client.write(`${own.address}${other.address}`);
    const note = await mesh.notes.nth(1);
    expect(note).toMatchObject({ code: "SECOND_REGISTRATION", level: "warn", remote: client.local });
    expect(note.message).toBe(`ignored "${other.address}"`);
    expect(await client.received(own.address)).toBe(`list:\n${mesh.server.members.join("\n")}`);
    expect(mesh.server.members.slice(2)).toEqual([own.address]);
    const left = departures(mesh);
    client.end();
    expect(await left).toBe(`${own.address} left: closed its connection`);
    await mesh.undisturbed({ guests: [own.address] });
    expect(mesh.notes.codes).toEqual(["SECOND_REGISTRATION"]);
  });

  test("is ignored and noted with SECOND_REGISTRATION when it comes in a write of its own", async () => {
    const mesh = await healthyMesh();
    const own = await rawListener();
    const other = await rawListener();
    const client = await rawClient(mesh.address);
    await client.write(own.address);
    await client.received(own.address);
    await client.write(other.address);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "SECOND_REGISTRATION", remote: client.local });
    expect(mesh.server.members.slice(2)).toEqual([own.address]);
    const left = departures(mesh);
    client.end();
    await left;
    await mesh.undisturbed({ guests: [own.address] });
    expect(mesh.notes.codes).toEqual(["SECOND_REGISTRATION"]);
  });
});

describe("bytes after a registration", () => {
  test.each([
    ["in a write of their own", false],
    ["glued to it behind a newline", true],
  ])("are ignored and noted with EXTRA_BYTES, and the member stays, %s", async (_, isGlued) => {
    const mesh = await healthyMesh();
    const own = await rawListener();
    const client = await rawClient(mesh.address);
    await client.write(isGlued ? `${own.address}\nhello?` : own.address);
    await client.received(own.address);
    if (!isGlued) await client.write("hello?");
    const note = await mesh.notes.nth(1);
    expect(note).toMatchObject({ code: "EXTRA_BYTES", level: "warn", remote: client.local });
    expect(note.message).toBe('ignored "hello?"');
    await client.write("and more ".repeat(10_000));
    expect(mesh.server.members.slice(2)).toEqual([own.address]);
    const left = departures(mesh);
    client.end();
    await left;
    await mesh.undisturbed({ guests: [own.address] });
    expect(mesh.notes.codes).toEqual(["EXTRA_BYTES"]);
  });

  test("are ignored without a note when they are the newline or the NUL of a simple program", async () => {
    const mesh = await healthyMesh();
    const own = await rawListener();
    const client = await rawClient(mesh.address);
    await client.write(`${own.address}\r\n\0`);
    await client.received(own.address);
    const left = departures(mesh);
    client.end();
    await left;
    await mesh.undisturbed({ guests: [own.address] });
    expect(mesh.notes.codes).toEqual([]);
  });
});

describe("a connection that does not finish its registration", () => {
  test.each([
    ["half a registration and nothing more", "127.0.0."],
    ["one letter and nothing more", "H"],
  ])("is refused with HANDSHAKE_TIMEOUT after %s", async (_, sent) => {
    const mesh = await healthyMesh({ limits: { handshakeMs: 200 } });
    const client = await rawClient(mesh.address);
    await client.write(sent);
    expect(await mesh.notes.nth(1)).toMatchObject({
      code: "HANDSHAKE_TIMEOUT",
      level: "warn",
      remote: client.local,
    });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("refused HANDSHAKE_TIMEOUT: no registration came in time");
    await mesh.undisturbed();
    expect(mesh.notes.codes).toEqual(["HANDSHAKE_TIMEOUT"]);
  });

  test("is refused with HANDSHAKE_TIMEOUT when it sends nothing", async () => {
    const mesh = await healthyMesh({ limits: { firstByteMs: 200 } });
    const client = await rawClient(mesh.address);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "HANDSHAKE_TIMEOUT", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("refused HANDSHAKE_TIMEOUT: no registration came in time");
    await mesh.undisturbed();
  });

  test("is noted with NOTHING_SAID when it closes at once", async () => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    client.end();
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "NOTHING_SAID", level: "info", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("");
    await mesh.undisturbed();
    expect(mesh.notes.codes).toEqual(["NOTHING_SAID"]);
  });

  test("is noted with NOTHING_SAID when it resets at once", async () => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    const { local } = client;
    client.reset();
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "NOTHING_SAID", remote: local });
    await mesh.undisturbed();
  });

  test("is refused with BAD_ADDRESS when it half-closes in the middle of its registration", async () => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    await client.write("127.0.0.");
    client.end();
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "BAD_ADDRESS", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe('refused BAD_ADDRESS: expected <ip>:<port>, got "127.0.0."');
    await mesh.undisturbed();
  });
});

describe("a FIN right after the registration", () => {
  test("lets a member with an exact port join, gives it its list, and lets it leave", async () => {
    const mesh = await healthyMesh();
    const own = `127.0.0.1:${await freePort()}`;
    const joined = joins(mesh);
    const left = departures(mesh);
    const guest = await rawClient(mesh.address);
    await guest.write(own);
    guest.end();
    expect(await joined).toBe(own);
    expect(await left).toBe(`${own} left: closed its connection`);
    expect(await guest.ended).toBe("fin");
    expect(guest.text).toBe(`list:\n${[...mesh.members.map(({ address }) => address), own].join("\n")}`);
    await mesh.undisturbed({ guests: [own] });
    expect(mesh.notes.codes).toEqual([]);
  });

  test("settles an ambiguous port at once: the member joins and leaves", async () => {
    const mesh = await healthyMesh();
    const joined = joins(mesh);
    const left = departures(mesh);
    const guest = await rawClient(mesh.address);
    await guest.write("127.0.0.1:80");
    guest.end();
    expect(await joined).toBe("127.0.0.1:80");
    expect(await left).toBe("127.0.0.1:80 left: closed its connection");
    expect(await guest.ended).toBe("fin");
    await mesh.undisturbed({ guests: ["127.0.0.1:80"] });
    expect(mesh.notes.codes).toEqual([]);
  });
});
