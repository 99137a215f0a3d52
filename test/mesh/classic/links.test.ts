import { describe, expect, test } from "vitest";
import type { ConnectionOutput } from "../../../src/core/connections.js";
import { ClassicLinks } from "../../../src/mesh/classic/links.js";
import type { Address } from "../../../src/protocol/address.js";

const peer: Address = "10.0.0.1:1";
const other: Address = "10.0.0.2:1";

function start(): { links: ClassicLinks; sent: ConnectionOutput[] } {
  const sent: ConnectionOutput[] = [];
  return {
    links: new ClassicLinks({ send: (connection, bytes) => void sent.push({ type: "send", connection, bytes }) }),
    sent,
  };
}

function payload(number: number): Uint8Array {
  return Uint8Array.of(number);
}

describe("a link", () => {
  test("takes payload from the beginning when nothing is to be held", () => {
    const { links, sent } = start();
    const link = links.add(peer, "in:1", "accepted");
    links.write(link, payload(1));
    expect(sent).toEqual([{ type: "send", connection: "in:1", bytes: payload(1) }]);
    expect(links.nextTimeout()).toBeUndefined();
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
    const { links, sent } = start();
    const link = links.add(peer, "out:1", "dialed", 600);
    links.write(link, payload(1));
    links.write(link, payload(2));
    expect(sent).toEqual([]);
    expect(links.nextTimeout()).toBe(600);
    expect(links.takeDue(599)).toBeUndefined();
    expect(links.takeDue(600)).toBe(link);
    expect(sent.map((output) => output.type === "send" && output.bytes)).toEqual([payload(1), payload(2)]);
    links.write(link, payload(3));
    expect(sent).toHaveLength(3);
  });

  test("lets go once", () => {
    const { links, sent } = start();
    const link = links.add(peer, "out:1", "dialed", 600);
    links.write(link, payload(1));
    links.takeDue(600);
    expect(links.takeDue(1_000)).toBeUndefined();
    expect(links.nextTimeout()).toBeUndefined();
    expect(link.held).toEqual([]);
    expect(sent).toHaveLength(1);
  });

  test("says when its pause is over also when it holds nothing", () => {
    const { links, sent } = start();
    const link = links.add(peer, "out:1", "dialed", 600);
    expect(links.takeDue(600)).toBe(link);
    expect(sent).toEqual([]);
  });

  test("is told one at a time, the earliest first", () => {
    const { links } = start();
    const late = links.add(peer, "out:1", "dialed", 700);
    const early = links.add(other, "out:2", "dialed", 600);
    expect([links.takeDue(700), links.takeDue(700), links.takeDue(700)]).toEqual([early, late, undefined]);
  });

  test("says nothing any more on a connection that is gone", () => {
    const { links, sent } = start();
    const link = links.add(peer, "out:1", "dialed", 600);
    links.write(link, payload(1));
    links.remove(link);
    expect(links.nextTimeout()).toBeUndefined();
    expect(links.takeDue(600)).toBeUndefined();
    expect(sent).toEqual([]);
  });
});
