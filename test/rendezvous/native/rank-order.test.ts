import { describe, expect, test } from "vitest";
import type { Address } from "../../../src/protocol/address.js";
import { Play, type Player } from "../play.js";

/** A copy of a gang asks to be let in. */
function copy(play: Play, rank: unknown, port: number): Player {
  return play.native(`127.0.0.1:${port}`).register({ meta: { rank } });
}

function addresses(...players: readonly Player[]): Address[] {
  return players.map(({ address }) => address);
}

describe("a gang", () => {
  test("is admitted in the order of the ranks, whoever comes first", () => {
    const play = new Play({ gangSize: 4 });
    const third = copy(play, 2, 14_003);
    const fourth = copy(play, 3, 14_004);
    const second = copy(play, 1, 14_002);
    expect(play.machine.members).toEqual([]);
    expect(third.end.all("waiting")).not.toEqual([]);
    const first = copy(play, 0, 14_001);
    play.settle();
    expect(play.machine.members).toEqual(addresses(first, second, third, fourth));
    expect([first, second, third, fourth].map(({ order }) => order)).toEqual([1, 2, 3, 4]);
  });

  test("takes a copy that was restarted when its former incarnation is gone, and behind all others", () => {
    const play = new Play({ gangSize: 3 });
    const [first, second, third] = [0, 1, 2].map((rank) => copy(play, rank, 14_001 + rank)) as [Player, Player, Player];
    const again = copy(play, 1, 15_001);
    expect(play.machine.members).toEqual(addresses(first, second, third));
    second.die();
    play.pass(2_000);
    expect(play.eventsOf("lost")).toMatchObject([{ address: second.address }]);
    expect(play.machine.members).toEqual(addresses(first, third, again));
  });

  test("takes a copy that was restarted at the same address in one step", () => {
    const play = new Play({ gangSize: 2 });
    const [first, second] = [0, 1].map((rank) => copy(play, rank, 14_001 + rank)) as [Player, Player];
    const again = copy(play, 1, 14_002);
    play.settle();
    expect(play.machine.members).toEqual(addresses(first, again));
    expect(play.eventsOf("joined").at(-1)).toMatchObject({ replaces: second.id });
  });

  test("never gives a rank to two, not even by way of an address that another rank has had", () => {
    const play = new Play({ gangSize: 3 });
    const [first, second, third] = [0, 1, 2].map((rank) => copy(play, rank, 14_001 + rank)) as [Player, Player, Player];
    const impostor = copy(play, 1, 14_003);
    expect(impostor.end.last("refuse")).toMatchObject({ code: "ADDRESS_IN_USE" });
    expect(play.machine.members).toEqual(addresses(first, second, third));
  });

  test("goes on when the copy that is next in turn has gone before it was admitted", () => {
    const play = new Play({ gangSize: 3 });
    const third = copy(play, 2, 14_003);
    const second = copy(play, 1, 14_002);
    second.leave();
    const first = copy(play, 0, 14_001);
    expect(play.machine.members).toEqual(addresses(first));
    const again = copy(play, 1, 15_002);
    play.settle();
    expect(play.machine.members).toEqual(addresses(first, again, third));
  });

  test("sets no timer while somebody waits for a copy that is slow to come", () => {
    const play = new Play({ gangSize: 3 });
    const first = copy(play, 0, 14_001);
    copy(play, 2, 14_003);
    for (let passed = 0; passed < 60_000; passed += 1_000) {
      play.pass(1_000);
      first.linked();
    }
    expect(play.machine.members).toEqual(addresses(first));
  });

  test.each([[undefined], [4], [-1], [1.5], ["1"]])("refuses somebody with the rank %s", (rank) => {
    const play = new Play({ gangSize: 4 });
    const stranger = copy(play, rank, 14_001);
    expect(stranger.end.last("refuse")).toMatchObject({ code: "BAD_RANK" });
  });

  test("refuses a classic member, which cannot give a rank", () => {
    const play = new Play({ gangSize: 2 });
    const caller = play.call();
    caller.send("127.0.0.1:14001");
    play.pass(play.limits.quietMs);
    expect(caller.state).not.toBe("open");
    expect(play.machine.members).toEqual([]);
  });
});
