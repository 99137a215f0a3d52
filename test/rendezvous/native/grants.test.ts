import { describe, expect, it } from "vitest";
import type { ControlOf } from "../../../src/protocol/native/control.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { Play, type Player } from "../play.js";

function grant(owner: Player, later: Player, attempt = 3): ControlOf<"grant"> {
  return { type: "grant", owner: owner.id, later: later.id, attempt };
}

/** So many members of one mesh, in their order. */
function begin(count: number, choice: ConstructorParameters<typeof Play>[0] = {}): { play: Play; members: Player[] } {
  const play = new Play(choice);
  const members = Array.from({ length: count }, (_, index) => {
    const member = play.native(`127.0.0.1:${7_001 + index}`).register();
    play.settle();
    return member;
  });
  return { play, members };
}

describe("a grant", () => {
  it("goes to the later end as it is, and to nobody else", () => {
    const { members } = begin(3);
    const [owner, later, other] = members as [Player, Player, Player];
    owner.caller.say(grant(owner, later));
    expect(members.map(({ end }) => end.all("grant"))).toEqual([[], [grant(owner, later)], []]);
    expect(other.end.all("refuse")).toEqual([]);
  });

  it.each<[string, (members: readonly [Player, Player, Player]) => ControlOf<"grant">]>([
    ["to an earlier member", ([earlier, sender]) => grant(sender, earlier)],
    ["in another's name", ([owner, , later]) => grant(owner, later)],
    ["to itself", ([, sender]) => grant(sender, sender)],
    ["to an id that is no member", ([, sender]) => ({ ...grant(sender, sender), later: "f".repeat(32) })],
  ])("%s is dropped, and costs its sender nothing", (_, make) => {
    const { play, members } = begin(3);
    const [, sender] = members as [Player, Player, Player];
    sender.caller.say(make(members as [Player, Player, Player]));
    play.settle();
    expect(members.flatMap(({ end }) => end.all("grant"))).toEqual([]);
    expect(sender.end.all("refuse")).toEqual([]);
  });

  it("that the later end could not use goes back to its owner, and comes from nobody else", () => {
    const { members } = begin(3);
    const [owner, later, other] = members as [Player, Player, Player];
    const failed = { ...grant(owner, later), failed: "DIAL_FAILED ECONNREFUSED" };
    for (const player of [owner, other]) player.caller.say(failed);
    expect(members.flatMap(({ end }) => end.all("grant"))).toEqual([]);
    later.caller.say(failed);
    expect(members.map(({ end }) => end.all("grant"))).toEqual([[failed], [], []]);
  });

  it("is dropped while the later end has no session", () => {
    const { play, members } = begin(2);
    const [owner, later] = members as [Player, Player];
    later.caller.close("ECONNRESET");
    owner.caller.say(grant(owner, later));
    play.settle();
    expect(later.end.all("grant")).toEqual([]);
  });

  it("for a session that is being sent something waits, the newest of each owner, and only so many", () => {
    const { play, members } = begin(4, { limits: { grantsWaiting: 2 } });
    const later = members.at(-1) as Player;
    play.isFlushing = false;
    // The first goes out at once, the next ones wait behind it.
    for (const attempt of [1, 2, 3]) {
      for (const owner of members.slice(0, -1)) owner.caller.say(grant(owner, later, attempt));
    }
    const [first, second, third] = members as [Player, Player, Player];
    expect(later.end.all("grant")).toEqual([grant(first, later, 1)]);
    play.give({ type: "flushed", connection: later.caller.connection });
    expect(later.end.all("grant").slice(1)).toEqual([grant(second, later, 1), grant(third, later, 1)]);
    // Those that found two waiting already.
    expect(new Set(play.notes)).toEqual(new Set(["GRANT_DROPPED"]));
  });

  it("is dropped beyond so many of one member in a second", () => {
    const { play, members } = begin(2, { limits: { grantsPerSecond: 2 } });
    const [owner, later] = members as [Player, Player];
    const attempts = (): number[] => later.end.all("grant").map(({ attempt }) => attempt);
    for (const attempt of [1, 2, 3]) owner.caller.say(grant(owner, later, attempt));
    expect(attempts()).toEqual([1, 2]);
    owner.caller.say(grant(owner, later, 3));
    // Once in that second.
    expect(play.notes).toEqual(["GRANT_DROPPED"]);
    play.pass(1_000);
    owner.caller.say(grant(owner, later, 4));
    expect(attempts()).toEqual([1, 2, 4]);
  });

  it("is refused before its sender is a member", () => {
    const { play, members } = begin(1);
    const [member] = members as [Player];
    const stranger = play.call();
    stranger.send(encodePreface());
    stranger.say({ type: "grant", owner: member.id, later: member.id, attempt: 1 });
    expect(stranger.end.last("refuse")).toMatchObject({ code: "UNEXPECTED_MESSAGE" });
  });
});
