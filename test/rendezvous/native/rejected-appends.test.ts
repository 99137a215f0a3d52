import { describe, expect, test } from "vitest";
import { type Caller, nativeMembers, Play, type Player } from "../play.js";

/** A mesh of this capacity whose log answers by hand, with so many members. */
function slowPlay(members: number, capacity = Number.POSITIVE_INFINITY): [Play, Player[]] {
  const play = new Play({ capacity, onFull: "hold" });
  const listed = nativeMembers(play, members);
  play.isLogSlow = true;
  return [play, listed];
}

describe("a registration that the log rejects", () => {
  test("is refused with a time to come back while the log takes nothing", () => {
    const [play] = slowPlay(0);
    const a = play.native("127.0.0.1:14001").register();
    play.reject("unavailable");
    expect(a.end.last("refuse")).toMatchObject({ code: "STORE_UNAVAILABLE", retryMs: play.limits.logRetryMs });
    expect(a.caller.state).toBe("halfClosed");
    expect(play.machine.members).toEqual([]);
  });

  test("frees its slot and its address", () => {
    const [play] = slowPlay(0, 1);
    play.native("127.0.0.1:14001").register();
    play.reject("unavailable");
    const b = play.native("127.0.0.1:14001").register();
    play.answer();
    play.settle();
    expect(b.order).toBeGreaterThan(0);
    expect(play.eventsOf("waiting")).toEqual([]);
  });

  test("is judged anew after a conflict, and appended again", () => {
    const [play] = slowPlay(0);
    const a = play.native("127.0.0.1:14001").register();
    play.reject("conflict");
    expect(play.appends).toMatchObject([{ change: { type: "joined", id: a.id } }]);
    play.answer();
    play.settle();
    expect(a.order).toBeGreaterThan(0);
    expect(a.end.all("refuse")).toEqual([]);
  });

  test("is refused with a time to come back after a second conflict", () => {
    const [play] = slowPlay(0);
    const a = play.native("127.0.0.1:14001").register();
    play.reject("conflict");
    play.reject("conflict");
    expect(a.end.last("refuse")).toMatchObject({ code: "STORE_UNAVAILABLE", retryMs: play.limits.logRetryMs });
    expect(play.appends).toEqual([]);
  });

  test("is told the true reason if somebody else has its address by then", () => {
    const [play] = slowPlay(0);
    const a = play.native("127.0.0.1:14001").register();
    play.appendElsewhere("default", { type: "joined", id: "ee", address: "127.0.0.1:14001", dialect: "classic" });
    play.reject("conflict");
    expect(a.end.last("refuse")).toMatchObject({ code: "ADDRESS_IN_USE" });
    expect(play.machine.members).toEqual(["127.0.0.1:14001"]);
  });

  test("waits in line if somebody else has the last slot by then", () => {
    const [play] = slowPlay(0, 1);
    const a = play.native("127.0.0.1:14001").register();
    play.appendElsewhere("default", { type: "joined", id: "ee", address: "127.0.0.1:14009", dialect: "native" });
    play.reject("conflict");
    expect(a.end.last("waiting")).toMatchObject({ place: 1 });
  });

  test("counts for nothing once its session is gone", () => {
    const [play] = slowPlay(0, 1);
    const a = play.native("127.0.0.1:14001").register();
    a.caller.close("ECONNRESET");
    play.reject("conflict");
    expect(play.appends).toEqual([]);
    const b = play.native("127.0.0.1:14002").register();
    play.answer();
    play.settle();
    expect(b.order).toBeGreaterThan(0);
  });

  test("leaves the member that it was to replace as it was, and the mesh whole", () => {
    const [play, [a, b]] = slowPlay(2);
    a?.linked([b as Player, 1]);
    b?.linked([a as Player, 1]);
    play.native(a?.address ?? "127.0.0.1:1").register();
    expect(play.appends).toMatchObject([{ change: { type: "replaced", replaces: a?.id } }]);
    play.reject("unavailable");
    expect(play.machine.presentIn("default")).toEqual([a?.address, b?.address]);
    play.settle();
    expect(a?.caller.state).toBe("open");
  });

  test("lets a member that broke meanwhile be lost after a lease", () => {
    const [play, [a]] = slowPlay(2);
    play.native(a?.address ?? "127.0.0.1:1").register();
    a?.die();
    play.reject("unavailable");
    play.pass(2 * play.limits.leaseMs);
    expect(play.appends).toMatchObject([{ change: { type: "lost", id: a?.id } }]);
  });

  test("lets a member that left meanwhile leave", () => {
    const [play, [a]] = slowPlay(2);
    play.native(a?.address ?? "127.0.0.1:1").register();
    a?.leave("going home");
    play.reject("unavailable");
    expect(play.appends).toMatchObject([{ change: { type: "left", id: a?.id, reason: "going home" } }]);
  });
});

describe("a log that does not answer", () => {
  test("lets a newcomer go after a while, with a time to come back, and keeps its slot until it answers", () => {
    const [play] = slowPlay(0, 1);
    const a = play.native("127.0.0.1:14001").register();
    play.pass(play.limits.logAnswerMs);
    expect(a.end.last("refuse")).toMatchObject({ code: "STORE_UNAVAILABLE", retryMs: play.limits.logRetryMs });
    const b = play.native("127.0.0.1:14002").register();
    expect(b.end.last("waiting")).toMatchObject({ place: 1 });
    play.answer();
    expect(play.appends).toMatchObject([{ change: { type: "left", id: a.id } }]);
    play.answer();
    play.answer();
    expect(play.machine.members).toEqual([b.address]);
  });

  test("makes a member that comes back wait while its removal is not answered", () => {
    const [play, [a]] = slowPlay(2);
    const log = a?.end.last("admitted")?.log ?? "";
    a?.die();
    expect(play.appends).toMatchObject([{ change: { type: "lost", id: a?.id } }]);
    a?.resume(2, log);
    expect(a?.end.last("refuse")).toMatchObject({ code: "STORE_UNAVAILABLE", retryMs: play.limits.logRetryMs });
    play.answer();
    a?.resume(2, log);
    expect(a?.end.last("refuse")).toMatchObject({ code: "FENCED" });
  });
});

