import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import type { Address } from "../../../src/protocol/address.js";
import { greatestClaim, type Id, type Member } from "../../../src/protocol/directory.js";
import { pong } from "../../../src/protocol/native/frames.js";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

const oldLog = "a".repeat(32);

/** An id that no server has drawn. */
function made(index: number): Id {
  return `e${index.toString(16).padStart(31, "0")}`;
}

/** Members of a log that this server does not have, who know one another. None of them has come back yet. */
function formerMembers(play: Play, count: number, firstPort = 14_001, mesh = "default"): Player[] {
  const players = Array.from({ length: count }, (_, index) => {
    const player = play.native(`127.0.0.1:${firstPort + index}`, mesh);
    player.caller.close();
    player.lastOrder = index + 1;
    return player;
  });
  for (const player of players) names(player, players);
  return players;
}

/** What it will say when it comes back: that it knows these members, and that these ids have ended. */
function names(player: Player, members: readonly Player[], gone: readonly Id[] = []): Player {
  const rows = members.filter((other) => other !== player).map(({ row }) => row);
  player.known = [{ members: rows, gone: [...gone] }];
  return player;
}

function back(player: Player, highest = 10): Player {
  player.resume(9, oldLog, { highest });
  player.play.settle();
  return player;
}

function member(id: Id, address: Address, order = 1): Member {
  return { id, order, address, dialect: "native" };
}

/** So many members that nobody has ever met. */
function strangers(count: number, first = 0): Member[] {
  return Array.from({ length: count }, (_, index) => member(made(first + index), `10.1.1.1:${first + index + 1}`));
}

function lostIn(play: Play): (readonly [Id, string])[] {
  return play.eventsOf("lost").map(({ id, reason }) => [id, reason]);
}

/** Time passes in which these members are heard. */
function passAwake(play: Play, awake: readonly Player[], ms: number): void {
  for (let passed = 0; passed < ms; passed += 1_000) {
    play.pass(Math.min(1_000, ms - passed));
    for (const player of awake) player.caller.send(pong);
  }
}

describe("a member of a log that this server does not have", () => {
  test("is let in with the order that it had, and everybody is told that it has returned", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(b);
    back(a);
    expect([a.order, b.order]).toEqual([1, 2]);
    expect(play.machine.members).toEqual([a.address, b.address]);
    expect(play.eventsOf("joined").map(({ id, order, returned }) => [id, order, returned])).toEqual([
      [b.id, 2, true],
      [a.id, 1, true],
    ]);
    linkAll([a, b]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2, links: 1 }]);
  });

  test("counts for nothing before its list has been read to the end", () => {
    const play = new Play();
    const [a, b, c] = formerMembers(play, 3) as [Player, Player, Player];
    a.known = [{ members: [b.row], gone: [], more: true }];
    back(a);
    expect(play.machine.members).toEqual([]);
    a.caller.say({ type: "known", members: [c.row], gone: [] });
    play.settle();
    expect(play.machine.members).toEqual([a.address]);
    back(b);
    linkAll([a, b]);
    // It still waits for the one that the last part has named.
    expect(play.eventsOf("complete")).toEqual([]);
    back(c);
    linkAll([a, b, c]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 3 }]);
  });

  test("is refused for the moment if it does not say in time whom it knows", () => {
    const play = new Play();
    const [a] = formerMembers(play, 1) as [Player];
    a.known = undefined;
    back(a);
    passAwake(play, [a], play.limits.handshakeMs);
    expect(a.end.last("refuse")).toMatchObject({ code: "HANDSHAKE_TIMEOUT" });
    a.known = [{ members: [], gone: [] }];
    back(a);
    expect(play.machine.members).toEqual([a.address]);
  });

  test("has to join anew once the log has grown old and nobody has named it", () => {
    const play = new Play();
    const [stranger] = formerMembers(play, 1) as [Player];
    const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
    passAwake(play, [newcomer], play.limits.leaseMs - play.now - 1);
    nativeMembers(play, 1, "default", 15_002);
    passAwake(play, [newcomer], 1);
    back(stranger);
    expect(stranger.end.last("refuse")).toMatchObject({ code: "FENCED" });
  });

  test("is let in whatever the capacity, and beside members of the other kind of address", () => {
    const play = new Play({ capacity: 2, onFull: "hold" });
    const newcomers = nativeMembers(play, 2, "default", 15_001);
    const former = formerMembers(play, 2);
    for (const player of former) back(player);
    expect(play.machine.members).toHaveLength(newcomers.length + former.length);
    const far = play.native("10.0.0.9:7000");
    far.caller.close();
    far.lastOrder = 3;
    back(far);
    expect(far.end.last("admitted")).toMatchObject({ order: 3 });
  });

  test("who breaks off in the middle of its list is no member, and holds nothing up", () => {
    const play = new Play();
    const [a] = formerMembers(play, 3) as [Player];
    const [b, c] = nativeMembers(play, 2, "default", 15_001) as [Player, Player];
    a.known = [{ members: [member(made(1), "127.0.0.1:16001")], gone: [b.id], more: true }];
    back(a);
    linkAll([b, c]);
    expect(play.eventsOf("complete")).toEqual([]);
    a.caller.close("ECONNRESET");
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2 }]);
    passAwake(play, [b, c], 2 * play.limits.leaseMs);
    expect(lostIn(play)).toEqual([]);
  });

  test("is told to come again while another session is let in with its id", () => {
    const play = new Play();
    const [a] = formerMembers(play, 1) as [Player];
    play.isLogSlow = true;
    back(a);
    const first = a.caller;
    back(a);
    expect(a.end.last("refuse")).toMatchObject({ code: "STORE_UNAVAILABLE", retryMs: play.limits.logRetryMs });
    expect(first.state).toBe("open");
    play.answer();
    play.settle();
    expect(play.machine.members).toEqual([a.address]);
    expect(first.end.last("admitted")).toMatchObject({ order: 1 });
  });

  test("cannot take the id of a member of this log for an address of its own", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    const thief = play.native("127.0.0.1:16001");
    thief.id = a.id;
    back(thief);
    expect(thief.end.last("refuse")).toMatchObject({ code: "FENCED" });
    expect(play.machine.members).toEqual([a.address, b.address]);
    expect(a.caller.state).toBe("open");
  });

  test("is expected again if the log rejects it, and is let in when it comes again", () => {
    const play = new Play();
    const [a] = formerMembers(play, 1) as [Player];
    play.isLogSlow = true;
    back(a);
    expect(play.appends).toMatchObject([{ change: { type: "joined", id: a.id, order: 1 } }]);
    play.reject("unavailable");
    expect(a.end.last("refuse")).toMatchObject({ code: "STORE_UNAVAILABLE" });
    play.isLogSlow = false;
    const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
    expect(play.eventsOf("complete")).toEqual([]);
    back(a);
    expect(a.order).toBe(1);
    linkAll([a, newcomer]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2 }]);
  });

  test("whose append was rejected is lost if it does not come again within a lease", () => {
    const play = new Play();
    const [a] = formerMembers(play, 1) as [Player];
    const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
    play.isLogSlow = true;
    back(a);
    play.reject("conflict");
    play.isLogSlow = false;
    passAwake(play, [newcomer], play.limits.leaseMs + play.limits.logRetryMs);
    expect(lostIn(play)).toEqual([[a.id, "not back within 20 s"]]);
  });
});

