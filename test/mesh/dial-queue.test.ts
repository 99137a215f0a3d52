import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ConnectionId, networkOf } from "../../src/core/connections.js";
import { defaultLimits, type Limits } from "../../src/core/limits.js";
import { Timers } from "../../src/core/timers.js";
import { DialQueue } from "../../src/mesh/dial-queue.js";
import { type Address, endpointOf } from "../../src/protocol/address.js";

const limits = {
  ...defaultLimits,
  dialsInFlight: 8,
  dialMs: 10_000,
  redialMinMs: 50,
  redialMaxMs: 30_000,
  relinkMs: 1_000,
  provenMs: 10_000,
};

/** The timers of each queue. */
const timersOf = new WeakMap<DialQueue<Address>, Timers>();

function dialingOf(seed: number, more: Partial<Limits> = {}): DialQueue<Address> {
  const timers = new Timers();
  const hostOf = (address: Address): string => networkOf(endpointOf(address));
  const dialing = new DialQueue<Address>({ ...limits, ...more }, seed, timers, hostOf, () => {});
  timersOf.set(dialing, timers);
  return dialing;
}

function nextTimeout(dialing: DialQueue<Address>): number | undefined {
  return timersOf.get(dialing)?.next();
}

const peer: Address = "10.0.0.1:1";
const other: Address = "10.0.0.2:1";

function peers(count: number): Set<Address> {
  return new Set(Array.from({ length: count }, (_, index): Address => `10.0.0.1:${index + 1}`));
}

/** Starts all dials that may go now; whom they go to. */
function dialAll(dialing: DialQueue<Address>, now: number): Address[] {
  const dialed: Address[] = [];
  timersOf.get(dialing)?.fire(now);
  for (let address = dialing.next(now); address !== undefined; address = dialing.next(now)) {
    dialing.started(address, `out:${Number(endpointOf(address).port)}`, now);
    dialed.push(address);
  }
  return dialed;
}

/** A dial has come to its end: a link, or nothing. */
/** Those that failed before get half of the room, so that they never keep the others waiting; nobody waits for no reason. */
function expectFairShare(inFlight: ReadonlySet<Address>, failed: ReadonlySet<Address>, wanted: number): void {
  const half = limits.dialsInFlight / 2;
  const retried = [...inFlight].filter((one) => failed.has(one));
  expect(retried.length).toBeLessThanOrEqual(half);
  expect(inFlight.size).toBeLessThanOrEqual(limits.dialsInFlight);
  expect(inFlight.size).toBeGreaterThanOrEqual(Math.min(half, wanted));
}

function finish(dialing: DialQueue<Address>, address: Address, isLink: boolean, now: number): void {
  if (isLink) dialing.linked(address, now);
  else dialing.failed(address, now);
}

/** A dialing that wants one peer and is dialing it. */
function startOne(seed = 1): DialQueue<Address> {
  const dialing = dialingOf(seed);
  dialing.want(new Set([peer]), 0);
  dialAll(dialing, 0);
  return dialing;
}

/** Fails so many dials in a row, each as soon as it may be made; the pauses between. */
function pauses(seed: number, failures: number): number[] {
  const dialing = startOne(seed);
  let now = 0;
  return Array.from({ length: failures }, () => {
    dialing.failed(peer, now);
    const next = nextTimeout(dialing) ?? Number.NaN;
    const pause = next - now;
    now = next;
    dialAll(dialing, now);
    return pause;
  });
}

