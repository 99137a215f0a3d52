import { describe, expect, it } from "vitest";
import type { Member } from "../../../src/protocol/directory.js";
import { ping } from "../../../src/protocol/native/frames.js";
import { Play, type Player } from "../play.js";

const firstRevision = 1_732_324_320_000_000;
const oldLog = "f".repeat(32);

/** Members of a log that this server does not have, at consecutive ports; none of them has come back yet. */
function membersOfOldLog(play: Play, count: number): Player[] {
  return Array.from({ length: count }, (_, index) => {
    const player = play.native(`127.0.0.1:${15_001 + index}`);
    player.lastOrder = firstRevision - 1_000 + index;
    return player;
  });
}

function comeBack(player: Player, known: readonly Player[], gone: readonly Player[] = []): void {
  const members = known.filter((other) => other !== player).map(({ row }) => row);
  player.known = [{ members, gone: gone.map(({ id }) => id) }];
  player.resume(firstRevision - 1, oldLog);
  player.play.settle();
}

/** A lease passes, in which nobody is silent. */
function passLease(players: readonly Player[]): void {
  const { play } = players[0] as Player;
  for (const until = play.now + play.limits.leaseMs; play.now < until; ) {
    play.pass(play.limits.probeMs);
    for (const { caller } of players) caller.send(ping);
  }
}

function ordersOf(play: Play): number[] {
  return play.eventsOf("joined").map(({ order }) => order);
}

describe("who comes back from another log", () => {
  it("removes nobody by calling everybody else gone, and is lost itself a lease later", () => {
    const play = new Play({ firstRevision });
    const [liar, ...honest] = membersOfOldLog(play, 4) as [Player, ...Player[]];
    comeBack(liar, [], honest);
    for (const player of honest) comeBack(player, [liar, ...honest]);
    expect(ordersOf(play)).toHaveLength(4);
    passLease([liar, ...honest]);
    expect(play.eventsOf("lost").map(({ id }) => id)).toEqual([liar.id]);
  });

  it("is refused with LOCAL_MIX if it names a member on a local socket of a mesh over TCP", () => {
    const play = new Play({ firstRevision });
    const [liar] = membersOfOldLog(play, 1) as [Player];
    const madeUp: Member = { id: play.id(), order: 1, address: "unix:/run/docker.sock", dialect: "native" };
    liar.known = [{ members: [madeUp], gone: [] }];
    liar.resume(firstRevision - 1, oldLog);
    play.settle();
    expect(liar.end.last("refuse")).toMatchObject({ code: "LOCAL_MIX" });
    expect(play.dials.map(({ to }) => to)).toEqual([liar.address]);
  });

  it("keeps places with made-up ids for one lease, and neither lists them nor has them dialed", () => {
    const play = new Play({ firstRevision, capacity: 5, onFull: "hold", limits: { membersPerMesh: 6 } });
    const [liar] = membersOfOldLog(play, 1) as [Player];
    const madeUp = Array.from({ length: 9 }, (_, index): Member => {
      return { id: play.id(), order: index + 1, address: `10.9.9.9:${100 + index}`, dialect: "native" };
    });
    liar.known = [{ members: madeUp, gone: [] }];
    liar.resume(firstRevision - 1, oldLog);
    play.settle();
    const newcomer = play.native("127.0.0.1:16001").register();
    play.settle();
    expect(newcomer.end.last("admitted")).toBeUndefined();
    passLease([liar, newcomer]);
    expect(newcomer.end.last("admitted")).toBeDefined();
    const directories = newcomer.end.all("directory");
    const listed = directories.flatMap(({ members }) => members.map(({ address }) => address));
    expect(listed).toEqual([liar.address, newcomer.address]);
    // As many as any mesh may have were expected; whoever holds one of them still is told.
    expect(directories.flatMap(({ gone = [] }) => gone)).toEqual(madeUp.slice(0, 6).map(({ id }) => id));
    expect(play.dials.filter(({ to }) => to.startsWith("10."))).toEqual([]);
  });

  it("says no more than one member may, together with others, and the excess is in the log once", () => {
    const play = new Play({ firstRevision, limits: { directoryMembers: 10, membersPerMesh: 5 } });
    const [honest, ...liars] = membersOfOldLog(play, 4) as [Player, Player, Player, Player];
    comeBack(honest, []);
    const { size } = play.machine;
    for (const liar of liars) {
      const gone = Array.from({ length: 6 }, () => play.id());
      liar.known = [{ members: [], gone, more: true }];
      liar.resume(firstRevision - 1, oldLog);
      play.settle();
      expect(play.notes).toEqual(liar === liars[0] ? [] : ["KNOWN_IGNORED"]);
    }
    // What those had said who break off is not kept, although the mesh is.
    for (const liar of liars) liar.die();
    passLease([honest]);
    expect([play.machine.members, play.machine.size]).toEqual([[honest.address], size]);
  });

  it("names no more ids at the address of a member, together with others, than a mesh may have members", () => {
    const play = new Play({ firstRevision, limits: { membersPerMesh: 5 } });
    const [honest, ...liars] = membersOfOldLog(play, 3) as [Player, Player, Player];
    comeBack(honest, []);
    for (const liar of liars) {
      const members = Array.from({ length: 5 }, (_, index): Member => {
        return { id: play.id(), order: index + 1, address: honest.address, dialect: "native" };
      });
      liar.known = [{ members, gone: [] }];
      liar.resume(firstRevision - 1, oldLog);
      play.settle();
      expect(play.notes).toEqual(liar === liars[0] ? [] : ["KNOWN_IGNORED"]);
    }
  });

  it("cannot use up revisions: its claims are bounded, and so is how far they move the log", () => {
    const play = new Play({ firstRevision });
    const [honest, liar] = membersOfOldLog(play, 2) as [Player, Player];
    comeBack(honest, []);
    const most = 2 ** 53 - 2 ** 32;
    const refused = play.native("127.0.0.1:16001").resume(0, oldLog, { highest: most + 1 });
    expect(refused.end.last("refuse")?.code).toBe("BAD_FRAME");
    liar.known = [{ members: [], gone: [] }];
    liar.resume(0, oldLog, { order: most, highest: most });
    play.settle();
    const newcomer = play.native("127.0.0.1:16002").register();
    play.settle();
    expect(newcomer.order).toBe(firstRevision + 2 ** 50 + 2);
    // A place behind everybody is all that a high order gives.
    expect(newcomer.end.last("directory")?.members.at(-1)?.id).toBe(liar.id);
  });

  it("gives nobody else's order: what others say of a member does not count", () => {
    const play = new Play({ firstRevision });
    const [liar, honest] = membersOfOldLog(play, 2) as [Player, Player];
    liar.known = [{ members: [{ ...honest.row, order: 7, address: "10.9.9.9:1" }], gone: [] }];
    liar.resume(firstRevision - 1, oldLog);
    play.settle();
    comeBack(honest, [liar]);
    expect(play.eventsOf("joined").map(({ address, order }) => [address, order])).toEqual([
      [liar.address, liar.lastOrder],
      [honest.address, honest.lastOrder],
    ]);
  });
});