describe("revisions", () => {
  test("G5: go on above all that a returned member has read, so that newcomers come last", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(a, 500);
    const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
    back(b, 700);
    const [last] = nativeMembers(play, 1, "default", 15_002) as [Player];
    expect(newcomer.order).toBeGreaterThan(500);
    expect(last.order).toBeGreaterThan(Math.max(700, newcomer.order));
    expect(play.machine.members).toEqual([a, b, newcomer, last].map(({ address }) => address));
  });

  test("stay numbers that JSON keeps, whatever is claimed, and nobody is shut out", () => {
    const play = new Play();
    const [a] = formerMembers(play, 1) as [Player];
    a.lastOrder = greatestClaim;
    back(a, greatestClaim);
    expect(a.order).toBe(greatestClaim);
    const newcomers = nativeMembers(play, 3, "default", 15_001);
    expect(newcomers.map(({ order }) => Number.isSafeInteger(order) && order > 2 ** 49)).toEqual([true, true, true]);
    linkAll([a, ...newcomers]);
    expect(play.eventsOf("complete").at(-1)).toMatchObject({ members: 4, links: 6 });
  });

  test.each([
    ["order", { order: greatestClaim + 1 }],
    ["highest revision", { highest: greatestClaim + 1 }],
    ["highest revision", { highest: Number.MAX_SAFE_INTEGER }],
  ])("beyond the greatest claim are refused as an %s: %o", (_, more) => {
    const play = new Play();
    const [a] = formerMembers(play, 1) as [Player];
    a.resume(9, oldLog, more);
    expect(a.end.last("refuse")).toMatchObject({ code: "BAD_FRAME" });
  });

  test("the same order of several members leaves them in the order of their ids", () => {
    const play = new Play();
    const former = formerMembers(play, 3);
    for (const player of former) player.lastOrder = 1;
    for (const player of former.toReversed()) back(player);
    const byId = former.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    expect(play.machine.members).toEqual(byId.map(({ address }) => address));
    linkAll(former);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 3 }]);
  });
});