describe("wanted addresses", () => {
  test("are dialed at once, each once", () => {
    const dialing = dialingOf(1);
    expect(dialing.want(new Set([peer, other]), 5)).toEqual([]);
    expect(nextTimeout(dialing)).toBe(5);
    expect(dialAll(dialing, 5).toSorted()).toEqual([peer, other]);
    expect(dialing.want(new Set([peer, other]), 6)).toEqual([]);
    expect(dialAll(dialing, 6)).toEqual([]);
  });

  test("are dialed a few at a time", () => {
    const dialing = dialingOf(1);
    dialing.want(peers(20), 0);
    const first = dialAll(dialing, 0);
    expect(first).toHaveLength(8);
    // With no room, the next moment is that of a dial that is slow and leaves its place, not that of one that is due.
    expect(nextTimeout(dialing)).toBe(limits.dialSlowMs);
    dialing.linked(first[0] ?? peer, 1);
    dialing.failed(first[1] ?? peer, 1);
    expect(nextTimeout(dialing)).toBe(0);
    expect(dialAll(dialing, 1)).toHaveLength(2);
  });

  test("all get their turn, never more than a few at a time, whatever becomes of each dial", () => {
    const fates = fc.array(fc.boolean(), { minLength: 200, maxLength: 200 });
    fc.assert(
      fc.property(fates, fc.integer(), (isLinkEach, seed) => {
        const dialing = dialingOf(seed, { dialSlowMs: Number.POSITIVE_INFINITY });
        dialing.want(peers(20), 0);
        const inFlight = new Set<Address>();
        const linked = new Set<Address>();
        const failed = new Set<Address>();
        for (const [round, isLink] of isLinkEach.entries()) {
          // A minute a round is longer than any pause, so whoever is due has become so.
          const now = round * 60_000;
          for (const address of dialAll(dialing, now)) inFlight.add(address);
          expectFairShare(inFlight, failed, 20 - linked.size);
          const [address] = inFlight;
          if (address === undefined) break;
          inFlight.delete(address);
          (isLink ? linked : failed).add(address);
          finish(dialing, address, isLink, now);
        }
      }),
    );
  });

  test("that are wanted no more are given up: the dial under way is to be aborted", () => {
    const dialing = dialingOf(1);
    dialing.want(new Set([peer, other]), 0);
    dialing.started(dialing.next(0) ?? other, "out:7", 0);
    expect(dialing.want(new Set([other]), 1)).toEqual(["out:7"]);
    expect(dialing.takeOverdue(limits.dialMs)).toBeUndefined();
    expect(dialing.failed(peer, 2)).toBe(0);
    expect(dialAll(dialing, 100_000)).toEqual([other]);
  });

  test("that are wanted no more give their room back", () => {
    const dialing = dialingOf(1);
    dialing.want(peers(8), 0);
    dialAll(dialing, 0);
    expect(dialing.want(new Set([other]), 1)).toHaveLength(8);
    expect(dialAll(dialing, 1)).toEqual([other]);
  });

  test("that are wanted again start without their old failures", () => {
    const dialing = startOne();
    dialing.failed(peer, 0);
    dialing.want(new Set(), 1);
    expect(nextTimeout(dialing)).toBeUndefined();
    dialing.want(new Set([peer]), 2);
    expect(dialAll(dialing, 2)).toEqual([peer]);
    expect(dialing.failed(peer, 3)).toBe(1);
  });
});

