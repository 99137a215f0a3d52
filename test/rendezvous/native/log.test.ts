import { describe, expect, test } from "vitest";
import type { Address } from "../../../src/protocol/address.js";
import { Directory, type Member as Listed } from "../../../src/protocol/directory.js";
import { encodeControl } from "../../../src/protocol/native/control.js";
import { type NativeEnd, nativeMembers, Play, type Player } from "../play.js";

/** The directory that follows from what a member has been told. */
function heard(end: NativeEnd): Directory {
  const directory = new Directory();
  const parts: Listed[] = [];
  for (const control of end.controls) {
    if (control.type === "directory") {
      parts.push(...control.members);
      if (control.more !== true) directory.restore(parts.splice(0), control.revision);
    } else if (control.type === "entries") {
      for (const entry of control.entries) directory.apply(entry);
    }
  }
  return directory;
}

function addressesOf(end: NativeEnd): Address[] {
  return heard(end).members.map(({ address }) => address);
}

/** Frames with entries or a directory. */
function updates(end: NativeEnd): number {
  return end.all("entries").length + end.all("directory").length;
}

function port(index: number): Address {
  return `127.0.0.1:${14_001 + index}`;
}

describe("N1: the log", () => {
  test("begins behind the revision that the server starts with, which is the order of no member", () => {
    const play = new Play({ firstRevision: 1_700_000_000_000_000 });
    const [first] = nativeMembers(play, 1);
    expect(first?.order).toBe(1_700_000_000_000_001);
    expect(first?.end.last("admitted")?.revision).toBe(1_700_000_000_000_001);
  });

  test("has a random id, the same for all members of the mesh", () => {
    const play = new Play();
    const logs = nativeMembers(play, 3).map(({ end }) => end.last("admitted")?.log);
    expect(new Set(logs).size).toBe(1);
    expect(logs[0]).toMatch(/^[0-9a-f]{32}$/);
  });

  test("gives who comes back the entries behind its revision", () => {
    const play = new Play();
    const [first, second, third] = nativeMembers(play, 3) as [Player, Player, Player];
    first.caller.close();
    third.leave();
    first.resume(2);
    play.settle();
    expect(first.end.all("directory")).toEqual([]);
    expect(first.end.last("admitted")).toMatchObject({ order: 1, revision: 4 });
    expect(first.end.last("entries")?.entries).toMatchObject([
      { type: "joined", revision: 3, id: third.id },
      { type: "left", revision: 4, id: third.id, reason: "enough" },
    ]);
    expect(play.machine.members).toEqual([first.address, second.address]);
  });

  test("gives who comes back and has missed nothing no entries at all", () => {
    const play = new Play();
    const [first] = nativeMembers(play, 2) as [Player, Player];
    first.caller.close();
    first.resume(2);
    expect(first.end.controls).toMatchObject([
      { type: "admitted", order: 1, revision: 2 },
      { type: "leader", id: first.id },
    ]);
  });

  test("gives the whole directory to who asks for more than is kept, or for a revision that never was", () => {
    for (const [logEntries, revision] of [
      [3, 2],
      [4_096, 77],
    ] as const) {
      const play = new Play({ limits: { logEntries } });
      const [first] = nativeMembers(play, 2) as [Player, Player];
      first.caller.close();
      const others = nativeMembers(play, 4, "default", 15_001);
      first.resume(revision);
      expect(first.end.all("entries")).toEqual([]);
      expect(first.end.last("directory")).toMatchObject({ revision: 6 });
      expect(addressesOf(first.end)).toEqual([port(0), port(1), ...others.map(({ address }) => address)]);
    }
  });

  test("keeps as many of the newest entries as it may, and no more", () => {
    const logEntries = 8;
    const play = new Play({ limits: { logEntries } });
    const [first] = nativeMembers(play, 1) as [Player];
    first.caller.close();
    nativeMembers(play, 40, "default", 15_001);
    first.resume(41 - logEntries);
    expect(first.end.last("entries")?.entries).toHaveLength(logEntries);
    first.caller.close();
    first.resume(41 - logEntries - 1);
    play.settle();
    expect(first.end.all("entries")).toEqual([]);
    expect(first.end.last("directory")?.members).toHaveLength(41);
  });

  test("fits a large directory and a large batch into frames within the bound", () => {
    const controlBytes = 1_000;
    const play = new Play({ limits: { controlBytes } });
    const [first] = nativeMembers(play, 1) as [Player];
    first.caller.close();
    const others = nativeMembers(play, 30, "default", 15_001);
    first.resume(1);
    expect(first.end.all("entries").length).toBeGreaterThan(4);
    for (const control of [...first.end.all("entries"), ...(others.at(-1)?.end.all("directory") ?? [])]) {
      expect(encodeControl(control).length).toBeLessThanOrEqual(controlBytes);
    }
    const directories = others.at(-1)?.end.all("directory") ?? [];
    expect(directories.length).toBeGreaterThan(3);
    expect(directories.map(({ more }) => more)).toEqual([...directories.slice(1).map(() => true), undefined]);
    expect(addressesOf(others.at(-1)?.end ?? first.end)).toHaveLength(31);
  });
});