describe("whoever others have named", () => {
  test("G1: bars the completeness of the mesh until it is back", () => {
    const play = new Play();
    const [a, b, c] = formerMembers(play, 3) as [Player, Player, Player];
    back(a);
    back(b);
    linkAll([a, b]);
    expect(play.eventsOf("complete")).toEqual([]);
    back(c);
    linkAll([a, b, c]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 3 }]);
  });

  test("G2: so does a list that is not read to its end", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    names(a, []);
    b.known = undefined;
    back(a);
    back(b);
    const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
    linkAll([a, newcomer]);
    expect(play.eventsOf("complete")).toEqual([]);
    b.caller.say({ type: "known", members: [], gone: [] });
    play.settle();
    linkAll([a, b, newcomer]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 3 }]);
  });

  test("G7: so does a returned member whose session is broken, whatever it has reported", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(a);
    back(b);
    a.linked([b, 1]);
    play.listen(a.address, () => {});
    a.caller.close("ECONNRESET");
    b.linked([a, 1]);
    expect(play.eventsOf("complete")).toEqual([]);
  });

  test("is not shown to anybody before it is back", () => {
    const play = new Play();
    const [a] = formerMembers(play, 1) as [Player];
    a.known = [{ members: [member(made(1), "10.9.9.9:22")], gone: [] }];
    back(a);
    const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
    const told = newcomer.end.all("directory").flatMap(({ members }) => members.map(({ id }) => id));
    expect(told.toSorted()).toEqual([a.id, newcomer.id].toSorted());
    expect(play.dials.map(({ to }) => to)).not.toContain("10.9.9.9:22");
  });

  test("is lost after a lease, by an entry, though the log has never listed it", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(a);
    passAwake(play, [a], play.limits.leaseMs - 1_000);
    expect(lostIn(play)).toEqual([]);
    passAwake(play, [a], 1_000);
    play.settle();
    expect(lostIn(play)).toEqual([[b.id, "not back within 20 s"]]);
    expect(a.end.all("entries").flatMap(({ entries }) => entries)).toContainEqual(
      expect.objectContaining({ type: "lost", id: b.id }),
    );
    back(b);
    expect(b.end.last("refuse")).toMatchObject({ code: "FENCED" });
    // Whoever reads a whole directory is told so too.
    const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
    expect(newcomer.end.all("directory").flatMap(({ gone = [] }) => gone)).toEqual([b.id]);
  });

  test("is kept after its lease while a member reports a link with it, and may come back late", () => {
    const play = new Play();
    const [a, b, c] = formerMembers(play, 3) as [Player, Player, Player];
    back(a);
    a.linked([b, 1], [c, 1]);
    passAwake(play, [a], 2 * play.limits.leaseMs);
    expect(lostIn(play)).toEqual([]);
    back(b);
    expect(b.order).toBe(2);
    a.unlinked(c, "broken", "ECONNRESET");
    expect(lostIn(play)).toEqual([[c.id, "not back within 20 s"]]);
  });

  test("holds a slot for a lease, and no longer", () => {
    const play = new Play({ capacity: 3, onFull: "hold" });
    const [a] = formerMembers(play, 3) as [Player];
    back(a);
    const newcomers = [15_001, 15_002].map((port) => play.native(`127.0.0.1:${port}`).register()) as [Player, Player];
    play.settle();
    expect(newcomers.map(({ end }) => end.last("waiting")?.place)).toEqual([1, 2]);
    passAwake(play, [a, ...newcomers], play.limits.leaseMs);
    play.settle();
    expect(newcomers.map(({ order }) => order > 0)).toEqual([true, true]);
  });

  test("is expected beyond the capacity, which a mesh exceeds whose members were let in again", () => {
    const play = new Play({ capacity: 2, onFull: "hold" });
    const [a, b, c, d] = formerMembers(play, 4) as [Player, Player, Player, Player];
    for (const player of [a, b, c]) back(player);
    passAwake(play, [a, b, c], play.limits.leaseMs + play.limits.updateGapMs);
    expect(lostIn(play).map(([id]) => id)).toEqual([d.id]);
  });

  // Whoever was let in may not have read it: its connection was held up, and it still has the log before.
  test("and was back and is gone again is named to a member that has not read of its return", () => {
    const play = new Play();
    const [a, b, c] = formerMembers(play, 3) as [Player, Player, Player];
    for (const player of [a, b, c]) back(player);
    b.leave();
    play.settle();
    play.listen(c.address, undefined);
    c.caller.close("ECONNRESET");
    play.pass(play.limits.recheckMs);
    play.settle();
    expect(play.machine.members).toEqual([a.address]);
    back(a);
    const parts = a.end.all("directory");
    expect(parts.flatMap(({ members }) => members.map(({ id }) => id))).toEqual([a.id]);
    expect(parts.flatMap(({ gone = [] }) => gone)).toEqual([b.id, c.id]);
  });

  test("keeps its address from nobody who proves it, and is replaced then", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(a);
    const heir = play.native(b.address).register();
    play.settle();
    expect(heir.order).toBeGreaterThan(0);
    expect(a.end.all("entries").flatMap(({ entries }) => entries)).toContainEqual(
      expect.objectContaining({ type: "replaced", replaces: b.id, id: heir.id }),
    );
    passAwake(play, [a, heir], 2 * play.limits.leaseMs);
    expect(lostIn(play)).toEqual([]);
    back(b);
    expect(b.end.last("refuse")).toMatchObject({ code: "FENCED" });
  });

  test("keeps its address from nobody in another mesh either", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(a);
    const heir = play.native(b.address, "jobs").register();
    play.settle();
    expect(play.machine.membersOf("jobs")).toEqual([heir.address]);
    expect(lostIn(play)).toEqual([[b.id, 'its address belongs to a member of "jobs" now']]);
  });

  test("comes back at its own address, and the one that others have given is free", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    a.known = [{ members: [{ ...b.row, address: "127.0.0.1:16001" }], gone: [] }];
    back(a);
    back(b);
    expect(play.machine.members).toEqual([a.address, b.address]);
    const other = play.native("127.0.0.1:16001").register();
    play.settle();
    expect(other.end.last("refuse")).toBeUndefined();
    expect(other.order).toBeGreaterThan(0);
  });

  test("is named in a first list only: what a member says when it comes again counts for nothing", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(a);
    back(b);
    linkAll([a, b]);
    const { log = "" } = a.end.last("admitted") ?? {};
    a.caller.close("ECONNRESET");
    a.known = [{ members: [member(made(1), "127.0.0.1:16001")], gone: [b.id] }];
    a.resume(play.machine.revision, log);
    play.settle();
    passAwake(play, [a, b], 2 * play.limits.leaseMs);
    expect(lostIn(play)).toEqual([]);
    expect(play.machine.members).toEqual([a.address, b.address]);
  });

  test("are no more than a mesh may have members, and all are gone after a lease", () => {
    const play = new Play({ limits: { membersPerMesh: 10 } });
    const [a] = formerMembers(play, 1) as [Player];
    a.known = [
      { members: Array.from({ length: 100 }, (_, index) => member(made(index), `10.1.1.1:${index + 1}`)), gone: [] },
    ];
    back(a);
    passAwake(play, [a], play.limits.leaseMs);
    expect(lostIn(play)).toHaveLength(10);
    expect(play.machine.members).toEqual([a.address]);
    expect(play.dials.map(({ to }) => to)).toEqual([a.address]);
  });

  test("are no more than a mesh may have members, whoever has named them", () => {
    const play = new Play({ limits: { membersPerMesh: 10 } });
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    for (const [player, from] of [
      [a, 0],
      [b, 8],
    ] as const) {
      const rows = Array.from({ length: 8 }, (_, index) => member(made(from + index), `10.1.1.1:${from + index + 1}`));
      player.known = [{ members: rows, gone: [] }];
      back(player);
    }
    passAwake(play, [a, b], play.limits.leaseMs);
    expect(lostIn(play)).toHaveLength(10);
  });

  test("is nobody whose address has been proved in this log", () => {
    const play = new Play();
    const [a] = formerMembers(play, 1) as [Player];
    const [newcomer] = nativeMembers(play, 1, "default", 16_001) as [Player];
    a.known = [{ members: [member(made(1), newcomer.address)], gone: [] }];
    back(a);
    linkAll([a, newcomer]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2, links: 1 }]);
  });

  test("is nobody whom this log has removed", () => {
    const play = new Play();
    const [a, b, c] = formerMembers(play, 3) as [Player, Player, Player];
    const [newcomer] = nativeMembers(play, 1, "default", 16_001) as [Player];
    names(a, [c]);
    back(a);
    a.linked([c, 1]);
    back(names(b, []));
    b.leave();
    play.settle();
    linkAll([a, newcomer]);
    passAwake(play, [a, newcomer], play.limits.leaseMs);
    expect(play.eventsOf("complete")).toEqual([]);
    back(names(c, [a, b]));
    linkAll([a, newcomer, c]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 3 }]);
  });

  test("are not more than a directory may hold, however many parts the list has", () => {
    const play = new Play({ limits: { directoryMembers: 5 } });
    const [a] = formerMembers(play, 1) as [Player];
    a.known = [0, 1, 2].map((part) => ({
      members: [0, 1].map((index) => member(made(2 * part + index), `10.1.1.1:${2 * part + index + 1}`)),
      gone: [],
      more: true as const,
    }));
    back(a);
    expect(a.end.last("refuse")).toMatchObject({ code: "BAD_FRAME" });
    expect(play.machine.members).toEqual([]);
  });

  test("are not more in all that is being read at once: whoever comes behind is told to come again", () => {
    const play = new Play({ limits: { directoryMembers: 3 } });
    const [liar, b, c] = formerMembers(play, 3) as [Player, Player, Player];
    liar.known = [{ members: strangers(3), gone: [], more: true }];
    back(liar);
    back(names(b, [c], []));
    expect(b.end.last("refuse")).toMatchObject({ code: "BUSY", retryMs: expect.any(Number) });
    liar.caller.close();
    play.settle();
    back(b);
    expect(play.machine.members).toEqual([b.address]);
  });

  test("of which nobody else knows are so few of each member that one alone keeps nobody waiting", () => {
    const play = new Play({ limits: { directoryMembers: 8, membersPerMesh: 4 } });
    const [liar, b, c, d] = formerMembers(play, 4) as [Player, Player, Player, Player];
    liar.known = [{ members: strangers(8), gone: [], more: true }];
    back(liar);
    for (const player of [b, c, d]) back(names(player, [b, c, d]));
    expect(play.machine.members).toEqual([b.address, c.address, d.address]);
  });

  test("take no room any more once whoever has named them has broken off, while others are read", () => {
    const play = new Play({ limits: { directoryMembers: 4, membersPerMesh: 3 } });
    const [slow, liar, b, c] = formerMembers(play, 4) as [Player, Player, Player, Player];
    slow.known = [{ members: [b.row], gone: [], more: true }];
    back(slow);
    for (let times = 0; times < 3; times += 1) {
      liar.known = [{ members: strangers(3, 3 * times), gone: [], more: true }];
      back(liar);
      expect(liar.end.all("refuse")).toEqual([]);
      liar.caller.close("ECONNRESET");
    }
    back(names(c, [b, liar], []));
    expect(play.machine.members).toEqual([c.address]);
  });

  test("are taken from each list as it names them, whatever another list has said of the same ids", () => {
    const play = new Play();
    const [liar, b] = formerMembers(play, 2) as [Player, Player];
    liar.known = [{ members: [member(made(1), "127.0.0.1:16001")], gone: [], more: true }];
    back(liar);
    b.known = [{ members: [member(made(1), "127.0.0.1:16002")], gone: [] }];
    back(b);
    const [newcomer] = nativeMembers(play, 1, "default", 16_002) as [Player];
    expect(play.eventsOf("joined").at(-1)).toMatchObject({ id: newcomer.id, replaces: made(1) });
  });
});

