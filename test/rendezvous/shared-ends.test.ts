import { describe, expect, test } from "vitest";
import type { Address } from "../../src/protocol/address.js";
import { linkAll, nativeMembers } from "./play.js";
import { answersEverywhere, at, comesBack, SharedStore } from "./shared-play.js";

const leaseMs = 20_000;

describe("a capacity over two servers", () => {
  test("is one: a newcomer whose append comes second waits where members may wait", () => {
    const store = new SharedStore({ capacity: 2, onFull: "hold" });
    const [a, b] = [store.start(), store.start()];
    nativeMembers(a.play, 1);
    a.isCut = true;
    const late = a.play.native("127.0.0.1:14002").register();
    const first = b.play.native("127.0.0.1:14101").register();
    a.isCut = false;
    a.catchUp();
    store.settle();
    expect(first.end.last("admitted")?.order).toBe(first.order);
    expect(late.end.last("admitted")).toBeUndefined();
    expect(late.end.last("waiting")?.place).toBe(1);
    first.leave();
    store.settle();
    expect(a.play.machine.membersOf("default")).toEqual(["127.0.0.1:14001", "127.0.0.1:14002"]);
  });

  test("is not held up by who stood in the line of a server that is gone: the others know the mesh", () => {
    const store = new SharedStore({ capacity: 3, onFull: "hold" });
    const [a, b] = [store.start(), store.start()];
    nativeMembers(a.play, 1);
    store.settle();
    const waiter = b.play.native("127.0.0.1:14101").register({ waited: true });
    store.settle();
    expect(waiter.end.last("waiting")).toBeUndefined();
    expect(waiter.end.last("admitted")?.order).toBe(waiter.order);
  });

  test("seals the mesh where it ends at its capacity", () => {
    const store = new SharedStore({ capacity: 2 });
    const [a, b] = [store.start(), store.start()];
    nativeMembers(a.play, 1);
    a.isCut = true;
    const late = a.play.native("127.0.0.1:14002").register();
    b.play.native("127.0.0.1:14101").register();
    a.isCut = false;
    a.catchUp();
    store.settle();
    expect(late.end.last("refuse")?.code).toBe("MESH_SEALED");
  });

  test("ends it at both once it is whole, and a member that comes back later is told so", () => {
    const store = new SharedStore({ capacity: 2 });
    const [a, b] = [store.start(), store.start()];
    const members = [...nativeMembers(a.play, 1), ...nativeMembers(b.play, 1, "default", 14_101)];
    store.settle();
    linkAll(members);
    store.settle();
    expect(members.map(({ end }) => end.last("teardown")?.reason)).toEqual(["capacity reached", "capacity reached"]);
    for (const { play } of [a, b]) expect(play.eventsOf("teardown").length).toBe(1);
    expect(store.fold().ended?.kind).toBe("teardown");
  });
});

describe("an end that one server is told to bring about", () => {
  test("is told at both, once its log has it", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const members = [...nativeMembers(a.play, 1), ...nativeMembers(b.play, 1, "default", 14_101)];
    b.isCut = true;
    b.play.give({ type: "teardown", reason: "enough" });
    store.settle();
    expect(members.map(({ end }) => end.last("teardown"))).toEqual([undefined, undefined]);
    b.isCut = false;
    b.catchUp();
    store.settle();
    expect(members.map(({ end }) => end.last("teardown")?.reason)).toEqual(["enough", "enough"]);
    for (const { play } of [a, b]) expect(play.hasStoppedListening).toBe(true);
  });

  test("is told a member that comes late by a server that was started meanwhile, until a new log begins", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [, late] = nativeMembers(a.play, 2);
    if (late === undefined) throw new Error("nobody");
    answersEverywhere(store, late);
    late.caller.close("ECONNRESET");
    store.settle();
    b.play.give({ type: "teardown", reason: "enough" });
    store.settle();
    const c = store.start();
    const { revision, head } = store.fold();
    expect(at(c, late).resume(revision, head.log).end.last("teardown")?.reason).toBe("enough");
    const newcomer = c.play.native("127.0.0.1:14301").register();
    store.settle();
    expect(newcomer.order).toBeGreaterThan(late.order);
    const again = at(c, late).resume(revision, head.log);
    store.settle();
    expect(again.end.last("teardown")).toBeUndefined();
  });

  test("comes without the log if that does not answer", () => {
    const store = new SharedStore();
    const a = store.start();
    const [member] = nativeMembers(a.play, 1);
    a.isCut = true;
    a.play.give({ type: "teardown", reason: "enough" });
    store.pass(a.play.limits.logAnswerMs + 1);
    expect(member?.end.last("teardown")?.reason).toBe("enough");
  });

  test("may be that the mesh is left to its members", () => {
    const store = new SharedStore({ dialect: "native" });
    const [a, b] = [store.start(), store.start()];
    const members = [...nativeMembers(a.play, 1), ...nativeMembers(b.play, 1, "default", 14_101)];
    store.settle();
    a.play.give({ type: "release", reason: "no need of it" });
    store.settle();
    expect(members.map(({ end }) => end.last("release")?.reason)).toEqual(["no need of it", "no need of it"]);
    for (const { play } of [a, b]) expect(play.eventsOf("released").length).toBe(1);
  });
});

