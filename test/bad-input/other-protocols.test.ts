import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect as connectTls } from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { rawClient, splitAddress } from "../support/sockets.js";
import { healthyMesh, list, nodeAtFakeServer } from "./fixtures.js";

const http = "GET /healthz HTTP/1.1\r\nHost: mesh.example\r\n\r\n";

/** The status with which an HTTP port answers a real client, which has read the answer to its end. */
async function answerTo(method: string, address: string): Promise<number | undefined> {
  const { host, port } = splitAddress(address);
  const call = request({ host, port, method, path: "/", agent: false });
  onTestFinished(() => void call.destroy());
  call.end();
  const [response] = (await once(call, "response")) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  return response.statusCode;
}

/** What a TLS client gets to read, and how its handshake fails. */
async function tlsHandshake(address: string): Promise<{ failure: string | undefined }> {
  const socket = connectTls({ ...splitAddress(address), rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  const [error] = await once(socket, "error");
  return { failure: error.code };
}

describe("a rendezvous server that gets another protocol", () => {
  test.each(["GET", "POST", "PUT", "PATCH"])("answers HTTP %s with 400 and notes HTTP_REQUEST", async (method) => {
    const mesh = await healthyMesh();
    expect(await answerTo(method, mesh.address)).toBe(400);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "HTTP_REQUEST", level: "warn" });
    await mesh.undisturbed();
    expect(mesh.notes.codes).toEqual(["HTTP_REQUEST"]);
  });

  test("answers HTTP HEAD with 400 and, as HTTP demands, no body", async () => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    await client.write("HEAD / HTTP/1.1\r\nHost: mesh.example\r\n\r\n");
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "HTTP_REQUEST", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toMatch(/^HTTP\/1\.1 400 [^\r]+\r\n/);
    expect(client.text).toMatch(/\r\n\r\n$/);
    await mesh.undisturbed();
  });

  test("half-closes after its answer to HTTP, and closes though the client does not", async () => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    await client.write(http);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "HTTP_REQUEST", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toMatch(/^HTTP\/1\.1 400 [^\r]+\r\n/);
    await mesh.undisturbed();
  });

  test("answers TLS with an alert, notes TLS_HELLO and closes", async () => {
    const mesh = await healthyMesh();
    const { failure } = await tlsHandshake(mesh.address);
    expect(failure).toMatch(/ALERT_PROTOCOL_VERSION$/);
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "TLS_HELLO", level: "warn" });
    await mesh.undisturbed();
    expect(mesh.notes.codes).toEqual(["TLS_HELLO"]);
  });

  test("refuses a hello, which only members send each other, with HELLO_AT_SERVER", async () => {
    const mesh = await healthyMesh();
    const client = await rawClient(mesh.address);
    await client.write("Hello from:127.0.0.1:14000");
    expect(await mesh.notes.nth(1)).toMatchObject({ code: "HELLO_AT_SERVER", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("refused HELLO_AT_SERVER: this is the rendezvous server; greet members");
    await mesh.undisturbed();
    expect(mesh.notes.codes).toEqual(["HELLO_AT_SERVER"]);
  });
});

describe("a node that gets another protocol", () => {
  test("answers HTTP with 400, notes HTTP_REQUEST and closes", async () => {
    const me = await nodeAtFakeServer();
    await me.server.write(list(me.address));
    await me.registering;
    const client = await rawClient(me.address);
    await client.write(http);
    expect(await me.notes.nth(1)).toMatchObject({ code: "HTTP_REQUEST", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toMatch(/^HTTP\/1\.1 400 [^\r]+\r\n/);
    expect(me.ups.items).toEqual([]);
  });

  test("answers TLS with an alert, notes TLS_HELLO and closes", async () => {
    const me = await nodeAtFakeServer();
    await me.server.write(list(me.address));
    await me.registering;
    const { failure } = await tlsHandshake(me.address);
    expect(failure).toMatch(/ALERT_PROTOCOL_VERSION$/);
    expect(await me.notes.nth(1)).toMatchObject({ code: "TLS_HELLO", level: "warn" });
    expect(me.ups.items).toEqual([]);
  });

  test.each(["127.0.0.1:14000", "[::1]:14000"])(
    "answers a registration (%s) that it is a member, with the address of its server",
    async (address) => {
      const me = await nodeAtFakeServer();
      await me.server.write(list(me.address));
      await me.registering;
      const client = await rawClient(me.address);
      await client.write(address);
      expect(await me.notes.nth(1)).toMatchObject({ code: "REGISTRATION_AT_NODE", remote: client.local });
      expect(await client.ended).toBe("fin");
      const sentence = `this is a member, not the rendezvous server, which is at ${me.server.local}`;
      expect(client.text).toBe(`refused REGISTRATION_AT_NODE: ${sentence}`);
      expect(me.ups.items).toEqual([]);
    },
  );

  test.each([
    ["garbage", "BAD_HELLO", "?!#"],
    ["a hello without an address", "BAD_HELLO", "Hello from:nobody"],
    ["a hello with port 0", "BAD_HELLO", "Hello from:127.0.0.1:0"],
    ["a hello with another opening", "BAD_HELLO", "Hello to:127.0.0.1:14000"],
  ] as const)("closes without an answer on %s and notes %s", async (_, code, sent) => {
    const me = await nodeAtFakeServer();
    await me.server.write(list(me.address));
    await me.registering;
    const client = await rawClient(me.address);
    await client.write(sent);
    expect(await me.notes.nth(1)).toMatchObject({ code, level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("");
    expect(me.ups.items).toEqual([]);
    expect(me.notes.codes).toEqual([code]);
  });

  test.each([
    ["half a hello", "Hello fr", { handshakeMs: 200 }],
    ["nothing at all", "", { firstByteMs: 200 }],
  ])("notes HANDSHAKE_TIMEOUT and closes after %s without more bytes", async (_, sent, limits) => {
    const me = await nodeAtFakeServer({ limits });
    await me.server.write(list(me.address));
    await me.registering;
    const client = await rawClient(me.address);
    if (sent !== "") await client.write(sent);
    expect(await me.notes.nth(1)).toMatchObject({ code: "HANDSHAKE_TIMEOUT", level: "warn", remote: client.local });
    expect(await client.ended).toBe("fin");
    expect(client.text).toBe("");
  });

  test("notes NOTHING_SAID on a connection that closes at once", async () => {
    const me = await nodeAtFakeServer();
    const client = await rawClient(me.address);
    client.end();
    expect(await me.notes.nth(1)).toMatchObject({ code: "NOTHING_SAID", level: "info", remote: client.local });
    expect(await client.ended).toBe("fin");
  });
});
