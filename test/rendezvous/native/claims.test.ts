import { describe, expect, it } from "vitest";
import { claimLeaseMs } from "../../../src/protocol/claims.js";
import { Play, type Player } from "../play.js";

const addresses = ["127.0.0.1:7001", "127.0.0.1:7002"] as const;

/** A server that has run for a lease, and members that have renewed. */
function begin(count: number, choice: ConstructorParameters<typeof Play>[0] = {}): { play: Play; members: Player[] } {
  const play = new Play(choice);
  play.pass(claimLeaseMs);
  const members = Array.from({ length: count }, (_, index) => play.native(`127.0.0.1:${7_001 + index}`).register());
  play.settle();
  for (const { caller } of members) caller.say({ type: "renew", number: 1 });
  play.settle();
  return { play, members };
}

function renewAll(play: Play, members: readonly Player[], ms: number): void {
  for (let passed = 0; passed < ms; passed += 2_000) {
    for (const { caller } of members) caller.say({ type: "renew", number: 2 + passed });
    play.pass(Math.min(2_000, ms - passed));
  }
}

function entriesOf(member: Player): object[] {
  const { controls } = member.end;
  const entries = controls.flatMap((control) => (control.type === "entries" ? control.entries : []));
  return entries.filter(({ type }) => type === "claimed" || type === "unclaimed");
}

describe("claims", () => {
  it("are entries that every member gets, and part of a whole directory", () => {
    const { play, members } = begin(2);
    const [holder, other] = members as [Player, Player];
    holder.caller.say({ type: "claim", key: "job", wait: true });
    play.settle();
    const token = play.machine.revision;
    expect(entriesOf(other)).toEqual([{ type: "claimed", revision: token, key: "job", holder: holder.id }]);
    const late = play.native("127.0.0.1:7009").register();
    play.settle();
    const parts = late.end.all("directory");
    expect(parts.map(({ more }) => more === true)).toEqual([true, false]);
    expect(parts.flatMap(({ claims }) => claims ?? [])).toEqual([{ key: "job", holder: holder.id, token }]);
    holder.caller.say({ type: "unclaim", key: "job", token });
    play.settle();
    expect(entriesOf(other).at(-1)).toEqual({ type: "unclaimed", revision: token + 2, key: "job", reason: "given up" });
  });

  it("are answered by their numbers", () => {
    const { members } = begin(1);
    members[0]?.caller.say({ type: "renew", number: 77 });
    expect(members[0]?.end.last("renewed")).toEqual({ type: "renewed", number: 77 });
  });

  it("of a member that was lost are freed one lease after it was last heard, and not before", () => {
    const { play, members } = begin(2);
    const [holder, next] = members as [Player, Player];
    holder.caller.say({ type: "claim", key: "job", wait: true });
    next.caller.say({ type: "claim", key: "job", wait: true });
    holder.die();
    renewAll(play, [next], claimLeaseMs - 1_000);
    expect(play.eventsOf("lost")).toHaveLength(1);
    expect(entriesOf(next).map((entry) => (entry as { type: string }).type)).toEqual(["claimed"]);
    renewAll(play, [next], 1_500);
    expect(entriesOf(next)).toMatchObject([{}, { type: "unclaimed" }, { type: "claimed", holder: next.id }]);
  });

  it("of a member that leaves are freed at once", () => {
    const { play, members } = begin(2);
    const [holder, next] = members as [Player, Player];
    holder.caller.say({ type: "claim", key: "job", wait: true });
    next.caller.say({ type: "claim", key: "job", wait: true });
    holder.leave();
    play.settle();
    expect(entriesOf(next).at(-1)).toMatchObject({ type: "claimed", holder: next.id });
  });

  it("are granted by no server in its first lease, and then to the first in line", () => {
    const play = new Play();
    const members = addresses.map((address) => play.native(address).register());
    const [first, second] = members as [Player, Player];
    play.settle();
    for (const { caller } of members)
      caller.say({ type: "renew", number: 1 }, { type: "claim", key: "job", wait: true });
    renewAll(play, members, claimLeaseMs - 100);
    expect(entriesOf(first)).toEqual([]);
    renewAll(play, members, 500);
    expect(entriesOf(second)).toMatchObject([{ type: "claimed", holder: first.id }]);
  });

  it("are asked of the log again when it takes nothing, and nobody else gets the key meanwhile", () => {
    const { play, members } = begin(2);
    const [holder, other] = members as [Player, Player];
    play.isLogSlow = true;
    holder.caller.say({ type: "claim", key: "job", wait: true });
    other.caller.say({ type: "claim", key: "job", wait: true });
    expect(play.appends).toHaveLength(1);
    play.reject("unavailable");
    play.pass(play.limits.logRetryMs);
    expect(play.appends.map(({ change }) => change)).toMatchObject([{ type: "claimed", holder: holder.id }]);
    play.answer();
    play.settle();
    expect(entriesOf(other)).toMatchObject([{ type: "claimed", holder: holder.id }]);
  });

  it("are bounded for each member, for each mesh and in all", () => {
    const codes = (limits: object, keys: readonly (readonly [member: number, key: string])[]): string[] => {
      const { members } = begin(2, { limits });
      for (const [member, key] of keys) members[member]?.caller.say({ type: "claim", key, wait: true });
      return members.flatMap(({ end }) => end.all("unclaimable").map(({ code }) => code));
    };
    const [a, b, otherA] = [
      [0, "a"],
      [0, "b"],
      [1, "a"],
    ] as const;
    expect(codes({ claimsPerMember: 1 }, [a, b, otherA])).toEqual(["TOO_MANY_CLAIMS"]);
    expect(codes({ claimsPerMesh: 1 }, [a, b, otherA])).toEqual(["TOO_MANY_CLAIMS"]);
    expect(codes({ claims: 2 }, [a, b, otherA])).toEqual(["TOO_MANY_CLAIMS"]);
    expect(codes({ claimPlacesPerMesh: 1 }, [a, otherA, [1, "a"], [1, "b"], [0, "b"]])).toEqual(["TOO_MANY_WAITING"]);
    expect(codes({}, [a, b, otherA])).toEqual([]);
  });

  it("of a member that does not read what it is answered end its session", () => {
    const { play, members } = begin(2, { limits: { claimsPerMember: 2 } });
    const [holder, greedy] = members as [Player, Player];
    for (const key of ["a", "b"]) holder.caller.say({ type: "claim", key, wait: true });
    play.settle();
    play.isFlushing = false;
    for (let number = 0; number < 1_000; number += 1) greedy.caller.say({ type: "claim", key: `key ${number}` });
    expect(greedy.caller.sent.length).toBeLessThan(100);
    expect(greedy.caller.state).not.toBe("open");
    expect(play.notes).toContain("TOO_MANY_CLAIMS");
  });

  it("leave nothing behind when all members have gone", () => {
    const play = new Play();
    const before = play.machine.size;
    play.pass(claimLeaseMs);
    const members = addresses.map((address) => play.native(address, "m").register());
    play.settle();
    for (const { caller } of members)
      caller.say({ type: "renew", number: 1 }, { type: "claim", key: "job", wait: true });
    play.settle();
    for (const member of members) member.leave();
    play.pass(play.limits.lingerMs + 100);
    for (const { caller } of members) caller.close();
    expect(play.machine.size).toBe(before);
  });
});
