import { describe, expect, test } from "vitest";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { decodeStatus } from "../../../src/protocol/native/status.js";
import { linkReader, type MeshStatus } from "../../../src/protocol/status.js";
import { type Caller, linkAll, nativeMembers, Play, type Player } from "../play.js";

/** Somebody who looks at a mesh. */
function observer(play: Play, mesh = "default"): Caller {
  const caller = play.call();
  caller.send(encodePreface());
  caller.say({ type: "observe", mesh });
  return caller;
}

/** Every status that it has been sent. */
function statuses({ end }: Caller): MeshStatus[] {
  const found: MeshStatus[] = [];
  let text = "";
  for (const { part, more } of end.all("status")) {
    text += part;
    if (more === true) continue;
    const status = decodeStatus(text);
    if (typeof status === "string") throw new Error(`bad ${status}`);
    found.push(status);
    text = "";
  }
  return found;
}

function newest(caller: Caller): MeshStatus {
  const status = statuses(caller).at(-1);
  if (status === undefined) throw new Error("no status has come");
  return status;
}

describe("whoever looks at a mesh", () => {
  test("is sent its members, the links, and the missing pairs with the owner's word, without being in it", () => {
    const play = new Play();
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    const entered = play.now - play.limits.updateGapMs;
    a.linked([b, 1]);
    b.linked([a, 1]);
    b.unlinked(c, "dialing", "ECONNREFUSED");
    play.pass(1_000);
    const looking = observer(play);
    const status = newest(looking);
    expect(status).toMatchObject({ mesh: "default", revision: 3, complete: false, links: { expected: 3, up: 1 } });
    expect(status.members).toMatchObject([a, b, c].map(({ address }, rank) => ({ address, rank, state: "member" })));
    expect(status.missing).toMatchObject([
      { a: a.address, b: c.address, owner: a.address, stage: "unreported" },
      {
        a: b.address,
        b: c.address,
        owner: b.address,
        stage: "dialing",
        reason: "ECONNREFUSED",
        since: entered - play.now,
      },
    ]);
    expect(status.links.bits).toBeUndefined();
    expect(play.eventsOf("joined")).toHaveLength(3);
  });

  test("is sent it again when it has changed, at most so often, and not when nothing has", () => {
    const play = new Play();
    const members = nativeMembers(play, 3);
    const looking = observer(play);
    linkAll(members);
    expect(statuses(looking)).toHaveLength(1);
    play.pass(play.limits.observeMs);
    expect(statuses(looking).map(({ complete }) => complete)).toEqual([false, true]);
    // The server stops gathering meanwhile: that is a change.
    play.pass(2 * play.limits.leaseMs);
    const count = statuses(looking).length;
    play.pass(10 * play.limits.observeMs);
    expect(statuses(looking)).toHaveLength(count);
  });

  test("hears who is suspected, who has gone and why, and who waits in line", () => {
    const play = new Play({ capacity: 3, onFull: "hold" });
    const [a, b] = nativeMembers(play, 3) as [Player, Player, Player];
    const [waiting] = nativeMembers(play, 1, "default", 15_001);
    const looking = observer(play);
    expect(newest(looking).members.at(-1)).toMatchObject({ address: waiting?.address, state: "waiting", rank: null });
    a.leave();
    b.caller.close("ECONNRESET");
    play.pass(play.limits.observeMs);
    const status = newest(looking);
    expect(status.recent).toMatchObject([{ type: "left", address: a.address }]);
    expect(status.members.map(({ address, state }) => [address, state])).toContainEqual([b.address, "suspect"]);
  });

  test("gets a bit for each pair where there are more missing ones than are named", () => {
    const play = new Play({ limits: { statusPairs: 2 } });
    const [a, b, c, d] = nativeMembers(play, 4) as [Player, Player, Player, Player];
    for (const [one, other] of [
      [a, b],
      [c, d],
    ] as const) {
      one.linked([other, 1]);
      other.linked([one, 1]);
    }
    const status = newest(observer(play));
    expect([status.links, status.missing.length]).toEqual([{ expected: 6, up: 2, bits: "21" }, 2]);
    const isLinked = linkReader(status);
    const ranks = [0, 1, 2, 3];
    expect(ranks.map((rank) => ranks.filter((other) => other !== rank && isLinked(rank, other)))).toEqual([
      [1],
      [0],
      [3],
      [2],
    ]);
  });

  test("of a mesh that is not there gets one without members, and makes none", () => {
    const play = new Play();
    const { size } = play.machine;
    const looking = observer(play, "other");
    expect(newest(looking)).toMatchObject({ mesh: "other", members: [], links: { expected: 0, up: 0 } });
    expect(play.machine.meshes).toEqual(["default"]);
    looking.close();
    expect(play.machine.size).toBe(size);
  });

  test("costs no more than one status that waits, however slowly it reads, and is refused beyond a number", () => {
    const play = new Play({ limits: { observers: 2 } });
    const slow = observer(play);
    play.isFlushing = false;
    nativeMembers(play, 2);
    const before = statuses(slow).length;
    for (let round = 0; round < 10; round += 1) {
      nativeMembers(play, 1, "default", 15_000 + round);
      play.pass(play.limits.observeMs);
    }
    expect(statuses(slow).length - before).toBeLessThanOrEqual(1);
    observer(play);
    const third = observer(play);
    expect(third.end.last("refuse")).toMatchObject({ code: "BUSY" });
  });

  test("with a secret has to have proved it, for this mesh", () => {
    const play = new Play({ isKeyed: true });
    const caller = play.call();
    caller.secure({ mesh: "default", role: "rendezvous" });
    caller.send(encodePreface());
    caller.say({ type: "observe", mesh: "other" });
    expect(caller.end.last("refuse")).toMatchObject({ code: "WRONG_MESH" });
  });
});
