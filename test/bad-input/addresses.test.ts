import { describe, expect, test } from "vitest";
import { join } from "../../src/index.js";
import { freePort, rawClient } from "../support/sockets.js";
import { healthyMesh } from "./fixtures.js";

describe("a server that is sent a bad address", () => {
  test.each([
    ["something that is not an address", "?!#"],
    ["a single word", "hello"],
    ["port 0", "127.0.0.1:0"],
    ["port 65536", "127.0.0.1:65536"],
    ["port 1e4", "127.0.0.1:1e4"],
    ["port 080", "127.0.0.1:080"],
    ["port 70000", "127.0.0.1:70000"],
    ["a negative port", "127.0.0.1:-1"],
    ["no port", "127.0.0.1\n"],
    ["a host name", "localhost:4000"],
    ["a host name that begins with digits", "127.example:4000"],
    ["a number for an IP address", "2130706433:4000"],
    ["three octets", "127.0.1:4000"],
    ["an octet with a leading zero", "127.0.0.01:4000"],
    ["an IPv6 address with a zone", "[fe80::1%lo]:4000"],
    ["an IPv6 address without brackets", "::1:4000"],
    ["an IPv4 address in brackets", "[127.0.0.1]:4000"],
    ["0.0.0.0", "0.0.0.0:4000"],
    ["every address in IPv6", "[::]:4000"],
    ["a NUL byte first", "\x00127.0.0.1:4000"],
  ])("refuses %s with BAD_ADDRESS, sends the reason and half-closes", async (_, sent) => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    await client.write(sent);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "BAD_ADDRESS", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toMatch(/^refused BAD_ADDRESS: expected <ip>:<port>, got "/);
    await mesh.undisturbed();
    expect(mesh.notes.codes).toEqual(["BAD_ADDRESS"]);
  });

  test("removes a member whose port 70000 arrived in two pieces, with BAD_ADDRESS", async () => {
    const mesh = await healthyMesh({ limits: { quietMs: 50 } });
    const joined = new Promise((resolve) => mesh.server.once("joined", ({ address }) => resolve(address)));
    const left = new Promise((resolve) => mesh.server.once("left", ({ address }) => resolve(address)));
    const client = await rawClient(mesh.address);
    await client.write("127.0.0.1:7000");
    expect(await joined).toBe("127.0.0.1:7000");
    await client.write("0");
    const note = await mesh.notes.wait("BAD_ADDRESS");
    expect(note.message).toContain("127.0.0.1:70000");
    expect(await left).toBe("127.0.0.1:7000");
    expect(await client.ended).toBe("fin");
    expect(client.text).toContain("refused BAD_ADDRESS: ");
    // A port of 6554 or more is complete at its last digit, so it was in the members' lists, and leaves them.
    await mesh.undisturbed({ guests: ["127.0.0.1:7000"] });
  });

  test("refuses a registration of 10 kB with BAD_ADDRESS and quotes only its beginning", async () => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    await client.write("1".repeat(10_240));
    const note = await mesh.notes.wait("BAD_ADDRESS");
    expect(note.message.length).toBeLessThan(200);
    expect(await client.ended).toBe("fin");
    expect(client.text).toMatch(/^refused BAD_ADDRESS: /);
    expect(client.text.length).toBeLessThan(200);
    await mesh.undisturbed();
  });

  test("quotes control characters only in escaped form", async () => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    await client.write("127.0.0.1:\x1b[31m");
    const note = await mesh.notes.wait("BAD_ADDRESS");
    expect(note.message).toContain('got "127.0.0.1:\\x1b[31m"');
    await mesh.undisturbed();
  });
});

describe("a server to which a client registers an address that is not its own", () => {
  test("refuses somebody else's host with FOREIGN_HOST", async () => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    await client.write("10.1.2.3:14000");
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "FOREIGN_HOST", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("refused FOREIGN_HOST: 10.1.2.3:14000 was registered from 127.0.0.1");
    await mesh.undisturbed();
  });

  test("accepts somebody else's host that lies in a network of allowAdvertise, and no other", async () => {
    const mesh = await healthyMesh({ allowAdvertise: ["10.0.0.0/8"] });
    const guest = await rawClient(mesh.address);
    await guest.write("10.1.2.3:14000");
    expect(await guest.received("10.1.2.3")).toBe(`list:\n${mesh.server.members.join("\n")}`);
    expect(mesh.server.members).toContain("10.1.2.3:14000");
    const client = await rawClient(mesh.address);
    await client.write("11.1.2.3:14000");
    await mesh.notes.wait("FOREIGN_HOST");
    expect(await client.ended).toBe("fin");
    const left = new Promise((resolve) => mesh.server.once("left", resolve));
    guest.end();
    await left;
    await mesh.undisturbed({ guests: ["10.1.2.3:14000"] });
    expect(mesh.notes.codes).toEqual(["FOREIGN_HOST"]);
  });

  test("refuses an address that a live member has with ADDRESS_IN_USE, and the member notices nothing", async () => {
    const mesh = await healthyMesh();
    const [member] = mesh.members;
    const lists = member.lists.items.length;
    const client = await rawClient(mesh.address);
    await client.write(member.address);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "ADDRESS_IN_USE", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe(`refused ADDRESS_IN_USE: ${member.address} belongs to a live member`);
    expect(member.lists.items.length).toBe(lists);
    expect(member.notes.codes).toEqual([]);
    await mesh.undisturbed();
  });

  test("gives the address of a member that has left to the next one that registers it", async () => {
    const mesh = await healthyMesh();
    const listen = `127.0.0.1:${await freePort()}`;
    const before = await join(mesh.address, { listen });
    const left = new Promise((resolve) => mesh.server.once("left", resolve));
    await before.leave();
    await left;
    const after = await join(mesh.address, { listen });
    await after.leave();
    expect(mesh.notes.codes).toEqual([]);
  });
});
