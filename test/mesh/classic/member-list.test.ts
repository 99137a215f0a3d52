import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type JoinPosition, MemberList } from "../../../src/mesh/classic/member-list.js";
import type { Address } from "../../../src/protocol/address.js";

const own: Address = "10.0.0.9:1";
const [a, b, c, d]: readonly [Address, Address, Address, Address] = [
  "10.0.0.1:1",
  "10.0.0.2:1",
  "10.0.0.3:1",
  "10.0.0.4:1",
];

function start(): MemberList {
  const membership = new MemberList();
  membership.registeredAs(own);
  return membership;
}

function standings(membership: MemberList, ...addresses: readonly Address[]): JoinPosition[] {
  return addresses.map((address) => membership.positionOf(address));
}

describe("a settled list", () => {
  test("says who joined earlier, who later, and whom to dial", () => {
    const membership = start();
    membership.read([a, own, b, c], true);
    expect(standings(membership, a, own, b, c, d)).toEqual(["earlier", "self", "later", "later", "unknown"]);
    expect([...membership.toDial]).toEqual([b, c]);
    expect(membership.isListed).toBe(true);
    expect(membership.newest).toEqual([a, own, b, c]);
  });

  test("replaces the one before", () => {
    const membership = start();
    membership.read([a, own, b, c], true);
    membership.read([own, c, d], true);
    expect(standings(membership, a, b, c, d)).toEqual(["unknown", "unknown", "later", "later"]);
    expect([...membership.toDial]).toEqual([c, d]);
  });

  test("that lacks this node makes everybody unknown, and nobody is dialed on its account", () => {
    const membership = start();
    membership.read([a, own, b], true);
    membership.read([a, b], true);
    expect(membership.isListed).toBe(false);
    expect(standings(membership, a, own, b)).toEqual(["unknown", "self", "unknown"]);
    expect([...membership.toDial]).toEqual([]);
  });
});

describe("an unsettled list", () => {
  test("only adds to those who joined later", () => {
    const membership = start();
    membership.read([a, own, b, c], true);
    membership.read([a, own, b], false);
    expect(standings(membership, a, b, c)).toEqual(["earlier", "later", "later"]);
    expect([...membership.toDial].toSorted()).toEqual([b, c]);
    membership.read([a, own, b, d], false);
    expect([...membership.toDial].toSorted()).toEqual([b, c, d]);
    membership.read([a, own, b, d], true);
    expect([...membership.toDial]).toEqual([b, d]);
  });

  test("that has not reached this node yet takes nobody away", () => {
    const membership = start();
    membership.read([a, b, own, c], true);
    membership.read([], false);
    membership.read([a], false);
    expect(standings(membership, a, b, c)).toEqual(["earlier", "earlier", "later"]);
    expect(membership.isListed).toBe(true);
  });

  test("that has reached this node tells at once who before it is gone", () => {
    const membership = start();
    membership.read([a, b, own, c], true);
    membership.read([b, own], false);
    expect(standings(membership, a, b, c)).toEqual(["unknown", "earlier", "later"]);
  });

  test("lists this node as soon as it names it", () => {
    const membership = start();
    membership.read([a], false);
    expect(membership.isListed).toBe(false);
    expect(membership.positionOf(a)).toBe("unknown");
    membership.read([a, own], false);
    expect(membership.isListed).toBe(true);
    expect(membership.positionOf(a)).toBe("earlier");
  });

  test("knows that who joined again is later now", () => {
    const membership = start();
    membership.read([a, own, b], true);
    membership.read([own, b, a], false);
    expect(membership.positionOf(a)).toBe("later");
    expect([...membership.toDial]).toEqual([b, a]);
  });

  test("read piece by piece comes to the same as read whole, once it has settled", () => {
    const pool: readonly Address[] = [a, b, c, d, own];
    const list = fc.shuffledSubarray([...pool]);
    fc.assert(
      fc.property(list, list, (before, after) => {
        const whole = start();
        whole.read(after, true);
        const pieces = start();
        pieces.read(before, true);
        for (let length = 0; length <= after.length; length += 1) pieces.read(after.slice(0, length), false);
        pieces.read(after, true);
        expect(standings(pieces, ...pool)).toEqual(standings(whole, ...pool));
        expect([...pieces.toDial]).toEqual([...whole.toDial]);
        expect(pieces.newest).toEqual(whole.newest);
      }),
    );
  });
});

test("the first mention of an address counts", () => {
  const membership = start();
  membership.read([a, own, b, a, own, b], true);
  expect(membership.newest).toEqual([a, own, b]);
  expect(standings(membership, a, b)).toEqual(["earlier", "later"]);
  expect([...membership.toDial]).toEqual([b]);
});

test("the newest list is the same array while it is the same list", () => {
  const membership = start();
  membership.read([a, own], false);
  const { newest } = membership;
  membership.read([a, own], true);
  expect(membership.newest).toBe(newest);
  membership.read([a, own, b], true);
  expect(membership.newest).not.toBe(newest);
});

test("nobody has a standing before this node registers", () => {
  const membership = new MemberList();
  membership.read([a, b], true);
  expect(standings(membership, a, b)).toEqual(["unknown", "unknown"]);
  expect([...membership.toDial]).toEqual([]);
});
