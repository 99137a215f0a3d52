import { beforeEach, describe, expect, test } from "vitest";
import { type RawConnection, rawClient, rawListener, splitAddress } from "../support/sockets.js";
import {
  type ConnectionEnd,
  dialTo,
  listenAt,
  member,
  relayTo,
  secretTransport,
  type TestListener,
} from "./connection-ends.js";

/** The first flight of a dialer: what it sends before it is answered. */
async function firstFlight(): Promise<Buffer> {
  const listener = await rawListener();
  const { host, port } = splitAddress(listener.address);
  const dialer = dialTo(secretTransport(), { host, port });
  const other = await listener.accepted(1);
  const text = await other.received(/fullmesh\/1 member cache.{38}/s);
  dialer.port.abort();
  await dialer.first("closed");
  other.socket.destroy();
  return Buffer.from(text, "latin1");
}

/** Resolves once this process holds no connection: nothing is left behind. */
async function nothingOpen(): Promise<void> {
  while (process.getActiveResourcesInfo().includes("TCPSocketWrap")) await new Promise(setImmediate);
}

/** Resolves once every end has been told of its closing; none is told more than once, and nothing after it. */
async function allClosed(ends: readonly ConnectionEnd[]): Promise<void> {
  await Promise.all(ends.map((end) => end.first("closed")));
  await new Promise(setImmediate);
  for (const { events } of ends) {
    expect(events.items.filter(({ type }) => type === "closed")).toHaveLength(1);
    expect(events.items.at(-1)?.type).toBe("closed");
  }
}

async function accepted(venue: TestListener, count: number): Promise<ConnectionEnd[]> {
  await venue.accepted(count);
  return venue.ends.items;
}

beforeEach(nothingOpen);

describe("handshakes at a listener with a secret", () => {
  test("all succeed when 500 begin at once, and leave no sockets", async () => {
    const transport = secretTransport();
    const venue = await listenAt(transport);
    const dialers = Array.from({ length: 500 }, () => dialTo(transport, venue.endpoint));
    await Promise.all(dialers.map((dialer) => dialer.first("connected")));
    for (const [index, dialer] of dialers.entries()) dialer.send(`word ${index}`);
    const acceptors = await accepted(venue, 500);
    await Promise.all(acceptors.map((acceptor) => acceptor.received(6)));
    expect(new Set(acceptors.map(({ text }) => text)).size).toBe(500);
    for (const { port } of dialers) port.halfClose();
    for (const acceptor of acceptors) {
      await acceptor.first("ended");
      acceptor.port.halfClose();
    }
    await allClosed([...dialers, ...acceptors]);
    await nothingOpen();
  });

  test("all fail when 500 begin at once with another identity, and leave no sockets", async () => {
    const venue = await listenAt(secretTransport(({ mesh }) => mesh === "other"));
    const transport = secretTransport();
    const dialers = Array.from({ length: 500 }, () => dialTo(transport, venue.endpoint));
    const acceptors = await accepted(venue, 500);
    await allClosed([...dialers, ...acceptors]);
    for (const end of dialers) expect(end.reasons).toEqual(["SECRET_MISMATCH"]);
    for (const end of acceptors) expect(end.reasons).toEqual(["WRONG_IDENTITY"]);
    await nothingOpen();
  });

  test("succeed wherever the first flight is split", async () => {
    const { length } = await firstFlight();
    const transport = secretTransport();
    for (let cut = 1; cut < length; cut += 1) {
      const venue = await listenAt(transport);
      let isFirst = true;
      const relay = await relayTo(venue.address, async (bytes, pass) => {
        if (!isFirst) return pass(bytes);
        isFirst = false;
        await pass(bytes.subarray(0, cut));
        await new Promise(setImmediate);
        await pass(bytes.subarray(cut));
      });
      const dialer = dialTo(transport, relay.endpoint);
      await dialer.first("connected");
      const acceptor = await venue.accepted(1);
      await acceptor.first("secured");
      dialer.port.abort();
      acceptor.port.abort();
      await allClosed([dialer, acceptor]);
    }
  });

  test.each<[string, (stranger: RawConnection) => void]>([
    ["ends", (stranger) => stranger.end()],
    ["is reset", (stranger) => stranger.reset()],
  ])("close once, without a reason, when a caller %s at any byte of the first flight", async (_, end) => {
    const flight = await firstFlight();
    const venue = await listenAt(secretTransport());
    for (let cut = 1; cut <= flight.length; cut += 1) {
      const stranger = await rawClient(venue.address);
      await stranger.write(flight.subarray(0, cut));
      const acceptor = await venue.accepted(cut);
      if (cut === flight.length) await stranger.received("\x16");
      end(stranger);
      await settled(acceptor, stranger);
      expect(acceptor.eventTypes).not.toContain("secured");
      expect(acceptor.eventTypes).not.toContain("bytes");
      expect(acceptor.reasons).toEqual([]);
    }
    await allClosed(venue.ends.items);
    await nothingOpen();
  });

  test("can be aborted at any byte of the first flight", async () => {
    const flight = await firstFlight();
    const venue = await listenAt(secretTransport());
    for (let cut = 0; cut <= flight.length; cut += 1) {
      const stranger = await rawClient(venue.address);
      if (cut > 0) await stranger.write(flight.subarray(0, cut));
      const acceptor = await venue.accepted(cut + 1);
      await new Promise(setImmediate);
      acceptor.port.abort();
      await acceptor.first("closed");
      expect(acceptor.eventTypes).toEqual(["closed"]);
      stranger.socket.destroy();
      await stranger.ended;
    }
    await allClosed(venue.ends.items);
    await nothingOpen();
  });

  test("are reported at their first byte, whatever follows", async () => {
    const venue = await listenAt(secretTransport());
    const stranger = await rawClient(venue.address);
    const acceptor = await venue.accepted(1);
    expect(acceptor.events.items).toEqual([]);
    await stranger.write(Buffer.of(0x16));
    await acceptor.first("proving");
    expect(acceptor.events.items).toEqual([{ type: "proving" }]);
  });

  test("begin with the first byte, however late it arrives", async () => {
    const transport = secretTransport();
    const venue = await listenAt(transport);
    let release: () => void = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const relay = await relayTo(venue.address, async (bytes, pass) => {
      await released;
      await pass(bytes);
    });
    const slow = dialTo(transport, relay.endpoint);
    const acceptor = await venue.accepted(1);
    // Others come and are served in the meantime.
    const swift = dialTo(transport, venue.endpoint);
    await swift.first("connected");
    expect(acceptor.events.items).toEqual([]);
    const [front] = await relay.legs;
    await front.received("fullmesh/1");
    release();
    await slow.first("connected");
    await acceptor.first("secured");
  });
});

