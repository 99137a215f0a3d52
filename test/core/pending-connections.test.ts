import { describe, expect, test } from "vitest";
import type { ConnectionId } from "../../src/core/connections.js";
import { defaultLimits } from "../../src/core/limits.js";
import { PendingConnections } from "../../src/core/pending-connections.js";

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

function crowd(count: number, now = 0): PendingConnections {
  const handshakes = new PendingConnections(limits);
  for (let index = 1; index <= count; index += 1) handshakes.begin(`in:${index}`, loopback, now);
  return handshakes;
}

function takeAll(handshakes: PendingConnections, now: number): ConnectionId[] {
  const due: ConnectionId[] = [];
  for (let next = handshakes.takeDue(now); next !== undefined; next = handshakes.takeDue(now)) due.push(next);
  return due;
}

test("the addresses of one IPv6 network are one host", () => {
  const handshakes = new PendingConnections(limits);
  const hosts = ["2001:db8::1", "2001:db8::2:1", "2001:db8::3:1:1", "2001:db8::4", "2001:db8:0:1::1"];
  expect(hosts.map((host, index) => handshakes.begin(`in:${index}`, host, 0))).toEqual([true, true, true, false, true]);
  handshakes.end("in:1");
  expect(handshakes.begin("in:9", "2001:db8::9", 0)).toBe(true);
});

describe("silence", () => {
  test("is free while the house is not crowded", () => {
    const handshakes = crowd(1);
    expect(handshakes.nextTimeout()).toBe(limits.firstByteMs);
    expect(takeAll(handshakes, limits.firstByteMs - 1)).toEqual([]);
    expect(takeAll(handshakes, limits.firstByteMs)).toEqual(["in:1"]);
    expect(handshakes.pending).toBe(0);
  });

  test("gets seconds once the house is crowded", () => {
    const handshakes = crowd(2);
    expect(handshakes.nextTimeout()).toBe(limits.firstByteCrowdedMs);
    expect(takeAll(handshakes, limits.firstByteCrowdedMs - 1)).toEqual([]);
    // When the first of them has gone, there is room again, and the other may stay.
    expect(takeAll(handshakes, limits.firstByteCrowdedMs)).toEqual(["in:1"]);
    expect(handshakes.nextTimeout()).toBe(limits.firstByteMs);
  });

  test("that was free is ended by a newcomer who makes it crowded, the longest first", () => {
    const handshakes = crowd(1);
    handshakes.begin("in:2", loopback, 500);
    expect(takeAll(handshakes, 500)).toEqual(["in:1"]);
    expect(takeAll(handshakes, 500)).toEqual([]);
  });

  test("of one counts as crowded when others are speaking", () => {
    const handshakes = crowd(2);
    handshakes.spoke("in:1", 0);
    expect(handshakes.nextTimeout()).toBe(limits.firstByteCrowdedMs);
  });

  test("is free again when the crowd has gone", () => {
    const handshakes = crowd(4);
    for (const connection of ["in:2", "in:3", "in:4"] as const) handshakes.end(connection);
    expect(handshakes.nextTimeout()).toBe(limits.firstByteMs);
  });
});

describe("speaking", () => {
  test("gives the time of a handshake from the first byte on", () => {
    const handshakes = crowd(1);
    handshakes.spoke("in:1", 900);
    expect(handshakes.nextTimeout()).toBe(1_100);
    expect(takeAll(handshakes, 1_099)).toEqual([]);
    expect(takeAll(handshakes, 1_100)).toEqual(["in:1"]);
  });

  test("more does not give more time", () => {
    const handshakes = crowd(1);
    handshakes.spoke("in:1", 0);
    handshakes.spoke("in:1", 150);
    expect(handshakes.nextTimeout()).toBe(limits.handshakeMs);
  });

  test("means nothing for a connection that holds no place", () => {
    const handshakes = crowd(0);
    handshakes.spoke("in:9", 0);
    expect(handshakes.nextTimeout()).toBeUndefined();
  });
});

describe("places", () => {
  test("are not given beyond their number, to nobody", () => {
    const handshakes = crowd(8);
    expect(handshakes.pending).toBe(8);
    expect(handshakes.begin("in:9", loopback, 0)).toBe(false);
    expect(handshakes.begin("in:10", "10.0.0.1", 0)).toBe(false);
    expect(handshakes.end("in:9")).toBe(false);
  });

  test("are not given to one host beyond its share", () => {
    const handshakes = crowd(0);
    for (const connection of ["in:1", "in:2", "in:3"] as const) {
      expect(handshakes.begin(connection, "10.0.0.1", 0)).toBe(true);
    }
    expect(handshakes.begin("in:4", "10.0.0.1", 0)).toBe(false);
    expect(handshakes.begin("in:5", "10.0.0.2", 0)).toBe(true);
  });

  test.each(["127.0.0.1", "127.9.9.9", "::1"])("are given to loopback (%s) without regard to its share", (host) => {
    const handshakes = crowd(0);
    for (let index = 1; index <= limits.handshakesPending; index += 1) {
      expect(handshakes.begin(`in:${index}`, host, 0)).toBe(true);
    }
  });

  test("come back to the host when a handshake ends, speaks or not", () => {
    const handshakes = crowd(0);
    for (const connection of ["in:1", "in:2", "in:3"] as const) handshakes.begin(connection, "10.0.0.1", 0);
    handshakes.spoke("in:1", 0);
    expect(handshakes.begin("in:4", "10.0.0.1", 0)).toBe(false);
    expect(handshakes.end("in:1")).toBe(true);
    expect(handshakes.begin("in:5", "10.0.0.1", 0)).toBe(true);
    expect(handshakes.end("in:2")).toBe(true);
    expect(handshakes.begin("in:6", "10.0.0.1", 0)).toBe(true);
    expect(handshakes.begin("in:7", "10.0.0.1", 0)).toBe(false);
  });

  test("come back to the host when a handshake runs out", () => {
    const handshakes = crowd(0);
    for (const connection of ["in:1", "in:2", "in:3"] as const) handshakes.begin(connection, "10.0.0.1", 0);
    takeAll(handshakes, limits.firstByteMs);
    expect(handshakes.pending).toBe(0);
    for (const connection of ["in:4", "in:5", "in:6"] as const) {
      expect(handshakes.begin(connection, "10.0.0.1", 0)).toBe(true);
    }
  });

  test("are freed once, and only by who holds one", () => {
    const handshakes = crowd(1);
    expect(handshakes.end("in:1")).toBe(true);
    expect(handshakes.end("in:1")).toBe(false);
    expect(handshakes.end("in:2")).toBe(false);
    expect(handshakes.nextTimeout()).toBeUndefined();
  });
});