describe("a grant", () => {
  test("to a member at another server is dropped beyond so many in a second: each is written to the store", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [owner] = nativeMembers(a.play, 1);
    const [later] = nativeMembers(b.play, 1, "default", 14_101);
    store.settle();
    if (owner === undefined || later === undefined) throw new Error("nobody");
    for (let attempt = 1; attempt <= 40; attempt += 1) {
      owner.caller.say({ type: "grant", owner: owner.id, later: later.id, attempt });
    }
    store.settle();
    expect(later.end.all("grant").length).toBe(32);
    expect(a.play.notes.filter((note) => note === "GRANT_DROPPED")).toEqual(["GRANT_DROPPED"]);
  });

  test("is passed on to a member at another server, by the end that owns the link only", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [owner, later] = [nativeMembers(a.play, 1)[0], nativeMembers(b.play, 1, "default", 14_101)[0]];
    store.settle();
    if (owner === undefined || later === undefined) throw new Error("nobody");
    const grant = { type: "grant", owner: owner.id, later: later.id, attempt: 1 } as const;
    owner.caller.say(grant);
    store.settle();
    expect(later.end.all("grant").length).toBe(1);
    later.caller.say(grant);
    store.settle();
    expect(owner.end.all("grant")).toEqual([]);
    expect(later.end.all("grant").length).toBe(1);
  });
});

describe("a store that is away", () => {
  test("lets nobody in, and sends members to the other servers if there are any", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [member] = nativeMembers(a.play, 1);
    nativeMembers(b.play, 1, "default", 14_101);
    if (member === undefined) throw new Error("nobody");
    a.isCut = true;
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    expect(member.end.last("refuse")?.code).toBe("STORE_UNAVAILABLE");
    expect(member.end.last("refuse")?.retryMs).toBeGreaterThan(0);
    const newcomer = a.play.native("127.0.0.1:14002").register();
    expect(newcomer.end.last("refuse")?.code).toBe("STORE_UNAVAILABLE");
    comesBack(store, b, member);
    store.pass(3 * leaseMs);
    a.isCut = false;
    a.play.give({ type: "storeBack" });
    a.catchUp();
    store.settle();
    for (const { play } of [a, b]) {
      expect(play.eventsOf("lost")).toEqual([]);
      expect(play.machine.presentIn("default")).toEqual(["127.0.0.1:14001", "127.0.0.1:14101"]);
    }
    expect(a.play.native("127.0.0.1:14002").register().end.last("refuse")).toBeUndefined();
  });

  test("leaves the sessions of the only server open, and nothing is said to be complete meanwhile", () => {
    const store = new SharedStore();
    const a = store.start();
    const members = nativeMembers(a.play, 2);
    linkAll(members);
    store.settle();
    expect(a.play.machine.status("default", store.now).complete).toBe(true);
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    expect(members.map(({ caller }) => caller.state)).toEqual(["open", "open"]);
    expect(a.play.machine.status("default", store.now).complete).toBe(false);
    answersEverywhere(store, ...members);
    members[1]?.caller.close("ECONNRESET");
    store.pass(3 * leaseMs);
    expect(a.play.eventsOf("lost")).toEqual([]);
    // A dial that found it would give it one more lease.
    a.play.dialed = ({ to }) => to === members[1]?.address;
    a.play.give({ type: "storeBack" });
    // The member still reports the link: the witness must go first.
    members[0]?.reportAll();
    store.pass(leaseMs - 1_000);
    expect(a.play.eventsOf("lost")).toEqual([]);
    store.pass(2_000);
    expect(a.play.eventsOf("lost").length).toBe(1);
  });

  test("gives a mesh of which nobody is there a whole lease when it is back", () => {
    const store = new SharedStore();
    const a = store.start();
    const [member] = nativeMembers(a.play, 1);
    if (member === undefined) throw new Error("nobody");
    member.die();
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    store.pass(3 * leaseMs);
    a.play.give({ type: "storeBack" });
    store.pass(leaseMs - 1_000);
    expect(a.play.eventsOf("forgotten")).toEqual([]);
    store.pass(2_000);
    expect(a.play.eventsOf("forgotten").length).toBe(1);
  });

  test("judges nobody, though an address refuses a dial, until it is back", () => {
    const store = new SharedStore();
    const a = store.start();
    const [, member] = nativeMembers(a.play, 2);
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    member?.die();
    store.pass(3 * leaseMs);
    expect(a.play.eventsOf("lost")).toEqual([]);
    a.play.give({ type: "storeBack" });
    store.settle();
    expect(a.play.eventsOf("lost").length).toBe(1);
  });

  test("lets nobody of an earlier log be given up who could not come back meanwhile", () => {
    const store = new SharedStore();
    const a = store.start();
    const [one, two] = ["127.0.0.1:14001", "127.0.0.1:14002"].map((address, index) => {
      const player = a.play.native(address as Address);
      player.lastOrder = 101 + index;
      return player;
    });
    if (one === undefined || two === undefined) throw new Error("nobody");
    one.known = [{ members: [two.row], gone: [] }];
    one.resume(500, "e".repeat(32));
    store.settle();
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    store.pass(3 * leaseMs);
    a.play.give({ type: "storeBack" });
    store.pass(leaseMs - 1_000);
    two.resume(500, "e".repeat(32));
    store.settle();
    expect(two.order).toBe(102);
    expect(a.play.eventsOf("lost")).toEqual([]);
  });

  test("has not been reached yet by a server that starts", () => {
    const store = new SharedStore();
    const a = store.start();
    expect(a.play.native("127.0.0.1:14001").register().end.last("refuse")).toBeUndefined();
    a.isCut = true;
    const b = store.start();
    b.play.give({ type: "storeLost", reason: "the store does not answer" });
    expect(b.play.native("127.0.0.1:14101").register().end.last("refuse")?.code).toBe("STORE_UNAVAILABLE");
  });
});

