import { describe, expect, it } from "vitest";
import { type Caller, Play } from "./play.js";

/** Classic members, whose log answers when the test says so. */
function slowPlay(capacity: number, onFull: "teardown" | "hold"): Play {
  const play = new Play({ capacity, onFull, mayAdvertise: () => true });
  play.isLogSlow = true;
  return play;
}

function register(play: Play, address: string): Caller {
  const caller = play.call();
  caller.send(address);
  return caller;
}

describe("a rendezvous", () => {
  it("believes a membership when its entry has come back, and not before", () => {
    const play = slowPlay(3, "teardown");
    register(play, "127.0.0.1:14001");
    expect(play.machine.members).toEqual([]);
    play.answer();
    expect(play.machine.members).toEqual(["127.0.0.1:14001"]);
  });

  it("counts an append under way against the capacity", () => {
    const play = slowPlay(1, "hold");
    register(play, "127.0.0.1:14001");
    register(play, "127.0.0.1:14002");
    expect(play.appends).toHaveLength(1);
    expect(play.events).toMatchObject([{ type: "waiting", address: "127.0.0.1:14002", place: 1 }]);
  });

  it("takes an entry that the log tells twice for one", () => {
    const play = slowPlay(3, "teardown");
    register(play, "127.0.0.1:14001");
    const [append] = play.appends;
    play.answer();
    if (append?.change.type !== "joined") throw new Error("nobody has joined");
    play.give({ type: "appended", mesh: "default", entry: { ...append.change, order: 1, revision: 1 } });
    expect(play.machine.members).toEqual(["127.0.0.1:14001"]);
    expect(play.appends).toEqual([]);
    expect(play.events).toHaveLength(1);
  });

  it("tells the first ten in line that they have moved up, and not the whole line at every step", () => {
    const play = slowPlay(1, "hold");
    register(play, "127.0.0.1:14001");
    play.answer();
    const line = Array.from({ length: 101 }, (_, index) => register(play, `127.0.0.1:${14_002 + index}`));
    play.events.length = 0;
    line[0]?.close();
    const places = play.eventsOf("waiting");
    expect(places).toHaveLength(10);
    expect(places[0]).toMatchObject({ address: "127.0.0.1:14003", place: 1 });
  });

  it("gives a classic member an id of its own, and the revision as its order", () => {
    const play = new Play();
    register(play, "127.0.0.1:14001");
    register(play, "127.0.0.1:14002");
    const [first, second] = play.eventsOf("joined");
    expect(first).toMatchObject({ mesh: "default", dialect: "classic", order: 1 });
    expect(second).toMatchObject({ mesh: "default", dialect: "classic", order: 2 });
    expect(first?.id).toMatch(/^[0-9a-f]{32}$/);
    expect(second?.id).not.toBe(first?.id);
  });

  it("tells at the end of a classic mesh that no pair of it could be attested, and then tears it down", () => {
    const play = new Play({ capacity: 3 });
    const callers = [14_001, 14_002, 14_003].map((port) => register(play, `127.0.0.1:${port}`));
    play.pass(play.limits.settleMs - 1);
    expect(play.eventsOf("teardown")).toEqual([]);
    expect(play.eventsOf("complete")).toEqual([]);
    play.pass(play.limits.messageGapMs + 1);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 3, links: 0, unverified: 3, revision: 3 }]);
    expect(play.eventsOf("teardown")).toMatchObject([{ reason: "capacity reached", members: 3, count: 0 }]);
    expect(play.events.findIndex(({ type }) => type === "complete")).toBeLessThan(
      play.events.findIndex(({ type }) => type === "teardown"),
    );
    play.pass(play.limits.messageGapMs);
    for (const caller of callers) {
      expect(caller.text.endsWith("teardown")).toBe(true);
      expect(caller.state).toBe("halfClosed");
      caller.close();
    }
    expect(play.eventsOf("closed")).toHaveLength(1);
    expect(play.hasStoppedListening).toBe(true);
  });

  it("gives a port as much time to a lone classic member as to several", () => {
    const play = new Play({ capacity: 1 });
    register(play, "127.0.0.1:14001");
    play.pass(play.limits.settleMs - 1);
    expect(play.eventsOf("teardown")).toEqual([]);
    play.pass(1);
    expect(play.eventsOf("teardown")).toHaveLength(1);
  });

  it("says what the native preface and classic words come to on a port of the other dialect", () => {
    const onlyNative = new Play({ dialect: "native" });
    const classic = register(onlyNative, "127.0.0.1:14001");
    expect(classic.text).toMatch(/^refused WRONG_DIALECT: /);
    const onlyClassic = new Play({ dialect: "classic" });
    const native = onlyClassic.native("127.0.0.1:14001").register();
    expect(native.end.last("refuse")).toMatchObject({ code: "WRONG_DIALECT" });
    expect(onlyClassic.dials).toEqual([]);
    for (const play of [onlyNative, onlyClassic]) expect(play.notes).toEqual(["WRONG_DIALECT"]);
  });
});

