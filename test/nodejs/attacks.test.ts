import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ConnectionOptions,
  connect,
  createServer as createTlsServer,
  type TLSSocket,
  type TlsOptions,
} from "node:tls";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, type TestContext, test } from "vitest";
import type { Endpoint, Identity } from "../../src/core/connections.js";
import { rawClient } from "../support/sockets.js";
import { requireTool } from "../support/tools.js";
import { clientHello, keyOf } from "./client-hello.js";
import {
  type ConnectionEnd,
  dialTo,
  listenAt,
  member,
  otherSecret,
  plainTransport,
  relayTo,
  secret,
  secretTransport,
  server,
  type TestListener,
} from "./connection-ends.js";

/**
 * Each way in that does not go through the secret, tried on the real transport over real sockets. An attack comes with the
 * same deed done rightly, which shows that it is the defence that stops it.
 */

const tls13 = { minVersion: "TLSv1.3", maxVersion: "TLSv1.3" } as const;
const run = promisify(execFile);

/** How records of TLS 1.3 begin on the wire. */
const recordOf = { alert: "\x15\x03\x03\0\x02", handshake: "\x16\x03\x03", applicationData: "\x17\x03\x03" };

const memberText = "fullmesh/1 member cache";
const serverText = "fullmesh/1 rendezvous cache";

/** The server's listener, which takes the server's identity for any mesh. */
function serverVenue(): Promise<TestListener> {
  return listenAt(secretTransport(({ role }) => role === "rendezvous"));
}

/** A member's listener, which takes both roles for its own mesh. */
function memberVenue(): Promise<TestListener> {
  return listenAt(secretTransport(({ mesh }) => mesh === "cache"));
}