describe("peers that never answer", () => {
  const honest: Address = "10.0.0.9:9";

  /** So many peers on each of so many hosts. */
  function tarpits(hosts: number, each: number): Address[] {
    return Array.from({ length: hosts * each }, (_, index): Address => {
      const host = index % hosts;
      return `10.1.${host >> 8}.${host & 255}:${Math.floor(index / hosts) + 1}`;
    });
  }

  /** Lets time pass until the honest peer is dialed, or until the end; nobody answers. */
  function runUntilDialed(dialing: DialQueue<Address>, from: number, until = 120_000): number {
    let now = from;
    while (now < until) {
      for (let due = dialing.takeOverdue(now); due !== undefined; due = dialing.takeOverdue(now)) {
        dialing.failed(due.peer, now);
      }
      if (dialAll(dialing, now).includes(honest)) return now - from;
      now = Math.max(now, nextTimeout(dialing) ?? until);
    }
    return until - from;
  }

  /** The honest peer is dialed within a second, wherever among these it stands. */
  function expectSoon(others: readonly Address[]): void {
    for (const place of [0, others.length / 2, others.length]) {
      const dialing = dialingOf(1);
      dialing.want(new Set([...others.slice(0, place), honest, ...others.slice(place)]), 0);
      expect(runUntilDialed(dialing, 0)).toBeLessThan(1_000);
    }
  }

  test.each([
    ["40 on 40 hosts", 40, 1],
    ["40 on one host", 1, 40],
    ["1,000 on 1,000 hosts", 1_000, 1],
    ["1,000 on one host", 1, 1_000],
  ])("do not keep one that does waiting for a second: %s", (_, hosts, each) => {
    expectSoon(tarpits(hosts, each));
  });

  test("on its own host do not, either", () => {
    expectSoon(Array.from({ length: 40 }, (_, index): Address => `10.0.0.9:${index + 1_000}`));
  });

  test.each([1, 5, 9])("do not at any moment, also when its first dial has failed once: seed %d", (seed) => {
    for (const joinsAt of [0, 50, 5_000, 10_000, 10_100, 20_000, 45_000]) {
      const dialing = dialingOf(seed);
      dialing.want(new Set(tarpits(4, 10)), 0);
      runUntilDialed(dialing, 0, joinsAt);
      dialing.add(honest, joinsAt);
      const waited = runUntilDialed(dialing, joinsAt);
      expect(waited).toBeLessThan(1_000);
      const failedAt = joinsAt + waited;
      dialing.failed(honest, failedAt);
      expect(runUntilDialed(dialing, failedAt)).toBeLessThan(1_000);
    }
  });

  test("on one host let a newcomer from another host have the next place", () => {
    const dialing = dialingOf(1);
    dialing.want(new Set(tarpits(1, 24)), 0);
    runUntilDialed(dialing, 0, 50);
    dialing.add(honest, 50);
    expect(runUntilDialed(dialing, 50)).toBe(limits.dialSlowMs - 50);
  });

  test("may answer late: a slow dial goes on, and only its place is given to others", () => {
    const dialing = dialingOf(1);
    const [late = peer, ...others] = tarpits(1, 30);
    dialing.want(new Set([late, ...others]), 0);
    runUntilDialed(dialing, 0, limits.dialMs - 1);
    expect(dialing.takeOverdue(limits.dialMs - 1)).toBeUndefined();
    dialing.linked(late, limits.dialMs - 1);
    expect(dialing.takeOverdue(limits.dialMs)?.peer).toBe(others[0]);
  });

  test("are given up early, the oldest first, when more are slow than may be kept", () => {
    const dialing = dialingOf(1, { dialsSlow: 20 });
    dialing.want(peers(29), 0);
    for (const now of [0, 100, 200]) dialAll(dialing, now);
    expect(dialing.takeOverdue(299)).toBeUndefined();
    expect(nextTimeout(dialing)).toBe(limits.dialMs);
    dialing.want(peers(30), 299);
    dialAll(dialing, 300);
    const reason = "no answer after 300 ms, and others wait for room";
    expect(dialing.takeOverdue(300)).toEqual({ peer: "10.0.0.1:1", connection: "out:1", reason });
    expect(dialing.failed("10.0.0.1:1", 300)).toBe(1);
  });

  test("never take more than a quarter of the connections of this machine", () => {
    const dialing = dialingOf(1, { connections: 40 });
    dialing.want(peers(24), 0);
    for (const now of [0, 100, 200]) dialAll(dialing, now);
    expect([1, 2, 3, 4, 5, 6].map(() => dialing.takeOverdue(200)?.peer)).toEqual([...peers(6)]);
    expect(dialing.takeOverdue(200)).toBeUndefined();
  });
});

describe("a dial that takes too long", () => {
  test("is taken out once, with its connection", () => {
    const dialing = startOne();
    expect(nextTimeout(dialing)).toBe(limits.dialMs);
    expect(dialing.takeOverdue(limits.dialMs - 1)).toBeUndefined();
    const connection: ConnectionId = "out:1";
    const reason = "no answer within 10000 ms";
    expect(dialing.takeOverdue(limits.dialMs)).toEqual({ peer, connection, reason });
    expect(dialing.takeOverdue(limits.dialMs)).toBeUndefined();
    expect(dialing.failed(peer, limits.dialMs)).toBe(1);
  });

  test("is not one that has come to a link, or to nothing", () => {
    const dialing = dialingOf(1);
    dialing.want(new Set([peer, other]), 0);
    dialAll(dialing, 0);
    dialing.linked(peer, 1);
    dialing.failed(other, 1);
    expect(dialing.takeOverdue(1_000_000)).toBeUndefined();
  });
});

