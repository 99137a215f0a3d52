import { describe, expect, test } from "vitest";
import type { TransportPort } from "../../src/runtime/ports.js";
import { freePort, rawClient, rawListener, splitAddress } from "../support/sockets.js";
import {
  ConnectionEnd,
  dialTo,
  listenAt,
  member,
  pairOver,
  plainTransport,
  relayTo,
  secretTransport,
} from "./connection-ends.js";

const cipher = "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519";

/** What every transport promises, whatever is below it. */
describe.each([
  { name: "in the open", newTransport: plainTransport, opening: [], cipher: undefined },
  { name: "with a secret", newTransport: () => secretTransport(), opening: ["secured"], cipher },
])("the Node transport $name", ({ newTransport, opening, cipher }) => {
  function newPair(): Promise<[ConnectionEnd, ConnectionEnd]> {
    return pairOver(newTransport());
  }

  test("connects two ends, each with the address of the other", async () => {
    const transport = newTransport();
    const ends: unknown[] = [];
    const venue = await listenAt({
      ...transport,
      listen: (on, accept, done) => {
        transport.listen(
          on,
          (port, local, remote) => {
            ends.push(local, remote);
            return accept(port, local, remote);
          },
          done,
        );
      },
    });
    const dialer = dialTo(transport, venue.endpoint);
    const connected = await dialer.first("connected");
    await venue.accepted(1);
    expect(connected.remote).toEqual(venue.endpoint);
    expect(ends).toEqual([connected.remote, connected.local]);
    expect(connected.cipher).toBe(cipher);
  });

  test("delivers bytes both ways, whole and in order", async () => {
    const [dialer, acceptor] = await newPair();
    const word = "0123456789abcdef".repeat(4_096);
    for (const character of "one by one, ") dialer.send(character);
    dialer.send(word);
    acceptor.send(word);
    acceptor.send("and back");
    await acceptor.received(12 + word.length);
    await dialer.received(8 + word.length);
    expect(acceptor.text).toBe(`one by one, ${word}`);
    expect(dialer.text).toBe(`${word}and back`);
    expect(acceptor.eventTypes).toEqual([...opening, "bytes"]);
  });

  test("reports flushed when nothing is left in this process", async () => {
    const [dialer] = await newPair();
    dialer.send("word");
    await dialer.first("flushed");
    expect(dialer.port.queuedBytes).toBe(0);
  });

  test("counts queued bytes, and delivers them when the reader reads again", async () => {
    const transport = newTransport();
    const venue = await listenAt(transport);
    const relay = await relayTo(venue.address);
    const dialer = dialTo(transport, relay.endpoint);
    await dialer.first("connected");
    const acceptor = await venue.accepted(1);
    dialer.send("first");
    await acceptor.received(5);
    const [front] = await relay.legs;
    front.socket.pause();
    // More than the kernel keeps for two sockets.
    const large = "x".repeat(32 * 1024 * 1024);
    const flushes = dialer.events.items.length;
    dialer.send(large);
    dialer.send("last");
    dialer.port.halfClose();
    expect(dialer.port.queuedBytes).toBeGreaterThan(0);
    expect(dialer.events.items.length).toBe(flushes);
    front.socket.resume();
    await acceptor.first("ended");
    expect(acceptor.text.length).toBe(5 + large.length + 4);
    expect(acceptor.text.endsWith("last")).toBe(true);
    expect(dialer.port.queuedBytes).toBe(0);
  });

  test("reads on after half-closing, and writes after the other end has", async () => {
    const [dialer, acceptor] = await newPair();
    dialer.send("last word");
    dialer.port.halfClose();
    await acceptor.first("ended");
    expect(acceptor.text).toBe("last word");
    const reply = "reply ".repeat(50_000);
    acceptor.send(reply);
    acceptor.port.halfClose();
    expect(await dialer.first("closed")).toEqual({ type: "closed", failure: undefined });
    expect(await acceptor.first("closed")).toEqual({ type: "closed", failure: undefined });
    expect(dialer.text).toBe(reply);
    expect(dialer.eventTypes).toEqual(["connected", "bytes", "ended", "closed"]);
    expect(acceptor.eventTypes).toEqual([...opening, "bytes", "ended", "closed"]);
  });

  test("lets the accepting end half-close first", async () => {
    const [dialer, acceptor] = await newPair();
    dialer.send("?");
    await acceptor.received(1);
    acceptor.send("no");
    acceptor.port.halfClose();
    await dialer.first("ended");
    dialer.send("yes");
    await acceptor.received(4);
    dialer.port.halfClose();
    await Promise.all([dialer.first("closed"), acceptor.first("closed")]);
    expect([dialer.text, acceptor.text]).toEqual(["no", "?yes"]);
  });

  test("closes both ends once when one aborts", async () => {
    const [dialer, acceptor] = await newPair();
    dialer.send("word");
    await acceptor.received(4);
    acceptor.port.abort();
    expect(await acceptor.first("closed")).toEqual({ type: "closed", failure: undefined });
    await dialer.events.first(({ type }) => type === "ended" || type === "closed");
    dialer.port.abort();
    await dialer.first("closed");
    dialer.port.abort();
    dialer.port.halfClose();
    dialer.send("nobody");
    await new Promise(setImmediate);
    expect(dialer.eventTypes.filter((type) => type === "closed")).toHaveLength(1);
    expect(dialer.events.items.at(-1)?.type).toBe("closed");
  });

  test("names the error when the path is reset", async () => {
    const transport = newTransport();
    const venue = await listenAt(transport);
    const relay = await relayTo(venue.address);
    const dialer = dialTo(transport, relay.endpoint);
    dialer.onEvent = ({ type }) => {
      if (type === "connected") dialer.send("word");
    };
    const acceptor = await venue.accepted(1);
    await acceptor.received(4);
    acceptor.send("reply");
    await dialer.received(5);
    const [front, back] = await relay.legs;
    front.reset();
    back.reset();
    expect(await dialer.first("closed")).toEqual({ type: "closed", failure: "ECONNRESET" });
    expect(await acceptor.first("closed")).toEqual({ type: "closed", failure: "ECONNRESET" });
    expect(dialer.reasons).toEqual([]);
  });

  test("closes with the error when there is no listener", async () => {
    const dialer = dialTo(newTransport(), { host: "127.0.0.1", port: await freePort() });
    await dialer.first("closed");
    expect(dialer.events.items).toEqual([{ type: "closed", failure: "ECONNREFUSED" }]);
  });

  test("names the port that is in use", async () => {
    const transport = newTransport();
    const { endpoint } = await listenAt(transport);
    const outcome = new Promise((resolve) => transport.listen(endpoint, () => new ConnectionEnd(), resolve));
    expect(await outcome).toMatchObject({ code: "PORT_IN_USE" });
  });

  test.each<[string, (end: ConnectionEnd) => void]>([
    ["aborts", (end) => end.port.abort()],
    ["half-closes", (end) => end.port.halfClose()],
  ])("survives a machine that %s in the moment of accepting", async (_, act) => {
    const transport = newTransport();
    const venue = await listenAt(transport, act);
    const dialer = dialTo(transport, venue.endpoint);
    await dialer.events.first(({ type }) => type === "ended" || type === "closed");
    dialer.port.abort();
    const acceptor = await venue.accepted(1);
    await Promise.all([dialer.first("closed"), acceptor.first("closed")]);
    expect(acceptor.eventTypes.filter((type) => type === "closed")).toHaveLength(1);
    expect(acceptor.eventTypes).not.toContain("secured");
  });

  test.each(["connected", "flushed"] as const)("survives a dialer that aborts when it is %s", async (moment) => {
    const transport = newTransport();
    const venue = await listenAt(transport);
    const dialer = dialTo(transport, venue.endpoint);
    dialer.onEvent = ({ type }) => {
      if (type === "connected") dialer.send("word");
      if (type === moment) dialer.port.abort();
    };
    await dialer.first("closed");
    await (await venue.accepted(1)).events.first(({ type }) => type === "ended" || type === "closed");
    expect(dialer.eventTypes).toEqual(["connected", "closed"]);
  });

  test("survives a dial that is aborted at once", async () => {
    const transport = newTransport();
    const venue = await listenAt(transport);
    const dialer = dialTo(transport, venue.endpoint);
    dialer.port.abort();
    await dialer.first("closed");
    expect(dialer.eventTypes).toEqual(["closed"]);
  });

  test("reports the bytes and the end of an accepted connection", async () => {
    const venue = await listenAt(newTransport());
    const stranger = await rawClient(venue.address);
    const acceptor = await venue.accepted(1);
    await stranger.write("127.0.0.1:14000");
    await acceptor.received(15);
    acceptor.send("refused: no");
    await stranger.received("refused: no");
    stranger.end();
    await acceptor.first("ended");
    acceptor.port.halfClose();
    expect(await acceptor.first("closed")).toEqual({ type: "closed", failure: undefined });
    expect(acceptor.text).toBe("127.0.0.1:14000");
    expect(acceptor.eventTypes).toEqual(["bytes", "ended", "closed"]);
  });

  test("reports an accepted connection that ends without bytes", async () => {
    const venue = await listenAt(newTransport());
    const stranger = await rawClient(venue.address);
    stranger.end();
    const acceptor = await venue.accepted(1);
    await acceptor.first("ended");
    acceptor.port.halfClose();
    await acceptor.first("closed");
    expect(acceptor.eventTypes).toEqual(["ended", "closed"]);
  });
});