test("whoever is called from the line keeps its place while the log takes nothing", () => {
  const [play, [a]] = slowPlay(1, 1);
  const [first, second] = [14_101, 14_102].map((port) => play.native(`127.0.0.1:${port}`).register()) as [
    Player,
    Player,
  ];
  a?.leave();
  play.answer();
  expect(play.appends).toMatchObject([{ change: { type: "joined", id: first.id } }]);
  play.reject("unavailable");
  expect(first.end.last("waiting")).toMatchObject({ place: 1 });
  expect([...first.end.all("refuse"), ...second.end.all("refuse")]).toEqual([]);
  play.pass(play.limits.logRetryMs);
  play.answer();
  play.settle();
  expect(play.machine.members).toEqual([first.address]);
});

test("a classic member that another server has removed is told so", () => {
  const [play] = slowPlay(0);
  const classic = play.call();
  classic.send("127.0.0.1:3001");
  play.pass(play.limits.quietMs);
  const [append] = play.appends;
  if (append?.change.type !== "joined") throw new Error("it is not appended");
  play.answer();
  play.appendElsewhere("default", { type: "lost", id: append.change.id, reason: "not back" });
  play.pass(play.limits.messageGapMs);
  expect([classic.text, classic.state]).toEqual([expect.stringContaining("refused FENCED"), "halfClosed"]);
  expect(play.appends).toEqual([]);
});

describe("a corrected address that the log rejects", () => {
  /** A full mesh of a classic member, which then corrects its port from 300 to 3001. */
  function correctedPlay(): [Play, Caller] {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const classic = play.call();
    classic.send("127.0.0.1:300");
    play.pass(play.limits.quietMs);
    play.isLogSlow = true;
    classic.send("1");
    play.pass(play.limits.quietMs);
    return [play, classic];
  }

  test("is one entry, so that a full mesh never has one member too many", () => {
    const [play] = correctedPlay();
    expect(play.appends).toMatchObject([{ change: { type: "replaced", address: "127.0.0.1:3001" } }]);
    expect(play.eventsOf("left")).toEqual([]);
    play.answer();
    expect(play.machine.members).toEqual(["127.0.0.1:3001"]);
  });

  test("is tried once more after a conflict, in the slot of the old one", () => {
    const [play] = correctedPlay();
    play.reject("conflict");
    expect(play.appends).toMatchObject([{ change: { type: "replaced", address: "127.0.0.1:3001" } }]);
    play.answer();
    expect(play.machine.presentIn("default")).toEqual(["127.0.0.1:3001"]);
  });

  test("ends the session and removes the old entry while the log takes nothing", () => {
    const [play, classic] = correctedPlay();
    play.reject("unavailable");
    expect(classic.text).toContain("STORE_UNAVAILABLE");
    expect(play.appends).toMatchObject([{ change: { type: "left" } }]);
    play.answer();
    expect(play.machine.members).toEqual([]);
  });

  test("leaves nothing of a member that has gone meanwhile", () => {
    const [play, classic] = correctedPlay();
    classic.close();
    play.reject("conflict");
    play.answer();
    expect([play.machine.members, play.appends]).toEqual([[], []]);
  });
});

describe("a removal that the log rejects", () => {
  test.each(["unavailable", "conflict"] as const)("is appended again after a while (%s)", (reason) => {
    const [play, [a]] = slowPlay(2);
    a?.leave();
    play.reject(reason);
    expect(play.appends).toEqual([]);
    play.pass(play.limits.logRetryMs);
    expect(play.appends).toMatchObject([{ change: { type: "left", id: a?.id } }]);
    play.answer();
    expect(play.machine.members).toHaveLength(1);
  });

  test("is not appended again if another server has removed the member", () => {
    const [play, [a]] = slowPlay(2);
    a?.leave();
    play.reject("conflict");
    play.appendElsewhere("default", { type: "lost", id: a?.id ?? "", reason: "not back" });
    play.pass(play.limits.logRetryMs);
    expect(play.appends).toEqual([]);
  });
});

test("those in line keep their places while the log takes nothing", () => {
  const [play] = slowPlay(0, 1);
  play.native("127.0.0.1:14001").register();
  const next = play.native("127.0.0.1:14002").register();
  play.reject("unavailable");
  expect(next.end.all("refuse")).toEqual([]);
  expect(play.appends).toEqual([]);
  play.pass(play.limits.logRetryMs);
  expect(play.dials.filter(({ to }) => to === next.address)).toHaveLength(2);
});

test("a member that another server appended is lost unless a session resumes as it within a lease", () => {
  const [play] = slowPlay(1);
  play.appendElsewhere("default", { type: "joined", id: "ee", address: "127.0.0.1:14009", dialect: "native" });
  expect(play.machine.presentIn("default")).toHaveLength(1);
  play.pass(2 * play.limits.leaseMs);
  expect(play.appends).toMatchObject([{ change: { type: "lost", id: "ee" } }]);
});