describe("the pause after a failed dial", () => {
  test("doubles up to its bound, each between half and the whole of its value", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        for (const [index, pause] of pauses(seed, 40).entries()) {
          const whole = Math.min(limits.redialMaxMs, limits.redialMinMs * 2 ** index);
          // The pause comes out of a difference of two moments, so it is exact only to a fraction of a millisecond.
          expect(pause).toBeGreaterThanOrEqual(whole / 2 - 0.001);
          expect(pause).toBeLessThanOrEqual(whole + 0.001);
        }
      }),
    );
  });

  test("is the same for the same seed, and differs from node to node", () => {
    expect(pauses(1, 5)).toEqual(pauses(1, 5));
    expect(pauses(1, 5)).not.toEqual(pauses(2, 5));
  });

  test("makes use of its whole range", () => {
    const shares = Array.from({ length: 200 }, (_, seed) => (pauses(seed, 1)[0] ?? 0) / limits.redialMinMs);
    expect(Math.min(...shares)).toBeLessThan(0.55);
    expect(Math.max(...shares)).toBeGreaterThan(0.95);
  });

  test("stays bounded after a thousand failures", () => {
    expect(Math.max(...pauses(1, 1_100))).toBeLessThanOrEqual(limits.redialMaxMs + 0.001);
  });

  test("counts the failures in a row", () => {
    const dialing = startOne();
    expect(dialing.failed(peer, 0)).toBe(1);
    dialAll(dialing, 1_000);
    expect(dialing.failed(peer, 1_000)).toBe(2);
    expect(dialing.failed("10.9.9.9:1", 0)).toBe(0);
  });
});

describe("a link", () => {
  test("is not dialed again while it is up", () => {
    const dialing = startOne();
    dialing.linked(peer, 1);
    dialing.want(new Set([peer]), 2);
    expect(dialAll(dialing, 1_000_000)).toEqual([]);
    expect(nextTimeout(dialing)).toBeUndefined();
  });

  test("of an address that waits to be dialed spares the dial", () => {
    const dialing = dialingOf(1);
    dialing.want(new Set([peer]), 0);
    dialing.linked(peer, 0);
    expect(dialAll(dialing, 1_000_000)).toEqual([]);
  });

  test("that breaks is dialed again after a pause, because its end is most often the end of the mesh", () => {
    const dialing = startOne();
    dialing.linked(peer, 0);
    dialing.unlinked(peer, 60_000, { provenMs: limits.provenMs, pauseMs: limits.relinkMs });
    expect(nextTimeout(dialing)).toBe(60_000 + limits.relinkMs);
    expect(dialAll(dialing, 60_000 + limits.relinkMs - 1)).toEqual([]);
    expect(dialAll(dialing, 60_000 + limits.relinkMs)).toEqual([peer]);
  });

  test("that lived long starts afresh", () => {
    const dialing = startOne();
    for (const now of [0, 30_000, 60_000]) {
      dialing.failed(peer, now);
      dialAll(dialing, now + 30_000);
    }
    dialing.linked(peer, 100_000);
    dialing.unlinked(peer, 100_000 + limits.provenMs, { provenMs: limits.provenMs, pauseMs: limits.relinkMs });
    dialAll(dialing, 200_000);
    expect(dialing.failed(peer, 200_000)).toBe(1);
  });

  test("that did not live long counts as one more failure", () => {
    const dialing = startOne();
    dialing.failed(peer, 0);
    dialAll(dialing, 30_000);
    dialing.linked(peer, 30_000);
    dialing.unlinked(peer, 30_000 + limits.provenMs - 1, { provenMs: limits.provenMs, pauseMs: limits.relinkMs });
    dialAll(dialing, 200_000);
    expect(dialing.failed(peer, 200_000)).toBe(3);
  });

  test("that is told of again, as with each list, keeps its age", () => {
    const dialing = startOne();
    dialing.linked(peer, 0);
    dialing.linked(peer, limits.provenMs - 1);
    dialing.unlinked(peer, limits.provenMs, { provenMs: limits.provenMs, pauseMs: limits.relinkMs });
    dialAll(dialing, 200_000);
    expect(dialing.failed(peer, 200_000)).toBe(1);
  });

  test("that nobody wants is of no account when it breaks", () => {
    const dialing = startOne();
    dialing.linked(peer, 0);
    dialing.want(new Set(), 1);
    dialing.unlinked(peer, 2, { provenMs: limits.provenMs, pauseMs: limits.relinkMs });
    dialing.linked(peer, 3);
    expect(nextTimeout(dialing)).toBeUndefined();
  });
});