/** A TLS client of somebody else's making: how its handshake ends, and the socket. */
async function tlsClient(to: Endpoint, options: ConnectionOptions): Promise<{ socket: TLSSocket; outcome: string }> {
  const socket = connect({ ...to, ...tls13, ...options });
  onTestFinished(() => void socket.destroy());
  const outcome = await new Promise<string>((resolve) => {
    socket.once("secureConnect", () => resolve("secure"));
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
  socket.on("error", () => {});
  return { socket, outcome };
}

/** A client with some key under some name, that is content with whatever answers. */
function pskClient(identity: string, key: Uint8Array): ConnectionOptions {
  return {
    ciphers: "TLS_AES_128_GCM_SHA256",
    pskCallback: () => ({ identity, psk: key }),
    checkServerIdentity: () => undefined,
    rejectUnauthorized: false,
  };
}

/** A TLS listener of somebody else's making. */
async function tlsListener(options: TlsOptions): Promise<Endpoint> {
  const listener = createTlsServer({ ...tls13, ...options }, (socket) => socket.on("error", () => {}).end("welcome"));
  listener.on("tlsClientError", () => {});
  listener.listen(0, "127.0.0.1");
  onTestFinished(() => void listener.close());
  await once(listener, "listening");
  return { host: "127.0.0.1", port: (listener.address() as AddressInfo).port };
}

/** The other side got nowhere: the listener found it wanting for this reason, and took it for nobody. */
async function expectRefused(end: ConnectionEnd, reason: string, message: RegExp): Promise<void> {
  await end.first("closed");
  expect(end.eventTypes).toEqual(["unproved", "closed"]);
  expect(end.reasons).toEqual([reason]);
  expect((await end.first("unproved")).message).toMatch(message);
}

/** Our dialer took the listener for nobody. */
async function expectUnproved(to: Endpoint, identity: Identity, reason: string, message: RegExp): Promise<void> {
  await expectRefused(dialTo(secretTransport(), to, identity), reason, message);
}

describe("a listener, for a caller without the right key", () => {
  test("accepts another TLS client that has the right key", async () => {
    const venue = await memberVenue();
    const { socket, outcome } = await tlsClient(venue.endpoint, pskClient(memberText, keyOf(secret, memberText)));
    expect(outcome).toBe("secure");
    socket.write("word");
    const acceptor = await venue.accepted(1);
    await acceptor.received(4);
    expect((await acceptor.first("secured")).identity).toEqual(member);
  });

  test.each<[string, string, string, string, RegExp]>([
    ["another secret", memberText, otherSecret, "SECRET_MISMATCH", /member of the mesh "cache" with another key/],
    [
      "another mesh",
      "fullmesh/1 member other",
      secret,
      "WRONG_IDENTITY",
      /member of the mesh "other", which is not wanted/,
    ],
    ["a role that there is not", "fullmesh/1 admin cache", secret, "WRONG_IDENTITY", /no identity of ours/],
    ["a version that there is not", "fullmesh/2 member cache", secret, "WRONG_IDENTITY", /no identity of ours/],
    ["no mesh", "fullmesh/1 member ", secret, "WRONG_IDENTITY", /no identity of ours/],
    ["a name with a control character", "fullmesh/1 member a\nb", secret, "WRONG_IDENTITY", /a\\x0ab/],
    ["a name that is too long", `fullmesh/1 member ${"m".repeat(65)}`, secret, "WRONG_IDENTITY", /no identity of ours/],
  ])("refuses %s", async (_, identity, from, reason, message) => {
    const venue = await memberVenue();
    const { outcome } = await tlsClient(venue.endpoint, pskClient(identity, keyOf(from, identity)));
    expect(outcome).toMatch(/ALERT/);
    await expectRefused(await venue.accepted(1), reason, message);
  });

  test("answers a caller without the secret in the same way, whichever identity it names", async () => {
    const venue = await memberVenue();
    const answers: string[] = [];
    for (const identity of [memberText, serverText, "fullmesh/1 member other", "anything"]) {
      const stranger = await rawClient(venue.address);
      await stranger.write(clientHello({ identity, key: keyOf(otherSecret, identity), exchangeModes: [1] }));
      await stranger.ended;
      answers.push(Buffer.from(stranger.text, "latin1").toString("hex"));
    }
    expect(new Set(answers)).toEqual(new Set(["1503030002022f"]));
  });

  test("refuses in TLS when it is busy, and a dialer reports BUSY", async () => {
    const venue = await listenAt(secretTransport(), (end) => end.port.halfClose());
    const dialer = dialTo(secretTransport(), venue.endpoint, member);
    await expectRefused(dialer, "BUSY", /no room for another connection/);
    const { outcome } = await tlsClient(venue.endpoint, pskClient(memberText, keyOf(secret, memberText)));
    expect(outcome).toMatch(/ALERT_INTERNAL_ERROR/);
  });

  test("refuses a member's key at the server's port", async () => {
    const venue = await serverVenue();
    const dialer = dialTo(secretTransport(), venue.endpoint, member);
    await expectRefused(dialer, "SECRET_MISMATCH", /does not take us as member of the mesh "cache"/);
    await expectRefused(await venue.accepted(1), "WRONG_IDENTITY", /comes as member of the mesh "cache", which is not/);
  });

  test("refuses the server's identity with a member's key", async () => {
    const venue = await serverVenue();
    await tlsClient(venue.endpoint, pskClient(serverText, keyOf(secret, memberText)));
    await expectRefused(await venue.accepted(1), "SECRET_MISMATCH", /rendezvous of the mesh "cache" with another key/);
  });

  test("refuses TLS without a key", async () => {
    const venue = await memberVenue();
    const { outcome } = await tlsClient(venue.endpoint, { rejectUnauthorized: false });
    expect(outcome).toMatch(/ALERT_HANDSHAKE_FAILURE$/);
    await expectRefused(await venue.accepted(1), "SECRET_UNPROVED", /without naming a key of ours/);
  });

  test("refuses the right key in TLS 1.2", async () => {
    const venue = await memberVenue();
    const options = { ...pskClient(memberText, keyOf(secret, memberText)), ciphers: "PSK" };
    await tlsClient(venue.endpoint, { ...options, minVersion: "TLSv1.2", maxVersion: "TLSv1.2" });
    await expectRefused(await venue.accepted(1), "SECRET_UNPROVED", /UNSUPPORTED_PROTOCOL|VERSION/);
  });

  test("refuses the right key without an ephemeral key exchange", async () => {
    const venue = await memberVenue();
    const offer = { identity: memberText, key: keyOf(secret, memberText) };
    const right = await rawClient(venue.address);
    await right.write(clientHello({ ...offer, exchangeModes: [1] }));
    // What follows a ServerHello is encrypted.
    await right.received(recordOf.applicationData);
    expect(right.text.startsWith(recordOf.handshake)).toBe(true);
    const weak = await rawClient(venue.address);
    await weak.write(clientHello({ ...offer, exchangeModes: [0] }));
    await expectRefused(await venue.accepted(2), "SECRET_UNPROVED", /without naming a key of ours/);
    await weak.ended;
    expect(weak.text.startsWith(recordOf.alert)).toBe(true);
    expect(weak.text).toHaveLength(7);
  });

  test("accepts a second hello after one with the wrong key share", async () => {
    const venue = await memberVenue();
    const client = { ...pskClient(memberText, keyOf(secret, memberText)), ecdhCurve: "P-256:X25519" };
    expect((await tlsClient(venue.endpoint, client)).outcome).toBe("secure");
    expect((await (await venue.accepted(1)).first("secured")).cipher).toMatch(/X25519$/);
    await tlsClient(venue.endpoint, { ...client, ecdhCurve: "P-256" });
    await expectRefused(await venue.accepted(2), "SECRET_UNPROVED", /recorded|without/);
  });

  test("uses the identity of the second hello, whose key was used", async () => {
    const venue = await listenAt(secretTransport());
    const identities = [memberText, "fullmesh/1 member other"];
    const outcome = await tlsClient(venue.endpoint, {
      ...pskClient(memberText, keyOf(secret, memberText)),
      ecdhCurve: "P-256:X25519",
      pskCallback: () => {
        const identity = identities.shift() ?? "";
        return { identity, psk: keyOf(secret, identity) };
      },
    });
    expect(outcome.outcome).toBe("secure");
    expect((await (await venue.accepted(1)).first("secured")).identity).toEqual({ mesh: "other", role: "member" });
  });

  test.each<[string, string]>([
    ["a native preface", "\xf7fmesh\x01\x01"],
    ["a classic registration", "127.0.0.1:14000"],
    ["a classic hello", "Hello from:127.0.0.1:14000"],
    ["HTTP", "GET / HTTP/1.1\r\n\r\n"],
    ["a byte of zero", "\0"],
  ])("hands on as it came, and never secured, %s in plain text", async (_, text) => {
    const venue = await memberVenue();
    const stranger = await rawClient(venue.address);
    await stranger.write(Buffer.from(text, "latin1"));
    stranger.end();
    const acceptor = await venue.accepted(1);
    await acceptor.first("ended");
    expect(acceptor.text).toBe(text);
    expect(acceptor.eventTypes).toEqual(["bytes", "ended"]);
  });

  test("refuses bytes that begin like a handshake and are none", async () => {
    const venue = await memberVenue();
    const stranger = await rawClient(venue.address);
    await stranger.write(Buffer.from(`\x16${"A".repeat(64)}`, "latin1"));
    await expectRefused(await venue.accepted(1), "SECRET_UNPROVED", /without naming a key of ours/);
  });
});

describe("a session ticket instead of the secret", () => {
  /** The newest session that a server gives to a client that has the key. */
  async function sessionFrom(to: Endpoint): Promise<Buffer> {
    const socket = connect({ ...to, ...tls13, ...pskClient(memberText, keyOf(secret, memberText)) });
    onTestFinished(() => void socket.destroy());
    const [session] = (await once(socket, "session")) as [Buffer];
    return session;
  }

  test("is accepted by a server that resumes sessions, without the key", async () => {
    let asked = 0;
    const to = await tlsListener({
      ciphers: "TLS_AES_128_GCM_SHA256",
      pskCallback: (_, identity) => {
        if (identity !== memberText) return null;
        asked += 1;
        return keyOf(secret, memberText);
      },
    });
    const session = await sessionFrom(to);
    expect(asked).toBe(1);
    const { socket, outcome } = await tlsClient(to, {
      session,
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    expect(outcome).toBe("secure");
    expect(socket.isSessionReused()).toBe(true);
    expect(asked).toBe(1);
  });

  test("is not accepted by our listener, whoever has issued it", async () => {
    const venue = await memberVenue();
    const elsewhere = await tlsListener({
      ciphers: "TLS_AES_128_GCM_SHA256",
      pskCallback: (_, identity) => keyOf(secret, identity),
    });
    const sessions = [await sessionFrom(venue.endpoint), await sessionFrom(elsewhere)];
    await (await venue.accepted(1)).first("secured");
    for (const [index, session] of sessions.entries()) {
      const { outcome } = await tlsClient(venue.endpoint, { session, rejectUnauthorized: false });
      expect(outcome).toMatch(/ALERT/);
      const acceptor = await venue.accepted(index + 2);
      await acceptor.first("closed");
      expect(acceptor.eventTypes).toEqual(["unproved", "closed"]);
    }
  });
});

describe("a recording of a whole connection", () => {
  test("is no proof of the secret when it is replayed", async () => {
    const venue = await memberVenue();
    const relay = await relayTo(venue.address);
    const dialer = dialTo(secretTransport(), relay.endpoint);
    await dialer.first("connected");
    dialer.send("give me everything");
    const acceptor = await venue.accepted(1);
    await acceptor.received(18);
    dialer.port.halfClose();
    await acceptor.first("ended");
    const recording = await relay.recording();
    const replayer = await rawClient(venue.address);
    await replayer.write(recording);
    await expectRefused(await venue.accepted(2), "SECRET_UNPROVED", /as if it were recorded/);
  });
});

describe("a dialer, with a listener without the right key", () => {
  test("accepts another TLS server that has the right key", async () => {
    const to = await tlsListener({
      ciphers: "TLS_AES_128_GCM_SHA256",
      pskCallback: (_, identity) => keyOf(secret, identity),
    });
    const dialer = dialTo(secretTransport(), to, server);
    await dialer.received(7);
    expect(dialer.text).toBe("welcome");
    expect((await dialer.first("connected")).cipher).toBe("TLSv1.3 TLS_AES_128_GCM_SHA256 X25519");
  });

  test("refuses a fake server that has only a member's key", async () => {
    const to = await tlsListener({
      ciphers: "TLS_AES_128_GCM_SHA256",
      pskCallback: () => keyOf(secret, memberText),
    });
    await expectUnproved(
      to,
      server,
      "SECRET_MISMATCH",
      /another secret, or does not take us as rendezvous of the mesh "cache"/,
    );
  });

  test("refuses a listener with another secret", async () => {
    const { endpoint } = await listenAt(secretTransport(() => true, otherSecret));
    await expectUnproved(endpoint, member, "SECRET_MISMATCH", /another secret/);
  });

  test("refuses a listener of another mesh", async () => {
    const { endpoint } = await listenAt(secretTransport(({ mesh }) => mesh === "other"));
    await expectUnproved(endpoint, member, "SECRET_MISMATCH", /does not take us as member of the mesh "cache"/);
  });

  test("refuses the right key without X25519, the only key exchange that both ends can verify", async () => {
    const to = await tlsListener({
      ciphers: "TLS_AES_128_GCM_SHA256",
      ecdhCurve: "P-256",
      pskCallback: (_, identity) => keyOf(secret, identity),
    });
    const dialer = dialTo(secretTransport(), to, server);
    await dialer.first("closed");
    expect(dialer.eventTypes).toEqual(["unproved", "closed"]);
  });

  test("refuses plain text", async () => {
    const { endpoint } = await listenAt(plainTransport(), (end) => {
      end.onEvent = ({ type }) => {
        if (type === "bytes") end.send("refused TLS_HELLO: this port speaks plain text");
      };
    });
    await expectUnproved(endpoint, member, "SECRET_NOT_USED", /it uses no secret/);
  });

  test("does not report a secret mismatch if the listener closes at once, as one does that is ending", async () => {
    const listener = createServer((socket) => socket.on("error", () => {}).once("data", () => socket.end()));
    listener.listen(0, "127.0.0.1");
    onTestFinished(() => void listener.close());
    await once(listener, "listening");
    const { port } = listener.address() as AddressInfo;
    const dialer = dialTo(secretTransport(), { host: "127.0.0.1", port });
    expect((await dialer.first("closed")).failure).toMatch(/^closed in the handshake/);
    expect(dialer.eventTypes).toEqual(["closed"]);
  });
});

describe("a certificate instead of the secret", () => {
  /** A certificate for 127.0.0.1 that signs itself. */
  function newCertificate(context: TestContext): {
    readonly key: Buffer;
    readonly cert: Buffer;
    readonly path: string;
  } {
    const openssl = requireTool(context, "openssl");
    const folder = mkdtempSync(join(tmpdir(), "fullmesh-certificate-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    const name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
    execFileSync(openssl, ["req", "-x509", ...kind, ...name, "-keyout", key, "-out", cert], { stdio: "ignore" });
    return { key: readFileSync(key), cert: readFileSync(cert), path: cert };
  }

  test("is refused by a dialer, though an ordinary client accepts it", async (context) => {
    const { key, cert } = newCertificate(context);
    const to = await tlsListener({ key, cert });
    expect((await tlsClient(to, { ca: cert })).outcome).toBe("secure");
    await expectUnproved(to, member, "SECRET_UNPROVED", /without the key/);
  });

  test("is refused by a dialer in a process that trusts it as an authority", async (context) => {
    const { key, cert, path } = newCertificate(context);
    const to = await tlsListener({ key, cert });
    const compiled = (file: string): string =>
      JSON.stringify(new URL(`../../dist/src/nodejs/${file}`, import.meta.url).href);
    const program = `
      import { connect } from "node:tls";
      import { Keyring } from ${compiled("keyring.js")};
      import { Secret } from ${compiled("secret.js")};
      import { nodeTransport } from ${compiled("transport.js")};
      const to = ${JSON.stringify(to)};
      const told = [];
      const note = (type) => (code) => told.push(type === "unproved" ? code : type);
      const events = Object.fromEntries(["connected", "bytes", "ended", "unproved"].map((type) => [type, note(type)]));
      connect({ ...to, host: "localhost" }).on("secureConnect", function () {
        told.push("authorized " + this.authorized);
        this.destroy();
        const transport = nodeTransport(5000, new Keyring(new Secret("${secret}"), () => true));
        transport.dial(to, { mesh: "cache", role: "member" }, { ...events, closed: () => console.log(told.join()) });
      });`;
    const args = ["--input-type=module", "--eval", program];
    // Even a process that checks no certificates does not accept one as the secret.
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: path, NODE_TLS_REJECT_UNAUTHORIZED: "0" };
    const { stdout } = await run(process.execPath, args, { env });
    expect(stdout.trim()).toBe("authorized true,SECRET_UNPROVED");
  });

  test("is refused by a listener", async (context) => {
    const { key, cert } = newCertificate(context);
    const venue = await memberVenue();
    await tlsClient(venue.endpoint, { key, cert, rejectUnauthorized: false });
    await expectRefused(await venue.accepted(1), "SECRET_UNPROVED", /without naming a key of ours/);
  });
});