describe("lists to classic members", () => {
  function listsOf(caller: Caller): string[] {
    return caller.text.split("list:\n").slice(1);
  }

  /** Somebody registers and goes at once. */
  function passBy(play: Play, port: number): void {
    const caller = register(play, `127.0.0.1:${port}`);
    caller.finish();
    caller.close();
  }

  it("go to everybody within the gap between two messages while a small mesh grows", () => {
    const play = new Play();
    const callers = Array.from({ length: 40 }, (_, index) => {
      const caller = register(play, `127.0.0.1:${14_001 + index}`);
      expect(listsOf(caller)).toHaveLength(1);
      play.pass(play.limits.messageGapMs);
      return caller;
    });
    const [first] = callers;
    expect(listsOf(first as Caller)).toHaveLength(40);
    for (const caller of callers) expect(listsOf(caller).at(-1)?.split("\n")).toHaveLength(40);
  });

  it("become rare while somebody comes and goes, and the newest one comes within the longest gap", () => {
    const play = new Play();
    const first = register(play, "127.0.0.1:14001");
    register(play, "127.0.0.1:14002");
    play.pass(10_000);
    const before = listsOf(first).length;
    for (let index = 0; index < 2_000; index += 1) {
      passBy(play, 15_000);
      play.pass(10);
    }
    expect(listsOf(first).length - before).toBeLessThan(15);
    const newcomer = register(play, "127.0.0.1:14003");
    play.pass(play.limits.listGapMaxMs);
    const newest = "127.0.0.1:14001\n127.0.0.1:14002\n127.0.0.1:14003";
    expect([listsOf(first).at(-1), listsOf(newcomer).at(-1)]).toEqual([newest, newest]);
    play.pass(2 * play.limits.listGapMaxMs);
    const last = register(play, "127.0.0.1:14004");
    expect([listsOf(first).at(-1), listsOf(last).at(-1)]).toEqual(new Array(2).fill(`${newest}\n127.0.0.1:14004`));
  });

  it("take no more a second than the rate allows, however large the mesh that grows", () => {
    const play = new Play({ limits: { listRateBytes: 100_000 } });
    let mostBytes = 0;
    for (let index = 0; index < 60; index += 1) {
      const before = play.sentBytes;
      for (let join = 0; join < 5; join += 1) {
        register(play, `127.0.0.1:${14_000 + 5 * index + join}`);
        play.pass(200);
      }
      mostBytes = Math.max(mostBytes, play.sentBytes - before);
    }
    // One list to all may begin in the second that the one before has paid for; each newcomer has its own besides.
    const list = 16 * 300;
    expect(mostBytes).toBeLessThan(100_000 + 300 * list + 5 * list);
    expect(play.sentBytes).toBeLessThan(60 * 100_000 + 300 * list + 300 * list);
  });

  it("are sent before a mesh ends at its capacity, also after many have come and gone", () => {
    const play = new Play({ capacity: 3 });
    const first = register(play, "127.0.0.1:14001");
    for (let index = 0; index < 500; index += 1) {
      passBy(play, 15_000);
      play.pass(10);
    }
    for (const port of [14_002, 14_003]) register(play, `127.0.0.1:${port}`);
    play.pass(play.limits.listGapMaxMs + play.limits.settleMs + 1_000);
    expect(play.eventsOf("teardown")).toMatchObject([{ members: 3 }]);
    expect(first.text.endsWith("list:\n127.0.0.1:14001\n127.0.0.1:14002\n127.0.0.1:14003teardown")).toBe(true);
  });
});