describe("the word that an id has ended", () => {
  test("G3: of one member removes nobody who is back: after a lease the one that has said it is gone itself", () => {
    const play = new Play();
    const [liar, b, c] = formerMembers(play, 3) as [Player, Player, Player];
    names(liar, [], [b.id, c.id]);
    back(liar);
    back(b);
    back(c);
    expect(play.machine.members).toHaveLength(3);
    passAwake(play, [liar, b, c], play.limits.leaseMs);
    expect(play.machine.members).toEqual([b.address, c.address]);
    expect(lostIn(play)).toMatchObject([[liar.id, expect.stringContaining("nobody else has")]]);
    expect(liar.caller.state).not.toBe("open");
  });

  test("of two members removes it", () => {
    const play = new Play();
    const [a, b, c] = formerMembers(play, 3) as [Player, Player, Player];
    back(c);
    back(names(a, [], [c.id]));
    expect(play.machine.members).toContain(c.address);
    back(names(b, [], [c.id]));
    expect(play.machine.members).toEqual([a.address, b.address]);
    expect(lostIn(play)).toEqual([[c.id, "two members say that it has ended"]]);
    passAwake(play, [a, b], 2 * play.limits.leaseMs);
    expect(play.machine.members).toEqual([a.address, b.address]);
  });

  test("of one frees its slot, and the mesh is complete when its lease is over", () => {
    const play = new Play({ capacity: 2, onFull: "hold" });
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    const dead = made(1);
    a.known = [{ members: [member(dead, "127.0.0.1:16001")], gone: [] }];
    back(a);
    back(names(b, [a], [dead]));
    linkAll([a, b]);
    expect(play.eventsOf("complete")).toEqual([]);
    passAwake(play, [a, b], play.limits.leaseMs);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2, links: 1 }]);
  });

  test.each([
    ["before", 0],
    ["after", 1],
  ])("of one that comes %s somebody is named frees the slot", (_, first) => {
    const play = new Play({ capacity: 3, onFull: "hold" });
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    const dead = made(1);
    names(a, [b], [dead]);
    b.known = [{ members: [a.row, member(dead, "127.0.0.1:16001")], gone: [] }];
    for (const player of first === 0 ? [a, b] : [b, a]) back(player);
    const newcomer = play.native("127.0.0.1:15001").register();
    play.settle();
    expect(newcomer.order).toBeGreaterThan(0);
  });

  test("about one that is back already is disputed as well", () => {
    const play = new Play();
    const [liar, b] = formerMembers(play, 2) as [Player, Player];
    back(b);
    back(names(liar, [b], [b.id]));
    passAwake(play, [liar, b], play.limits.leaseMs);
    expect(play.machine.members).toEqual([b.address]);
  });

  test("that one member says twice is the word of one", () => {
    const play = new Play();
    const [liar, b] = formerMembers(play, 2) as [Player, Player];
    back(b);
    back(names(liar, [b], [b.id, b.id]));
    expect(play.machine.members).toContain(b.address);
  });

  test("is kept for as many ids as a log keeps removed ones, and refused for more than a directory may hold", () => {
    const play = new Play({ limits: { tombstones: 2, directoryMembers: 5 } });
    const [a, b, c, d] = formerMembers(play, 4) as [Player, Player, Player, Player];
    back(c);
    back(names(a, [b], [made(1), made(2), c.id]));
    back(names(b, [a], [c.id]));
    expect(play.machine.members).toContain(c.address);
    names(d, [a], [1, 2, 3, 4, 5, 6].map(made));
    back(d);
    expect(d.end.last("refuse")).toMatchObject({ code: "BAD_FRAME" });
  });

  test("of one is forgotten when the member that it is about is gone before the lease is over", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(names(a, [], [b.id]));
    back(b);
    b.leave();
    passAwake(play, [a], play.limits.leaseMs);
    expect(lostIn(play)).toEqual([]);
    expect(play.machine.members).toEqual([a.address]);
  });

  test("about its own id, or about ids that nobody has, changes nothing", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(names(a, [b], [a.id, made(1), made(2)]));
    back(b);
    linkAll([a, b]);
    passAwake(play, [a, b], 2 * play.limits.leaseMs);
    expect(play.machine.members).toEqual([a.address, b.address]);
    expect(lostIn(play)).toEqual([]);
  });
});

