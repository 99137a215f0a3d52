import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ConnectionId } from "../../src/core/connections.js";
import { defaultLimits } from "../../src/core/limits.js";
import { Dialing } from "../../src/mesh/dialing.js";
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

const peer: Address = "10.0.0.1:1";
const other: Address = "10.0.0.2:1";

function peers(count: number): Set<Address> {
  return new Set(Array.from({ length: count }, (_, index): Address => `10.0.0.1:${index + 1}`));
}

/** Starts all dials that may go now; whom they go to. */
function dialAll(dialing: Dialing<Address>, now: number): Address[] {
  const dialed: Address[] = [];
  for (let address = dialing.next(now); address !== undefined; address = dialing.next(now)) {
    dialing.started(address, `out:${endpointOf(address).port}`, now);
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

function finish(dialing: Dialing<Address>, address: Address, isLink: boolean, now: number): void {
  if (isLink) dialing.linked(address, now);
  else dialing.failed(address, now);
}

/** A dialing that wants one peer and is dialing it. */
function startOne(seed = 1): Dialing<Address> {
  const dialing = new Dialing<Address>(limits, seed);
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
    const next = dialing.nextTimeout() ?? Number.NaN;
    const pause = next - now;
    now = next;
    dialAll(dialing, now);
    return pause;
  });
}

describe("wanted addresses", () => {
  test("are dialed at once, each once", () => {
    const dialing = new Dialing<Address>(limits, 1);
    expect(dialing.want(new Set([peer, other]), 5)).toEqual([]);
    expect(dialing.nextTimeout()).toBe(5);
    expect(dialAll(dialing, 5).toSorted()).toEqual([peer, other]);
    expect(dialing.want(new Set([peer, other]), 6)).toEqual([]);
    expect(dialAll(dialing, 6)).toEqual([]);
  });

  test("are dialed a few at a time", () => {
    const dialing = new Dialing<Address>(limits, 1);
    dialing.want(peers(20), 0);
    const first = dialAll(dialing, 0);
    expect(first).toHaveLength(8);
    // With no room, the next moment is that of a dial that has taken too long, not that of one that is due.
    expect(dialing.nextTimeout()).toBe(limits.dialMs);
    dialing.linked(first[0] ?? peer, 1);
    dialing.failed(first[1] ?? peer, 1);
    expect(dialing.nextTimeout()).toBe(0);
    expect(dialAll(dialing, 1)).toHaveLength(2);
  });

  test("all get their turn, never more than a few at a time, whatever becomes of each dial", () => {
    const fates = fc.array(fc.boolean(), { minLength: 200, maxLength: 200 });
    fc.assert(
      fc.property(fates, fc.integer(), (isLinkEach, seed) => {
        const dialing = new Dialing<Address>(limits, seed);
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
    const dialing = new Dialing<Address>(limits, 1);
    dialing.want(new Set([peer, other]), 0);
    dialing.started(dialing.next(0) ?? other, "out:7", 0);
    expect(dialing.want(new Set([other]), 1)).toEqual(["out:7"]);
    expect(dialing.takeOverdue(limits.dialMs)).toBeUndefined();
    expect(dialing.failed(peer, 2)).toBe(0);
    expect(dialAll(dialing, 100_000)).toEqual([other]);
  });

  test("that are wanted no more give their room back", () => {
    const dialing = new Dialing<Address>(limits, 1);
    dialing.want(peers(8), 0);
    dialAll(dialing, 0);
    expect(dialing.want(new Set([other]), 1)).toHaveLength(8);
    expect(dialAll(dialing, 1)).toEqual([other]);
  });

  test("that are wanted again start without their old failures", () => {
    const dialing = startOne();
    dialing.failed(peer, 0);
    dialing.want(new Set(), 1);
    expect(dialing.nextTimeout()).toBeUndefined();
    dialing.want(new Set([peer]), 2);
    expect(dialAll(dialing, 2)).toEqual([peer]);
    expect(dialing.failed(peer, 3)).toBe(1);
  });
});

describe("a dial that takes too long", () => {
  test("is taken out once, with its connection", () => {
    const dialing = startOne();
    expect(dialing.nextTimeout()).toBe(limits.dialMs);
    expect(dialing.takeOverdue(limits.dialMs - 1)).toBeUndefined();
    const connection: ConnectionId = "out:1";
    expect(dialing.takeOverdue(limits.dialMs)).toEqual({ peer, connection });
    expect(dialing.takeOverdue(limits.dialMs)).toBeUndefined();
    expect(dialing.failed(peer, limits.dialMs)).toBe(1);
  });

  test("is not one that has come to a link, or to nothing", () => {
    const dialing = new Dialing<Address>(limits, 1);
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
    expect(dialing.nextTimeout()).toBeUndefined();
  });

  test("of an address that waits to be dialed spares the dial", () => {
    const dialing = new Dialing<Address>(limits, 1);
    dialing.want(new Set([peer]), 0);
    dialing.linked(peer, 0);
    expect(dialAll(dialing, 1_000_000)).toEqual([]);
  });

  test("that breaks is dialed again after a pause, because its end is most often the end of the mesh", () => {
    const dialing = startOne();
    dialing.linked(peer, 0);
    dialing.unlinked(peer, 60_000, { provenMs: limits.provenMs, pauseMs: limits.relinkMs });
    expect(dialing.nextTimeout()).toBe(60_000 + limits.relinkMs);
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
    expect(dialing.nextTimeout()).toBeUndefined();
  });
});