describe("the Node transport with a secret", () => {
  test("reports the proved identity at the accepting end before bytes that arrive with it", async () => {
    const transport = secretTransport();
    const venue = await listenAt(transport);
    const dialer = dialTo(transport, venue.endpoint, { mesh: "größe 🐙", role: "rendezvous" });
    dialer.onEvent = ({ type }) => {
      if (type === "connected") dialer.send("at once");
    };
    const acceptor = await venue.accepted(1);
    await acceptor.received(7);
    expect(acceptor.events.items.slice(0, 3)).toEqual([
      { type: "proving" },
      { type: "secured", identity: { mesh: "größe 🐙", role: "rendezvous" }, cipher },
      { type: "bytes" },
    ]);
    expect(acceptor.text).toBe("at once");
  });

  test("sends nothing in plain text, and names the identity of the listener", async () => {
    const transport = secretTransport();
    const venue = await listenAt(transport);
    const relay = await relayTo(venue.address);
    const dialer = dialTo(transport, relay.endpoint, member);
    await dialer.first("connected");
    dialer.send("a word between us");
    await (await venue.accepted(1)).received(17);
    const seen = (await relay.recording()).toString("latin1");
    expect(seen).toContain("fullmesh/1 member cache");
    expect(seen).not.toContain("a word");
  });

  test("sends a silent caller nothing but the TLS alert for busy", async () => {
    const venue = await listenAt(secretTransport(), (end) => {
      end.send("too early");
      end.port.halfClose();
    });
    const stranger = await rawClient(venue.address);
    expect(await stranger.ended).toBe("fin");
    expect(Buffer.from(stranger.text, "latin1").toString("hex")).toBe("15030300020250");
  });

  test("closes without bytes when it is half-closed in the handshake", async () => {
    const silent = await rawListener();
    const { host, port } = splitAddress(silent.address);
    const dialer = dialTo(secretTransport(), { host, port });
    const other = await silent.accepted(1);
    await other.received("fullmesh/1 member cache");
    dialer.send("too early");
    dialer.port.halfClose();
    expect(await dialer.first("closed")).toEqual({ type: "closed", failure: undefined });
    expect(other.text).not.toContain("too early");
  });

  test("detects changed bytes, and delivers none of them", async () => {
    const transport = secretTransport();
    const venue = await listenAt(transport);
    let isTampering = false;
    const relay = await relayTo(venue.address, (bytes, pass) => {
      const changed = Buffer.from(bytes);
      if (isTampering) changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1);
      return pass(changed);
    });
    const dialer = dialTo(transport, relay.endpoint);
    await dialer.first("connected");
    const acceptor = await venue.accepted(1);
    dialer.send("true");
    await acceptor.received(4);
    isTampering = true;
    dialer.send("also true");
    expect((await acceptor.first("closed")).failure).toMatch(/BAD_RECORD_MAC/);
    expect(acceptor.text).toBe("true");
    expect(acceptor.eventTypes).toEqual(["secured", "bytes", "closed"]);
    await dialer.first("closed");
  });

  test("sends its refusal to a dialer in plain text", async () => {
    const venue = await listenAt(secretTransport(), (end) => {
      end.onEvent = ({ type }) => {
        if (type === "bytes") end.send("SECRET_REQUIRED");
      };
    });
    const dialer = dialTo(plainTransport() satisfies TransportPort, venue.endpoint);
    await dialer.first("connected");
    dialer.send("hello");
    await dialer.received(15);
    expect(dialer.text).toBe("SECRET_REQUIRED");
    expect((await venue.accepted(1)).eventTypes).toEqual(["bytes"]);
  });
});