describe("a registration while members of an earlier log may come", () => {
  test("is let in at once if it has not stood in line before", () => {
    const play = new Play();
    const [newcomer] = nativeMembers(play, 1) as [Player];
    expect(newcomer.order).toBeGreaterThan(0);
  });

  test("is called from the line as soon as a slot is free, if it has not stood in line before", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const [a] = nativeMembers(play, 1) as [Player];
    const next = play.native("127.0.0.1:14009").register();
    play.settle();
    a.leave();
    play.settle();
    expect(next.order).toBeGreaterThan(0);
  });

  test("is let in at once at a server that has no line, though it stood in one before", () => {
    const play = new Play({ capacity: 3 });
    const waiter = play.native("127.0.0.1:15001").register({ waited: true });
    play.settle();
    expect(waiter.end.last("refuse")).toBeUndefined();
    expect(waiter.order).toBeGreaterThan(0);
  });

  test("waits if it stood in line before, until all are back", () => {
    const play = new Play({ capacity: 3, onFull: "hold" });
    const waiter = play.native("127.0.0.1:15001").register({ waited: true });
    play.settle();
    expect(waiter.end.last("waiting")).toMatchObject({ place: 1 });
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(a);
    expect(waiter.order).toBe(0);
    back(b);
    play.settle();
    expect(waiter.order).toBeGreaterThan(b.order);
  });

  test("waits for whoever is back and has not said yet whom it knows", () => {
    const play = new Play({ capacity: 4, onFull: "hold" });
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(names(b, []));
    a.known = undefined;
    back(a);
    const waiter = play.native("127.0.0.1:15001").register({ waited: true });
    play.settle();
    expect(waiter.order).toBe(0);
    a.caller.say({ type: "known", members: [], gone: [] });
    play.settle();
    expect(waiter.order).toBeGreaterThan(a.order);
  });

  test("waits for two leases at most, though somebody is awaited still", () => {
    const play = new Play({ capacity: 4, onFull: "hold" });
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(a);
    a.linked([b, 1]);
    const waiter = play.native("127.0.0.1:15001").register({ waited: true });
    passAwake(play, [a, waiter], 2 * play.limits.leaseMs - 1_000);
    expect(waiter.order).toBe(0);
    passAwake(play, [a, waiter], 1_000 + play.limits.updateGapMs);
    expect(waiter.order).toBeGreaterThan(0);
  });

  test("waits also behind one that does not answer its call, without a timer that is always due", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const [first] = nativeMembers(play, 1) as [Player];
    const silent = play.native("127.0.0.1:15001").register();
    const waiter = play.native("127.0.0.1:15002").register({ waited: true });
    play.dialed = ({ to }) => to === silent.address;
    first.leave();
    play.pass(play.limits.dialBackSlowMs);
    expect(play.machine.nextTimeout()).toBeGreaterThan(play.now);
    expect(waiter.order).toBe(0);
    passAwake(play, [silent, waiter], play.limits.leaseMs + play.limits.updateGapMs);
    expect(waiter.order).toBeGreaterThan(0);
  });

  test("waits for no more than a lease if nobody comes", () => {
    const play = new Play({ capacity: 3, onFull: "hold" });
    const waiter = play.native("127.0.0.1:15001").register({ waited: true });
    passAwake(play, [waiter], play.limits.leaseMs + play.limits.updateGapMs);
    expect(waiter.order).toBeGreaterThan(0);
  });

  test("waits also for who was named late, without a timer that is always due", () => {
    const play = new Play({ capacity: 4, onFull: "hold" });
    const waiter = play.native("127.0.0.1:15001").register({ waited: true });
    passAwake(play, [waiter], play.limits.leaseMs - 2_000);
    const [a] = formerMembers(play, 2) as [Player];
    back(a);
    play.settle();
    const { now } = play;
    play.pass(3_000);
    expect(play.machine.nextTimeout()).toBeGreaterThan(now + 3_000);
    expect(waiter.order).toBe(0);
    passAwake(play, [a, waiter], play.limits.leaseMs);
    play.settle();
    expect(waiter.order).toBeGreaterThan(0);
  });
});

