import { describe, expect, test } from "vitest";
import { encodeControl } from "../../../src/protocol/native/control.js";
import { Play, type Player } from "../play.js";

/** A revision as a real server has it. */
const firstRevision = 1_795_408_250_368_000;

/** The mean of the entries of a play, each as it is encoded when it travels alone. Members have neither names nor metadata. */
function meanEntryBytes(players: readonly Player[]): number {
  const sizes = players.map(({ id, address }, index) => {
    const revision = firstRevision + index + 1;
    const entry = { type: "joined", revision, id, order: revision, address, dialect: "native" } as const;
    return encodeControl({ type: "entries", entries: [entry] }).length;
  });
  return sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
}

function wireUp(count: number, capacity: number, gapMs: number): { readonly sent: number; readonly budget: number } {
  const play = new Play({ capacity, firstRevision });
  const players: Player[] = [];
  const pong = Uint8Array.of(0, 0, 0, 0, 5);
  for (let index = 0; index < count; index += 1) {
    const player = play.native(`127.0.0.1:${14_001 + index}`).register();
    players.push(player);
    if (gapMs === 0) continue;
    play.pass(gapMs);
    // Each new link is reported by both of its ends, and nobody is silent.
    player.linked(...players.slice(0, -1).map((other) => [other, 1] as const));
    for (const other of players.slice(0, -1)) other.linked([player, 1]);
  }
  play.settle();
  if (gapMs === 0) {
    for (const player of players) {
      player.linked(...players.filter((other) => other !== player).map((other) => [other, 1] as const));
    }
  }
  play.pass(play.limits.completeGapMinMs);
  for (const { caller } of players) caller.send(pong);
  expect(players.every(({ order }) => order > 0)).toBe(true);
  expect(play.eventsOf("complete").at(-1)).toMatchObject({ members: count, links: (count * (count - 1)) / 2 });
  return { sent: play.sentBytes, budget: 1.2 * count * count * meanEntryBytes(players) };
}

const sizes = [10, 16, 32, 64, 128];

describe("the bytes of a wire-up stay within 1.2 times the square of the members, in mean entries", () => {
  test.each(sizes)("%i members in a burst, with a capacity: directories, updates, complete, teardown", (count) => {
    const { sent, budget } = wireUp(count, count, 0);
    expect(sent).toBeLessThanOrEqual(budget);
  });

  test.each(sizes)("%i members in a burst, without a capacity", (count) => {
    const { sent, budget } = wireUp(count, Number.POSITIVE_INFINITY, 0);
    expect(sent).toBeLessThanOrEqual(budget);
  });

  test.each(sizes)("%i members one by one, with a capacity", (count) => {
    const { sent, budget } = wireUp(count, count, 20);
    expect(sent).toBeLessThanOrEqual(budget);
  });

  test.each(sizes)("%i members one by one, without a capacity", (count) => {
    const { sent, budget } = wireUp(count, Number.POSITIVE_INFINITY, 20);
    expect(sent).toBeLessThanOrEqual(budget);
  });
});

describe("a classic reader among native members", () => {
  test("is told whole lists, and the native ones no more than without it", () => {
    const native = (withClassic: boolean): number => {
      const play = new Play({ firstRevision });
      if (withClassic) play.call().send("127.0.0.1:13999");
      const before = play.sentBytes;
      const players = Array.from({ length: 32 }, (_, index) => play.native(`127.0.0.1:${14_001 + index}`).register());
      play.settle();
      expect(players.every(({ order }) => order > 0)).toBe(true);
      const classic = [...play.callers.values()].filter(({ end }) => end.prefaces.length === 0);
      const lists = classic.flatMap(({ sent }) => sent).reduce((sum, bytes) => sum + bytes.length, 0);
      return play.sentBytes - before - lists;
    };
    // One more member in each of 32 directories.
    expect(native(true) - native(false)).toBeLessThan(32 * 160);
  });
});