describe("a log that is read anew", () => {
  test("brings what was missed, and the answers of the own appends", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [, gone] = nativeMembers(a.play, 2);
    const [kept] = nativeMembers(b.play, 1, "default", 14_101);
    store.settle();
    b.isCut = true;
    const newcomer = b.play.native("127.0.0.1:14102").register();
    expect(newcomer.end.last("admitted")).toBeUndefined();
    gone?.leave();
    store.settle();
    nativeMembers(a.play, 1, "default", 14_003);
    // What it had written was performed, and the answer went astray.
    for (const what of b.written.splice(0)) what();
    b.unread.length = 0;
    b.isCut = false;
    store.restore(b, "default", [{ key: 2, isAppended: true }]);
    store.settle();
    const listed = ["127.0.0.1:14001", "127.0.0.1:14101", "127.0.0.1:14003", "127.0.0.1:14102"];
    expect(b.play.machine.membersOf("default")).toEqual(listed);
    expect(b.play.machine.presentIn("default")).toEqual(listed);
    expect(newcomer.end.last("admitted")?.order).toBe(store.fold().state.members.at(-1)?.order);
    expect(kept?.end.last("directory")?.members.map(({ address }) => address)).toEqual(listed);
    expect(b.play.machine.revisionOf("default")).toBe(store.fold().revision);
    if (kept === undefined) throw new Error("nobody");
    // How the log came to that is not known.
    const { revision, head } = store.fold();
    const twin = at(b, kept).resume(revision - 1, head.log);
    store.settle();
    expect(twin.end.all("entries")).toEqual([]);
    expect(twin.end.last("directory")?.members.length).toBe(4);
    newcomer.leave();
    store.settle();
    expect(a.play.machine.membersOf("default")).toEqual(listed.slice(0, 3));
  });

  test("says that an append does not count: it is judged anew", () => {
    const store = new SharedStore({ capacity: 2 });
    const [a, b] = [store.start(), store.start()];
    nativeMembers(a.play, 1);
    b.isCut = true;
    const late = b.play.native("127.0.0.1:14101").register();
    nativeMembers(a.play, 1, "default", 14_002);
    for (const what of b.written.splice(0)) what();
    b.unread.length = 0;
    b.isCut = false;
    store.restore(b, "default", [{ key: 1, isAppended: false }]);
    expect(late.end.last("refuse")?.code).toBe("MESH_SEALED");
  });

  test("of a mesh that makes no sense refuses that mesh alone", () => {
    const store = new SharedStore();
    const a = store.start();
    nativeMembers(a.play, 1);
    a.play.give({ type: "corrupt", mesh: "default", reason: "a key is no entry" });
    expect(a.play.native("127.0.0.1:14002").register().end.last("refuse")?.code).toBe("STORE_CORRUPT");
    const other = a.play.native("127.0.0.1:14003", "other").register();
    store.settle();
    expect(other.end.last("admitted")?.order).toBeGreaterThan(0);
    a.play.give({ type: "repaired", mesh: "default" });
    const next = a.play.native("127.0.0.1:14004").register();
    store.settle();
    expect(next.end.last("admitted")?.order).toBeGreaterThan(0);
  });

  test("behind what a member has read is late at first, and then rolled back", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [member] = nativeMembers(a.play, 1);
    if (member === undefined) throw new Error("nobody");
    member.caller.close("ECONNRESET");
    store.settle();
    const { revision, head } = store.fold();
    const ahead = (): string | undefined => {
      return at(b, member)
        .resume(revision + 1, head.log)
        .end.last("refuse")?.code;
    };
    expect(ahead()).toBe("STORE_UNAVAILABLE");
    store.pass(b.play.limits.storeLeaseMs / 2);
    expect(ahead()).toBe("STORE_ROLLED_BACK");
    expect(b.play.hasStoppedListening).toBe(false);
  });

  test("behind what a member has read, and once more after it has come to that, is late again", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [member] = nativeMembers(a.play, 1);
    if (member === undefined) throw new Error("nobody");
    member.caller.close("ECONNRESET");
    store.settle();
    const ahead = (): string | undefined => {
      const { revision, head } = store.fold();
      return at(b, member)
        .resume(revision + 1, head.log)
        .end.last("refuse")?.code;
    };
    expect(ahead()).toBe("STORE_UNAVAILABLE");
    a.play.native("127.0.0.1:14009").register();
    store.settle();
    store.pass(b.play.limits.storeLeaseMs / 2);
    expect(ahead()).toBe("STORE_UNAVAILABLE");
  });
});