describe("a member of an earlier log whose address somebody else has proved", () => {
  /** `a` knows `dead`, whose address a newcomer has when it comes back; then the newcomer leaves, before `a` has read of it. */
  function displaced(play: Play, leaveAt = 0): { a: Player; dead: Player; newcomer: Player } {
    const [a, dead] = formerMembers(play, 2) as [Player, Player];
    const newcomer = play.native(dead.address).register();
    play.settle();
    back(a);
    expect(play.eventsOf("gathering")).toEqual([]);
    passAwake(play, [newcomer], leaveAt);
    a.caller.close("ECONNRESET");
    newcomer.leave();
    play.settle();
    return { a, dead, newcomer };
  }

  test("is expected once that one has left, and lost when its lease is over", () => {
    const play = new Play();
    const { a, dead } = displaced(play);
    back(a);
    a.reportAll();
    expect(a.end.last("directory")?.members.map(({ id }) => id)).toEqual([a.id]);
    passAwake(play, [a], play.limits.leaseMs + play.limits.updateGapMs);
    expect(lostIn(play)).toEqual([[dead.id, "not back within 20 s"]]);
    expect(a.end.all("entries").flatMap(({ entries }) => entries)).toMatchObject([{ type: "lost", id: dead.id }]);
  });

  test("is said to be gone if it cannot come back any more by then", () => {
    const play = new Play();
    const { a, dead } = displaced(play, play.limits.leaseMs);
    back(a);
    expect(a.end.last("directory")).toMatchObject({ gone: [dead.id] });
    expect(lostIn(play)).toEqual([]);
    back(dead);
    expect(dead.end.last("refuse")).toMatchObject({ code: "FENCED" });
  });

  test("is not said to be gone while somebody holds a link with it", () => {
    const play = new Play();
    const [a, other] = formerMembers(play, 2) as [Player, Player];
    const newcomer = play.native(other.address).register();
    play.settle();
    back(a);
    a.linked([other, 1]);
    passAwake(play, [a, newcomer], play.limits.leaseMs);
    newcomer.leave();
    play.settle();
    back(a);
    expect(a.end.last("directory")?.gone).toBeUndefined();
  });

  test("is expected if that one only waits in line, where no member reads of it", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    nativeMembers(play, 1, "default", 15_001);
    const [a, dead] = formerMembers(play, 2) as [Player, Player];
    play.native(dead.address).register();
    play.settle();
    back(a);
    passAwake(play, [a], play.limits.leaseMs);
    expect(lostIn(play).map(([id]) => id)).toContain(dead.id);
  });

  test("is expected if the log rejects that one", () => {
    const play = new Play();
    const [a, dead] = formerMembers(play, 2) as [Player, Player];
    play.isLogSlow = true;
    play.native(dead.address).register();
    back(a);
    const [ofNewcomer] = play.appends.splice(0, 1);
    play.answer();
    expect(play.eventsOf("gathering")).toEqual([]);
    play.give({ type: "rejected", mesh: "default", key: ofNewcomer?.key ?? 0, reason: "unavailable" });
    expect(play.eventsOf("gathering")).toMatchObject([{ expected: 1 }]);
  });
});

