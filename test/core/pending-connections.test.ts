import { describe, expect, test } from "vitest";
import type { ConnectionId, Endpoint } from "../../src/core/connections.js";
import { defaultLimits } from "../../src/core/limits.js";
import { PendingConnections } from "../../src/core/pending-connections.js";
import { Timers } from "../../src/core/timers.js";

function from(host: string): Endpoint {
  return { host, port: 50_000 };
}

const limits = {
  ...defaultLimits,
  handshakesPending: 8,
  handshakesCrowded: 2,
  handshakesPendingPerHost: 3,
  firstByteMs: 1_000,
  firstByteCrowdedMs: 50,
  handshakeMs: 200,
};

const loopback = "127.0.0.1";

/** Pending connections with timers of their own, and which of them time out. */
class TestConnections extends PendingConnections {
  readonly timers: Timers;
  readonly #timedOut: ConnectionId[];

  constructor() {
    const timers = new Timers();
    const timedOut: ConnectionId[] = [];
    super(limits, timers, (connection) => timedOut.push(connection));
    this.timers = timers;
    this.#timedOut = timedOut;
  }

  /** Fires what is due now; the connections that time out. */
  fire(now: number): ConnectionId[] {
    this.timers.fire(now);
    return this.#timedOut.splice(0);
  }
}

function start(count = 0, now = 0): TestConnections {
  const connections = new TestConnections();
  for (let index = 1; index <= count; index += 1) connections.begin(`in:${index}`, from(loopback), now);
  return connections;
}

test("the addresses of one IPv6 network are one host", () => {
  const connections = start();
  const hosts = ["2001:db8::1", "2001:db8::2:1", "2001:db8::3:1:1", "2001:db8::4", "2001:db8:0:1::1"];
  expect(hosts.map((host, index) => connections.begin(`in:${index}`, from(host), 0))).toEqual([
    true,
    true,
    true,
    false,
    true,
  ]);
  connections.end("in:1");
  expect(connections.begin("in:9", from("2001:db8::9"), 0)).toBe(true);
});

describe("a silent connection", () => {
  test("has the long time-out while few connections are pending", () => {
    const connections = start(1);
    expect(connections.timers.next()).toBe(limits.firstByteMs);
    expect(connections.fire(limits.firstByteMs - 1)).toEqual([]);
    expect(connections.fire(limits.firstByteMs)).toEqual(["in:1"]);
    expect(connections.pending).toBe(0);
  });

  test("has the short time-out above the limit", () => {
    const connections = start(2);
    expect(connections.timers.next()).toBe(limits.firstByteCrowdedMs);
    expect(connections.fire(limits.firstByteCrowdedMs - 1)).toEqual([]);
    // When the first of them has gone, there is room again, and the other may stay.
    expect(connections.fire(limits.firstByteCrowdedMs)).toEqual(["in:1"]);
    expect(connections.timers.next()).toBe(limits.firstByteMs);
  });

  test("times out at once when a newcomer exceeds the limit, the longest silent first", () => {
    const connections = start(1);
    connections.begin("in:2", from(loopback), 500);
    expect(connections.fire(500)).toEqual(["in:1"]);
    expect(connections.fire(500)).toEqual([]);
  });

  test("has the short time-out also when the others have sent something", () => {
    const connections = start(2);
    connections.spoke("in:1", 0);
    expect(connections.timers.next()).toBe(limits.firstByteCrowdedMs);
  });

  test("has the long time-out again when the others have ended", () => {
    const connections = start(4);
    for (const connection of ["in:2", "in:3", "in:4"] as const) connections.end(connection);
    expect(connections.timers.next()).toBe(limits.firstByteMs);
  });
});

describe("the first byte", () => {
  test("starts the time of a handshake", () => {
    const connections = start(1);
    connections.spoke("in:1", 900);
    expect(connections.timers.next()).toBe(1_100);
    expect(connections.fire(1_099)).toEqual([]);
    expect(connections.fire(1_100)).toEqual(["in:1"]);
  });

  test("is the only one that does so", () => {
    const connections = start(1);
    connections.spoke("in:1", 0);
    connections.spoke("in:1", 150);
    expect(connections.timers.next()).toBe(limits.handshakeMs);
  });

  test("is ignored on a connection that is not pending", () => {
    const connections = start();
    connections.spoke("in:9", 0);
    expect(connections.timers.next()).toBeUndefined();
  });
});

describe("places", () => {
  test("are not given above the limit, whoever asks", () => {
    const connections = start(8);
    expect(connections.pending).toBe(8);
    expect(connections.begin("in:9", from(loopback), 0)).toBe(false);
    expect(connections.begin("in:10", from("10.0.0.1"), 0)).toBe(false);
    expect(connections.end("in:9")).toBe(false);
  });

  test("are not given to one host beyond its share", () => {
    const connections = start();
    for (const connection of ["in:1", "in:2", "in:3"] as const) {
      expect(connections.begin(connection, from("10.0.0.1"), 0)).toBe(true);
    }
    expect(connections.begin("in:4", from("10.0.0.1"), 0)).toBe(false);
    expect(connections.begin("in:5", from("10.0.0.2"), 0)).toBe(true);
  });

  test.each(["127.0.0.1", "127.9.9.9", "::1"])("are given to loopback (%s) without regard to its share", (host) => {
    const connections = start();
    for (let index = 1; index <= limits.handshakesPending; index += 1) {
      expect(connections.begin(`in:${index}`, from(host), 0)).toBe(true);
    }
  });

  test("are freed for the host when a connection ends, silent or not", () => {
    const connections = start();
    for (const connection of ["in:1", "in:2", "in:3"] as const) connections.begin(connection, from("10.0.0.1"), 0);
    connections.spoke("in:1", 0);
    expect(connections.begin("in:4", from("10.0.0.1"), 0)).toBe(false);
    expect(connections.end("in:1")).toBe(true);
    expect(connections.begin("in:5", from("10.0.0.1"), 0)).toBe(true);
    expect(connections.end("in:2")).toBe(true);
    expect(connections.begin("in:6", from("10.0.0.1"), 0)).toBe(true);
    expect(connections.begin("in:7", from("10.0.0.1"), 0)).toBe(false);
  });

  test("are freed for the host when a connection times out", () => {
    const connections = start();
    for (const connection of ["in:1", "in:2", "in:3"] as const) connections.begin(connection, from("10.0.0.1"), 0);
    connections.fire(limits.firstByteMs);
    expect(connections.pending).toBe(0);
    for (const connection of ["in:4", "in:5", "in:6"] as const) {
      expect(connections.begin(connection, from("10.0.0.1"), 0)).toBe(true);
    }
  });

  test("are freed once, and only by a connection that has one", () => {
    const connections = start(1);
    expect(connections.end("in:1")).toBe(true);
    expect(connections.end("in:1")).toBe(false);
    expect(connections.end("in:2")).toBe(false);
    expect(connections.timers.next()).toBeUndefined();
  });
});