describe("an earlier log that was lost", () => {
  test("is learned by two servers at once, and neither says complete while the other awaits somebody", () => {
    const store = new SharedStore({ capacity: 2, onFull: "hold" });
    const [a, b] = [store.start(), store.start()];
    const log = "e".repeat(32);
    const players = [a, b, a].map(({ play }, index) => {
      const player = play.native(`127.0.0.1:${14_001 + index}`);
      player.lastOrder = 101 + index;
      return player;
    });
    const [one, two, three] = players;
    if (one === undefined || two === undefined || three === undefined) throw new Error("nobody");
    one.known = [{ members: [three.row], gone: [] }];
    one.resume(500, log);
    two.resume(500, log);
    store.settle();
    expect([one.order, two.order]).toEqual([101, 102]);
    linkAll([one, two]);
    store.settle();
    // Only the first server was told of the third member.
    expect(b.play.machine.status("default", store.now).complete).toBe(false);
    three.resume(500, log);
    store.settle();
    linkAll(players, 2);
    store.settle();
    for (const { play } of [a, b]) {
      expect(play.machine.membersOf("default")).toEqual(players.map(({ address }) => address));
      expect(play.machine.status("default", store.now).complete).toBe(true);
      expect(play.eventsOf("lost")).toEqual([]);
    }
    const newcomer = b.play.native("127.0.0.1:14009").register();
    store.settle();
    expect(newcomer.end.last("waiting")?.place).toBe(1);
  });

  test("makes its servers begin anew, without losing those who come back", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const members = [...nativeMembers(a.play, 1), ...nativeMembers(b.play, 1, "default", 14_101)];
    const [one, two] = members;
    if (one === undefined || two === undefined) throw new Error("nobody");
    store.settle();
    const before = store.fold().head.log;
    store.wipe();
    const revision = 2_000;
    // Somebody joins, and with that a new log begins.
    a.play.native("127.0.0.1:14009").register();
    store.settle();
    expect(members.map(({ caller }) => caller.state)).toEqual(["halfClosed", "halfClosed"]);
    const orders = [one.order, two.order];
    one.resume(revision, before);
    two.resume(revision, before);
    store.settle();
    expect([one.order, two.order]).toEqual(orders);
    expect(b.play.machine.presentIn("default")).toContain(one.address);
    expect([a, b].flatMap(({ play }) => play.eventsOf("lost"))).toEqual([]);
  });
});