describe("the status while members are awaited", () => {
  test("names no link with one of them as missing: it is on its way back, and no sign of a second server", () => {
    const play = new Play();
    const [a, b] = formerMembers(play, 2) as [Player, Player];
    back(a);
    a.reportAll([b, 1]);
    play.settle();
    const look = () => play.machine.status("default", play.now);
    expect([look().gathering, look().missing]).toEqual([true, []]);
    expect(look().members.map(({ address, state }) => [address, state])).toEqual([
      [a.address, "member"],
      [b.address, "expected"],
    ]);
  });
});

describe("a newcomer that was looking for its server", () => {
  /** A server whose clock was set back: all of its revisions are below those of the log before. */
  const before = 1_000_000;

  function looking(play: Play, port = 15_001): Player {
    return play.native(`127.0.0.1:${port}`).register({ looked: true });
  }

  /** Comes back from a log whose revisions were higher. */
  function backFromLater(player: Player): Player {
    player.lastOrder += before;
    return back(player, before + 10);
  }

  test("waits for the first member of an earlier log, and gets a higher order, though the clock was set back", () => {
    const play = new Play();
    const [a] = formerMembers(play, 2) as [Player];
    const newcomer = looking(play);
    play.pass(play.limits.newcomerHoldMs - 1);
    expect([newcomer.end.controls, play.machine.members]).toEqual([[], []]);
    backFromLater(a);
    expect(newcomer.order).toBeGreaterThan(before + 10);
    expect(play.machine.members).toEqual([a.address, newcomer.address]);
  });

  test("waits until the list of that one has been read", () => {
    const play = new Play();
    const [a] = formerMembers(play, 2) as [Player];
    const newcomer = looking(play);
    a.known = [{ members: [], gone: [], more: true }];
    backFromLater(a);
    expect(newcomer.order).toBe(0);
    a.caller.say({ type: "known", members: [], gone: [] });
    play.settle();
    expect(newcomer.order).toBeGreaterThan(before);
  });

  test("waits for no longer than members take to find the server", () => {
    const play = new Play();
    const newcomers = [looking(play), looking(play, 15_002)];
    play.pass(play.limits.newcomerHoldMs);
    play.settle();
    expect(newcomers.map(({ order }) => order)).toEqual([1, 2]);
    expect(play.limits.serverRedialMaxMs + play.limits.newcomerHoldMs).toBeLessThan(2_000);
    expect(play.limits.newcomerHoldMs).toBeGreaterThan(play.limits.serverRedialMaxMs);
  });

  test("is let in at once when the mesh is older, or somebody is back", () => {
    const play = new Play();
    const [early] = nativeMembers(play, 1) as [Player];
    passAwake(play, [early], play.limits.newcomerHoldMs);
    expect(looking(play).order).toBe(play.machine.revisionOf("default"));
    const other = new Play();
    const [a] = formerMembers(other, 1) as [Player];
    backFromLater(a);
    looking(other);
    other.settle();
    expect(other.machine.members).toHaveLength(2);
  });

  test("does not keep those waiting that have found the server at once", () => {
    const play = new Play();
    looking(play);
    const [other] = nativeMembers(play, 1, "default", 15_002) as [Player];
    expect(play.machine.members).toEqual([other.address]);
  });

  test("is not let in when it has gone meanwhile, and nothing of it is kept", () => {
    const play = new Play();
    const { size } = play.machine;
    looking(play).die();
    looking(play, 15_002).leave();
    play.pass(play.limits.newcomerHoldMs + play.limits.lingerMs);
    expect(play.eventsOf("joined")).toEqual([]);
    play.pass(play.limits.leaseMs + play.limits.challengeMs);
    expect(play.machine.size).toBe(size);
  });

  test("is told the end of the mesh while it waits", () => {
    const play = new Play();
    nativeMembers(play, 1);
    const newcomer = looking(play);
    play.give({ type: "teardown", reason: "enough" });
    expect(newcomer.end.last("teardown")).toMatchObject({ reason: "enough" });
  });

  test("is refused what it would have been refused without the wait", () => {
    const play = new Play();
    const newcomer = looking(play);
    nativeMembers(play, 1, "default", 15_002);
    const other = play.native("127.0.0.1:15003");
    other.id = newcomer.id;
    other.register();
    play.pass(play.limits.newcomerHoldMs);
    expect(newcomer.end.last("refuse")).toMatchObject({ code: "ID_IN_USE" });
  });
});