describe("N2: entries that come together go out together", () => {
  test("a burst of joins costs each member a few frames, however many join", () => {
    const frames = [8, 64].map((count) => {
      const play = new Play();
      const [old] = nativeMembers(play, 1) as [Player];
      const before = updates(old.end);
      const newcomers = Array.from({ length: count }, (_, index) => play.native(port(100 + index)).register());
      play.settle();
      const members = [old, ...newcomers].map(({ end }) => addressesOf(end));
      expect(new Set(members.map(String)).size).toBe(1);
      expect(members[0]).toHaveLength(count + 1);
      return [updates(old.end) - before, Math.max(...newcomers.map(({ end }) => updates(end)))];
    });
    expect(frames[1]).toEqual(frames[0]);
    expect(Math.max(...frames.flat())).toBeLessThanOrEqual(2);
  });

  test("a single entry goes out at once", () => {
    const play = new Play();
    const [old] = nativeMembers(play, 1) as [Player];
    play.native(port(1)).register();
    expect(addressesOf(old.end)).toEqual([port(0), port(1)]);
  });

  test("an entry within the gap waits for its end, and no longer", () => {
    const play = new Play();
    const [old] = nativeMembers(play, 1) as [Player];
    play.native(port(1)).register();
    play.native(port(2)).register();
    play.pass(play.limits.updateGapMs - 1);
    expect(addressesOf(old.end)).toHaveLength(2);
    play.pass(1);
    expect(addressesOf(old.end)).toHaveLength(3);
  });

  describe("in a mesh of 40 members, with 1 ms of gap for each", () => {
    const open = (): { readonly play: Play; readonly old: Player } => {
      const play = new Play({ limits: { updateMemberMs: 1 } });
      const [old] = nativeMembers(play, 40) as [Player];
      play.pass(1_000);
      return { play, old };
    };

    test("a storm of joins is told in fewer updates, and nobody is told later than the gap", () => {
      const { play, old } = open();
      const before = updates(old.end);
      const newcomers = Array.from({ length: 100 }, (_, index) => {
        const player = play.native(port(100 + index)).register();
        play.pass(1);
        return player;
      });
      expect(updates(old.end) - before).toBeLessThanOrEqual(5);
      play.pass(play.limits.joinGapMaxMs);
      for (const { end } of [old, ...newcomers]) expect(addressesOf(end)).toHaveLength(140);
    });

    test("those who join one by one are let in as fast as in a small mesh, and the others are told of them together", () => {
      const { play, old } = open();
      const before = updates(old.end);
      for (let index = 0; index < 7; index += 1) {
        const player = play.native(port(100 + index)).register();
        play.settle();
        expect(player.order).toBeGreaterThan(0);
        expect(addressesOf(player.end)).toHaveLength(41 + index);
        expect(addressesOf(old.end)).toHaveLength(41);
      }
      play.pass(40 * play.limits.joinMemberMs);
      expect(addressesOf(old.end)).toHaveLength(47);
      expect(updates(old.end) - before).toBe(2);
    });

    test("whoever leaves meanwhile is told of at once, and with it those who have joined", () => {
      const { play, old } = open();
      const gone = play.native(port(100)).register();
      play.native(port(101)).register();
      play.settle();
      expect(addressesOf(old.end)).toContain(port(100));
      expect(addressesOf(old.end)).not.toContain(port(101));
      gone.leave();
      play.settle();
      expect(addressesOf(old.end)).not.toContain(port(100));
      expect(addressesOf(old.end)).toContain(port(101));
    });

    test("the first change after a storm goes out at once", () => {
      const { play, old } = open();
      for (let index = 0; index < 60; index += 1) play.native(port(100 + index)).register();
      play.pass(1_000);
      play.native(port(200)).register();
      expect(addressesOf(old.end)).toHaveLength(101);
    });
  });

  test("who does not take the last update is sent no other, and catches up from where it stood when it does", () => {
    const play = new Play();
    const [slow] = nativeMembers(play, 1) as [Player];
    play.isFlushing = false;
    nativeMembers(play, 1, "default", 15_001);
    const sent = slow.caller.sent.length;
    nativeMembers(play, 20, "default", 16_001);
    expect(slow.caller.sent).toHaveLength(sent);
    play.isFlushing = true;
    play.give({ type: "flushed", connection: slow.caller.connection });
    expect(slow.caller.sent).toHaveLength(sent + 1);
    expect(addressesOf(slow.end)).toHaveLength(22);
  });

  test("pings of a reader that does not read are answered once, not each", () => {
    const play = new Play();
    const [slow] = nativeMembers(play, 1) as [Player];
    play.isFlushing = false;
    const ping = Uint8Array.of(0, 0, 0, 0, 4);
    for (let count = 0; count < 100; count += 1) slow.caller.send(ping);
    const sent = slow.caller.sent.length;
    play.isFlushing = true;
    play.give({ type: "flushed", connection: slow.caller.connection });
    expect(slow.caller.sent).toHaveLength(sent + 1);
  });
});

test("classic members get the list when a native member joins, and native ones the entry of a classic member", () => {
  const play = new Play();
  const [native] = nativeMembers(play, 1) as [Player];
  const classic = play.call();
  classic.send(port(1));
  expect(classic.text).toBe(`list:\n${port(0)}\n${port(1)}`);
  expect(native.end.last("entries")?.entries).toMatchObject([{ type: "joined", address: port(1), dialect: "classic" }]);
  const sent = classic.sent.length;
  play.native(port(2)).register();
  play.pass(play.limits.messageGapMs);
  expect(classic.sent).toHaveLength(sent + 1);
  expect(new TextDecoder().decode(classic.sent.at(-1))).toBe(`list:\n${[0, 1, 2].map(port).join("\n")}`);
});