describe("a dialer's handshake", () => {
  test.each<[string, (other: RawConnection) => void, RegExp]>([
    ["ends", (other) => other.end(), /^closed in the handshake/],
    // A write that fails takes the reset away from the read behind it, which then sees no more than an end.
    ["is reset", (other) => other.reset(), /^ECONNRESET$|^closed in the handshake/],
  ])("closes once when the path %s at any byte of the answer", async (_, end, failure) => {
    const transport = secretTransport();
    const venue = await listenAt(transport);
    for (let cut = 0; ; cut += 16) {
      const front = await rawListener();
      const { host, port } = splitAddress(front.address);
      const dialer = dialTo(transport, { host, port });
      const near = await front.accepted(1);
      await near.received("fullmesh/1 member cache");
      const far = await rawClient(venue.address);
      await far.write(Buffer.from(near.text, "latin1"));
      const answer = Buffer.from(await far.received("\x17\x03\x03"), "latin1");
      if (cut > 0) await near.write(answer.subarray(0, cut));
      if (cut > 0 && cut < answer.length) await new Promise(setImmediate);
      if (cut >= answer.length) {
        near.socket.destroy();
        far.socket.destroy();
        dialer.port.abort();
        await dialer.first("closed");
        break;
      }
      end(near);
      const closed = await dialer.first("closed");
      expect(closed.failure).toMatch(failure);
      expect(dialer.eventTypes).toEqual(["closed"]);
      near.socket.destroy();
      far.socket.destroy();
      await Promise.all([near.ended, far.ended]);
    }
    await allClosed(venue.ends.items);
    await nothingOpen();
  });

  test("waits until it is aborted if it is not answered", async () => {
    const silent = await rawListener();
    const { host, port } = splitAddress(silent.address);
    const dialer = dialTo(secretTransport(), { host, port }, member);
    const other = await silent.accepted(1);
    await other.received("fullmesh/1 member cache");
    expect(dialer.eventTypes).toEqual([]);
    dialer.port.abort();
    await allClosed([dialer]);
    other.socket.destroy();
    await other.ended;
    await nothingOpen();
  });
});

/** Resolves once a stranger's end has closed the connection, and the stranger is gone too. */
async function settled(acceptor: ConnectionEnd, stranger: RawConnection): Promise<void> {
  await acceptor.first("closed");
  stranger.socket.destroy();
  await stranger.ended;
}