describe("N28: a link with somebody whom the log does not know", () => {
  test("bars the completeness of the mesh until that one is listed", () => {
    const play = new Play();
    const [a, b, c] = formerMembers(play, 3) as [Player, Player, Player];
    back(names(a, [b]));
    back(names(b, [a]));
    a.linked([b, 1], [c, 1]);
    b.linked([a, 1]);
    expect(play.eventsOf("complete")).toEqual([]);
    back(names(c, [a, b]));
    c.linked([a, 1], [b, 1]);
    b.linked([c, 1]);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 3 }]);
  });

  test("bars it until the link is down, if that one never comes", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    a.linked([b, 1], [{ id: made(1) }, 1]);
    b.linked([a, 1]);
    expect(play.eventsOf("complete")).toEqual([]);
    a.unlinked({ id: made(1) }, "broken", "ECONNRESET");
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2, links: 1 }]);
  });
});

describe("an expected member on a local socket", () => {
  /** Members of a former log in one folder; the first has come back. */
  function localMembers(play: Play): [Player, Player] {
    const players = [1, 2].map((index) => {
      const player = play.native(`unix:/run/app/m-${index}.sock`);
      player.caller.close();
      player.lastOrder = index;
      return player;
    }) as [Player, Player];
    for (const player of players) names(player, players);
    back(players[0]);
    return players;
  }

  test("is dialed when it has not come back, and is lost when nobody listens there", () => {
    const play = new Play();
    const [, gone] = localMembers(play);
    play.listen(gone.address, undefined);
    play.pass(defaultLimits.recheckMs);
    expect(lostIn(play)).toEqual([[gone.id, expect.stringContaining("nobody listens there")]]);
  });

  test("has the rest of its lease when its process is there", () => {
    const play = new Play();
    const [here, slow] = localMembers(play);
    passAwake(play, [here], defaultLimits.recheckMs + 1_000);
    expect(lostIn(play)).toEqual([]);
    back(slow);
    expect(play.machine.members).toEqual([here.address, slow.address]);
  });
});
