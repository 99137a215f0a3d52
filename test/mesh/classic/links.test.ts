import { describe, expect, test } from "vitest";
import type { ConnectionOutput } from "../../../src/core/connections.js";
import { Timers } from "../../../src/core/timers.js";
import { type ClassicLink, ClassicLinks } from "../../../src/mesh/classic/links.js";
import type { Address } from "../../../src/protocol/address.js";

const peer: Address = "10.0.0.1:1";
const other: Address = "10.0.0.2:1";

function start() {
  const sent: ConnectionOutput[] = [];
  const released: ClassicLink[] = [];
  const timers = new Timers();
  const links = new ClassicLinks(
    { send: (connection, bytes) => void sent.push({ type: "send", connection, bytes }) },
    timers,
    (link) => void released.push(link),
  );
  /** The links whose pause is over by then. */
  const releasedBy = (now: number): ClassicLink[] => {
    timers.fire(now);
    return released.splice(0);
  };
  return { links, sent, timers, releasedBy };
}

function payload(number: number): Uint8Array {
  return Uint8Array.of(number);
}

describe("a link", () => {
  test("takes payload from the beginning when nothing is to be held", () => {
    const { links, sent, timers } = start();
    const link = links.add(peer, "in:1", "accepted");
    links.write(link, payload(1));
    expect(sent).toEqual([{ type: "send", connection: "in:1", bytes: payload(1) }]);
    expect(timers.next()).toBeUndefined();
  });

  test("is found by its peer until it is removed", () => {
    const { links } = start();
    const link = links.add(peer, "in:1", "accepted");
    links.add(other, "out:1", "dialed");
    expect(links.get(peer)).toBe(link);
    expect([...links.all].map(({ direction }) => direction)).toEqual(["accepted", "dialed"]);
    links.remove(link);
    expect(links.has(peer)).toBe(false);
    expect(links.get(peer)).toBeUndefined();
    expect([...links.all]).toHaveLength(1);
  });

  test("that has been replaced does not take its successor with it", () => {
    const { links } = start();
    const old = links.add(peer, "out:1", "dialed");
    const successor = links.add(peer, "out:2", "dialed");
    links.remove(old);
    expect(links.get(peer)).toBe(successor);
  });
});

describe("a link that holds", () => {
  test("keeps its payload back until the pause is over, then sends it in order", () => {
    const { links, sent, timers, releasedBy } = start();
    const link = links.add(peer, "out:1", "dialed", 600);
    links.write(link, payload(1));
    links.write(link, payload(2));
    expect(sent).toEqual([]);
    expect(timers.next()).toBe(600);
    expect(releasedBy(599)).toEqual([]);
    expect(releasedBy(600)).toEqual([link]);
    expect(sent.map((output) => output.type === "send" && output.bytes)).toEqual([payload(1), payload(2)]);
    links.write(link, payload(3));
    expect(sent).toHaveLength(3);
  });

  test("lets go once", () => {
    const { links, sent, timers, releasedBy } = start();
    const link = links.add(peer, "out:1", "dialed", 600);
    links.write(link, payload(1));
    releasedBy(600);
    expect(releasedBy(1_000)).toEqual([]);
    expect(timers.next()).toBeUndefined();
    expect(link.held).toEqual([]);
    expect(sent).toHaveLength(1);
  });

  test("says when its pause is over also when it holds nothing", () => {
    const { links, sent, releasedBy } = start();
    const link = links.add(peer, "out:1", "dialed", 600);
    expect(releasedBy(600)).toEqual([link]);
    expect(sent).toEqual([]);
  });

  test("is told one at a time, the earliest first", () => {
    const { links, releasedBy } = start();
    const late = links.add(peer, "out:1", "dialed", 700);
    const early = links.add(other, "out:2", "dialed", 600);
    expect(releasedBy(700)).toEqual([early, late]);
  });

  test("says nothing any more on a connection that is gone", () => {
    const { links, sent, timers, releasedBy } = start();
    const link = links.add(peer, "out:1", "dialed", 600);
    links.write(link, payload(1));
    links.remove(link);
    expect(timers.next()).toBeUndefined();
    expect(releasedBy(600)).toEqual([]);
    expect(sent).toEqual([]);
  });
});
