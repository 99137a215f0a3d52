import { describe, expect, test } from "vitest";
import { linkAll, nativeMembers, type Player } from "./play.js";
import { answersEverywhere, at, comesBack, type SharedServer, SharedStore, twoServers } from "./shared-play.js";

const leaseMs = 20_000;

describe("members of servers that share a log", () => {
  test("are seen at every server, with the order that the log has given", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [one, two] = [nativeMembers(a.play, 1)[0], nativeMembers(b.play, 1, "default", 14_101)[0]];
    store.settle();
    expect(a.play.machine.membersOf("default")).toEqual(["127.0.0.1:14001", "127.0.0.1:14101"]);
    expect(b.play.machine.membersOf("default")).toEqual(["127.0.0.1:14001", "127.0.0.1:14101"]);
    expect(b.play.machine.presentIn("default")).toEqual(["127.0.0.1:14001", "127.0.0.1:14101"]);
    expect(one?.end.last("entries")?.entries.length).toBeGreaterThan(0);
    expect(two?.end.last("admitted")?.log).toBe(one?.end.last("admitted")?.log);
    expect(two?.end.last("admitted")?.log).toBe(store.fold().head.log);
  });

  test("are known to a server that starts later, which lets newcomers in at once", () => {
    const store = new SharedStore();
    const a = store.start();
    nativeMembers(a.play, 2);
    const b = store.start();
    expect(b.play.machine.presentIn("default")).toEqual(["127.0.0.1:14001", "127.0.0.1:14002"]);
    expect(b.play.eventsOf("joined").map(({ returned }) => returned)).toEqual([true, true]);
    const newcomer = b.play.native("127.0.0.1:14101").register({ looked: true });
    store.pass(20);
    expect(newcomer.end.last("admitted")?.servers).toEqual([a.address]);
    expect(newcomer.end.last("directory")?.members.length).toBe(3);
    expect(b.play.eventsOf("joined").at(-1)?.returned).toBeUndefined();
    const rows = b.play.machine.status("default", store.now).members;
    expect(rows.map(({ server }) => server)).toEqual([a.address, a.address, undefined]);
  });

  test("are sent back by a server that has not read their log, and go on once it has", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    b.isCut = true;
    const [one, two] = nativeMembers(a.play, 2);
    if (one === undefined || two === undefined) throw new Error("nobody");
    two.caller.close("ECONNRESET");
    const early = at(b, two);
    early.known = [{ members: [{ id: one.id, order: one.order, address: one.address, dialect: "native" }], gone: [] }];
    early.resume(store.fold().revision, store.fold().head.log);
    b.isCut = false;
    b.catchUp();
    expect(early.end.last("refuse")?.code).toBe("STORE_UNAVAILABLE");
    expect(early.end.last("directory")).toBeUndefined();
    // What it has written for a member of an earlier log does not count, and changes nothing.
    const states = (): string[] => b.play.machine.status("default", store.now).members.map(({ state }) => state);
    expect(states()).toEqual(["member", "suspect"]);
    const twin = comesBack(store, b, two);
    store.pass(3 * leaseMs);
    expect(twin.end.last("admitted")?.order).toBe(two.order);
    expect(states()).toEqual(["member", "member"]);
    expect([a, b].flatMap(({ play }) => play.eventsOf("lost"))).toEqual([]);
  });

  test("are awaited by nobody once they were sent back, also where that they were is written late", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    b.isCut = true;
    const [, member] = nativeMembers(a.play, 2);
    if (member === undefined) throw new Error("nobody");
    const early = at(b, member);
    early.known = undefined;
    early.resume(store.fold().revision, store.fold().head.log);
    b.isCut = false;
    b.catchUp();
    store.settle();
    const awaited = b.play.published.flatMap(({ fact }) => (fact.type === "awaiting" ? [fact.count] : []));
    expect(awaited).toEqual([1, 0]);
  });

  test("are members still at a server whose own entry for them comes second", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    nativeMembers(a.play, 1);
    a.isCut = true;
    const member = a.play.native("127.0.0.1:14101").register();
    at(b, member).register();
    member.die();
    store.settle();
    a.isCut = false;
    a.catchUp();
    expect(a.play.machine.status("default", store.now).members.map(({ state }) => state)).toEqual(["member", "member"]);
    expect(a.play.machine.presentIn("default")).toEqual(["127.0.0.1:14001", "127.0.0.1:14101"]);
  });

  test("are nobody's loss when a session breaks and they go on at another server", () => {
    const { store, a, b, member } = twoServers();
    member.caller.close("ECONNRESET");
    store.settle();
    expect(b.play.machine.presentIn("default")).toEqual(["127.0.0.1:14001"]);
    const twin = comesBack(store, b, member);
    store.pass(3 * leaseMs);
    expect(twin.end.last("admitted")?.order).toBe(member.order);
    expect([a, b].flatMap(({ play }) => play.eventsOf("lost"))).toEqual([]);
    expect(a.play.machine.presentIn("default")).toEqual(["127.0.0.1:14001", "127.0.0.1:14002"]);
  });

  test("have their reports published whole, the less often the more these name", () => {
    const store = new SharedStore();
    const a = store.start();
    const members = nativeMembers(a.play, 41);
    store.settle();
    const [flapping, ...others] = members;
    const before = a.play.published.length;
    const down = others.map(({ id }): [string, "refused", number, string] => [id, "refused", 1, "x"]);
    for (let round = 0; round < 80; round += 1) {
      flapping?.caller.say({ type: "links", up: [], down: round % 2 === 0 ? down : down.slice(1) });
      store.pass(50);
    }
    const reports = a.play.published.slice(before).filter(({ fact }) => fact.type === "reported");
    // 40 links that are down: one each 400 ms, in 4 s.
    expect(reports.length).toBeGreaterThan(5);
    expect(reports.length).toBeLessThan(12);
  });

  test("have their older session closed by the server that they have left", () => {
    const { store, a, b, member } = twoServers();
    comesBack(store, b, member);
    store.settle();
    expect(member.caller.state).toBe("halfClosed");
    expect(store.fold().state.attachments.find(({ id }) => id === member.id)?.server).toBe(b.id);
    store.pass(2 * leaseMs);
    expect([a, b].flatMap(({ play }) => play.eventsOf("lost"))).toEqual([]);
  });

  test("are not lost by a removal that their server wrote before it read that they are at another one", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [, member] = nativeMembers(a.play, 2);
    nativeMembers(b.play, 1, "default", 14_101);
    if (member === undefined) throw new Error("nobody");
    a.isCut = true;
    member.die();
    store.settle();
    const twin = comesBack(store, b, member);
    expect(twin.end.last("refuse")).toBeUndefined();
    a.isCut = false;
    a.catchUp();
    store.pass(2 * leaseMs);
    for (const { play } of [a, b]) {
      expect(play.eventsOf("lost")).toEqual([]);
      expect(play.machine.presentIn("default")).toContain(member.address);
    }
  });

  test("have their session published again when that was lost with the store", () => {
    const { store, a, b, member } = twoServers();
    member.caller.close("ECONNRESET");
    store.settle();
    a.isCut = true;
    comesBack(store, a, member);
    a.written.length = 0;
    a.isCut = false;
    a.catchUp();
    expect(b.play.machine.presentIn("default")).not.toContain(member.address);
    a.play.give({ type: "storeBack" });
    expect(b.play.machine.presentIn("default")).toContain(member.address);
  });

  test("that were removed long ago are refused at every server", () => {
    const store = new SharedStore({ limits: { tombstones: 1 } });
    const [a, b] = [store.start(), store.start()];
    const [, gone, next] = nativeMembers(a.play, 3);
    const { revision, head } = store.fold();
    for (const player of [gone, next]) player?.leave();
    store.settle();
    if (gone === undefined) throw new Error("nobody");
    expect(at(b, gone).resume(revision, head.log).end.last("refuse")?.code).toBe("FENCED");
  });

  test("keep the newer session when the attachment to the other server comes late", () => {
    const { store, a, b, member } = twoServers();
    member.caller.close("ECONNRESET");
    store.settle();
    a.isCut = true;
    const first = comesBack(store, b, member);
    first.caller.close("ECONNRESET");
    const last = comesBack(store, a, member);
    a.isCut = false;
    a.catchUp();
    store.settle();
    expect(last.caller.state).toBe("open");
    expect(store.fold().state.attachments.find(({ id }) => id === member.id)?.server).toBe(a.id);
    expect(b.play.machine.presentIn("default")).toEqual(["127.0.0.1:14001", "127.0.0.1:14002"]);
  });

  test("are judged by the server that had them last, and lost once", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [, member] = nativeMembers(a.play, 2);
    nativeMembers(b.play, 1, "default", 14_101);
    member?.die();
    store.pass(100);
    // The address refuses a dial: that of its own server, nobody else dials.
    expect(a.play.eventsOf("lost").map(({ address }) => address)).toEqual(["127.0.0.1:14002"]);
    expect(b.play.dials.filter(({ to }) => to === "127.0.0.1:14002")).toEqual([]);
    expect(b.play.eventsOf("lost").length).toBe(1);
  });

  test("are not judged by a server that does not know that they are coming back", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [, member] = nativeMembers(a.play, 2);
    nativeMembers(b.play, 1, "default", 14_101);
    if (member === undefined) throw new Error("nobody");
    answersEverywhere(store, member);
    member.caller.close("ECONNRESET");
    store.pass(leaseMs - 100);
    // The first server dials it, to prove that it is back, and the dial takes its time.
    a.play.dialed = () => true;
    comesBack(store, a, member);
    store.pass(200);
    expect(b.play.eventsOf("lost")).toEqual([]);
  });
});

describe("a server that has gone", () => {
  test("leaves suspects at the others, which are lost once after a lease", () => {
    const store = new SharedStore();
    const [a, b, c] = [store.start(), store.start(), store.start()];
    const [gone, back] = nativeMembers(a.play, 2);
    nativeMembers(b.play, 1, "default", 14_101);
    nativeMembers(c.play, 1, "default", 14_201);
    if (gone === undefined || back === undefined) throw new Error("nobody");
    // No dial comes to anything: only the lease counts.
    for (const { play } of [b, c]) play.dialed = ({ to }) => to === gone.address;
    answersEverywhere(store, back);
    store.kill(a);
    store.settle();
    expect(b.play.machine.status("default", store.now).members.map(({ state }) => state)).toEqual([
      "suspect",
      "suspect",
      "member",
      "member",
    ]);
    comesBack(store, c, back);
    store.pass(leaseMs - 1_000);
    expect(b.play.eventsOf("lost")).toEqual([]);
    store.pass(2_000);
    for (const { play } of [b, c]) {
      expect(play.eventsOf("lost").map(({ address }) => address)).toEqual([gone.address]);
      expect(play.machine.presentIn("default")).toEqual([back.address, "127.0.0.1:14101", "127.0.0.1:14201"]);
    }
    store.pass(2 * leaseMs);
    expect(b.play.eventsOf("lost").length).toBe(1);
  });

  test("for the others only, since it cannot reach the store, gets nobody lost whom their dials find", () => {
    const store = new SharedStore();
    const a = store.start();
    const [one, two] = nativeMembers(a.play, 2);
    if (one === undefined || two === undefined) throw new Error("nobody");
    store.settle();
    // It knows no others, and so keeps its sessions.
    a.isCut = true;
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    const b = store.start();
    nativeMembers(b.play, 1, "default", 14_101);
    answersEverywhere(store, one, two);
    store.lose(a);
    store.pass(5 * leaseMs);
    expect(one.caller.state).toBe("open");
    expect(b.play.eventsOf("lost")).toEqual([]);
    // The next dial is refused, and nobody has a link with it.
    b.play.listen(one.address, undefined);
    store.pass(leaseMs + 1_000);
    expect(b.play.eventsOf("lost").map(({ address }) => address)).toEqual([one.address]);
    // Dials come to nothing from now on: what was found is worth one lease.
    b.play.dialed = ({ to }) => to === two.address;
    store.pass(2 * leaseMs + 1_000);
    expect(b.play.eventsOf("lost").map(({ address }) => address)).toEqual([one.address, two.address]);
  });

  test("and wakes up gets nobody lost who has gone on elsewhere", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    const [, member] = nativeMembers(a.play, 2);
    nativeMembers(b.play, 1, "default", 14_101);
    if (member === undefined) throw new Error("nobody");
    answersEverywhere(store, member);
    member.caller.close("ECONNRESET");
    store.pass(10);
    a.isStopped = true;
    store.lose(a);
    comesBack(store, b, member);
    store.pass(2 * leaseMs);
    store.wake(a);
    store.settle();
    expect(b.play.machine.presentIn("default")).toContain(member.address);
    expect(a.play.machine.presentIn("default")).toContain(member.address);
    expect(a.play.eventsOf("lost").map(({ address }) => address)).not.toContain(member.address);
  });

  test("is not the end of the mesh: it is forgotten when nobody is at any server for a lease", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    nativeMembers(a.play, 2);
    store.pass(3 * leaseMs);
    expect(b.play.eventsOf("forgotten")).toEqual([]);
    store.kill(a);
    store.pass(leaseMs - 1_000);
    expect(b.play.eventsOf("forgotten")).toEqual([]);
    store.pass(2_000);
    expect(b.play.eventsOf("forgotten").length).toBe(1);
    expect(b.play.eventsOf("lost")).toEqual([]);
    expect(b.play.machine.meshes).toEqual(["default"]);
    expect(b.play.machine.membersOf("default")).toEqual([]);
  });
});

describe("a mesh that one server forgets", () => {
  test("stays if somebody has come to another one before that", () => {
    const store = new SharedStore();
    const [a, b] = [store.start(), store.start()];
    nativeMembers(a.play, 1);
    store.settle();
    store.kill(a);
    store.pass(leaseMs / 2);
    const c = store.start();
    b.isCut = true;
    const newcomer = c.play.native("127.0.0.1:14201").register();
    store.pass(leaseMs);
    expect(newcomer.end.last("admitted")?.order).toBe(newcomer.order);
    expect(b.written.length).toBeGreaterThan(0);
    b.isCut = false;
    b.catchUp();
    store.settle();
    expect(store.fold().ended).toBeUndefined();
    for (const { play } of [b, c]) expect(play.machine.presentIn("default")).toEqual([newcomer.address]);
    newcomer.caller.close("ECONNRESET");
    store.kill(c);
    store.pass(2 * leaseMs);
    expect(b.play.eventsOf("forgotten").length).toBe(1);
  });
});

describe("a server that is late", () => {
  /** Two members at the first server and one at the second, linked, where the first server is stopped. */
  function stopped(): {
    store: SharedStore;
    a: SharedServer;
    b: SharedServer;
    one: Player;
    two: Player;
    three: Player;
  } {
    const store = new SharedStore({ capacity: 3, onFull: "hold" });
    const [a, b] = [store.start(), store.start()];
    const members = [...nativeMembers(a.play, 2), ...nativeMembers(b.play, 1, "default", 14_101)];
    const [one, two, three] = members;
    if (one === undefined || two === undefined || three === undefined) throw new Error("nobody");
    store.settle();
    linkAll(members);
    store.settle();
    return { store, a, b, one, two, three };
  }

  test("keeps no slot of a member that has gone meanwhile: the refusal of its address counts at once", () => {
    const { store, a, b, one, two, three } = stopped();
    answersEverywhere(store, two);
    const newcomer = b.play.native("127.0.0.1:14102").register();
    store.settle();
    expect(newcomer.end.last("waiting")?.place).toBe(1);
    store.stop(a);
    store.settle();
    // The other end of a link with it has not said that it has gone.
    expect(b.play.eventsOf("lost")).toEqual([]);
    three.unlinked(one, "broken", "it has left");
    store.settle();
    expect(b.play.eventsOf("lost").map(({ address }) => address)).toEqual([one.address]);
    expect(newcomer.end.last("admitted")?.order).toBe(newcomer.order);
    expect(b.play.machine.presentIn("default")).toContain(two.address);
    store.wake(a);
    store.pass(2 * leaseMs);
    expect(a.play.machine.membersOf("default")).toEqual(b.play.machine.membersOf("default"));
    expect(one.end.last("refuse")?.code).toBe("FENCED");
  });

  test("makes a member suspect whose link was known to be broken before", () => {
    const { store, a, b, one, two, three } = stopped();
    answersEverywhere(store, two);
    three.unlinked(one, "broken", "it has left");
    store.stop(a);
    store.settle();
    expect(b.play.eventsOf("lost").map(({ address }) => address)).toEqual([one.address]);
  });

  test("gets nobody lost who goes on elsewhere, also if it is gone later", () => {
    const { store, a, b, one, two } = stopped();
    answersEverywhere(store, one, two);
    store.stop(a);
    for (const member of [one, two]) comesBack(store, b, member);
    store.lose(a);
    store.pass(3 * leaseMs);
    expect(b.play.eventsOf("lost")).toEqual([]);
    expect(b.play.machine.presentIn("default").length).toBe(3);
  });

  test("has not changed anything when it goes on: members that live are neither lost nor absent", () => {
    const { store, a, b, one, two, three } = stopped();
    answersEverywhere(store, one, two);
    const revision = b.play.machine.revisionOf("default");
    store.stop(a);
    store.pass(7_000);
    expect(b.play.dials.map(({ to }) => to).sort()).toContain(one.address);
    const status = b.play.machine.status("default", store.now);
    expect(status.complete).toBe(true);
    expect(status.members.map(({ state }) => state)).toEqual(["member", "member", "member"]);
    store.wake(a);
    // Nobody at that server reports this link again: only a suspicion could tell.
    three.unlinked(one, "broken", "ECONNRESET");
    three.unlinked(two, "broken", "ECONNRESET");
    store.pass(3 * leaseMs);
    expect(b.play.machine.revisionOf("default")).toBe(revision);
    for (const { play } of [a, b]) {
      expect(play.eventsOf("lost")).toEqual([]);
      expect(play.machine.presentIn("default").length).toBe(3);
    }
  });

  test("that was late before has nobody lost by what was found then", () => {
    const { store, a, b, one, two, three } = stopped();
    answersEverywhere(store, two);
    store.stop(a);
    store.settle();
    // Its address has refused a dial, and the other end of a link has kept it.
    expect(b.play.eventsOf("lost")).toEqual([]);
    store.wake(a);
    store.settle();
    answersEverywhere(store, one);
    three.unlinked(one, "broken", "ECONNRESET");
    store.settle();
    store.stop(a);
    store.settle();
    expect(b.play.eventsOf("lost")).toEqual([]);
  });

  test("has witnesses that keep whoever was not refused, as others do", () => {
    const { store, a, b, one, two, three } = stopped();
    answersEverywhere(store, one, two, three);
    three.caller.close("ECONNRESET");
    store.pass(leaseMs - 1_000);
    store.stop(a);
    store.pass(4_000);
    expect(b.play.eventsOf("lost")).toEqual([]);
  });

  test("begins no lease before it is gone", () => {
    const { store, a, b, one, two, three } = stopped();
    answersEverywhere(store, one, two);
    three.reportAll();
    store.stop(a);
    // Longer than it would be late.
    store.pass(leaseMs + 1_000);
    expect(b.play.eventsOf("lost")).toEqual([]);
    // From now on dials come to nothing.
    b.play.dialed = ({ to }) => to === one.address || to === two.address;
    store.lose(a);
    store.pass(leaseMs - 1_000);
    expect(b.play.eventsOf("lost")).toEqual([]);
    store.pass(2_000);
    expect(b.play.eventsOf("lost").map(({ address }) => address)).toEqual([one.address, two.address]);
  });
});

describe("completeness across servers", () => {
  test("comes of reports at two servers, seen at a third, and goes with a broken pair and with a server", () => {
    const store = new SharedStore({ capacity: 4, onFull: "hold" });
    const [a, b, c] = [store.start(), store.start(), store.start()];
    const members = [
      ...nativeMembers(a.play, 2),
      ...nativeMembers(b.play, 1, "default", 14_101),
      ...nativeMembers(c.play, 1, "default", 14_201),
    ];
    store.settle();
    linkAll(members);
    store.settle();
    const late = store.start();
    store.settle();
    expect(late.play.machine.status("default", store.now).complete).toBe(true);
    store.lose(late);
    late.isStopped = true;
    const isComplete = (): boolean[] => {
      return [a, b, c].map(({ play }) => play.machine.status("default", store.now).complete);
    };
    expect(isComplete()).toEqual([true, true, true]);
    expect(c.play.eventsOf("complete")[0]).toMatchObject({ members: 4, links: 6 });
    const [one, two, three] = members;
    if (one === undefined || two === undefined || three === undefined) throw new Error("nobody");
    one.unlinked(three, "broken", "ECONNRESET");
    store.settle();
    expect(isComplete()).toEqual([false, false, false]);
    one.linked([three, 2]);
    three.linked([one, 2]);
    store.settle();
    expect(isComplete()).toEqual([true, true, true]);
    store.kill(a);
    store.settle();
    expect(isComplete().slice(1)).toEqual([false, false]);
    for (const member of [one, two]) {
      const twin = comesBack(store, b, member);
      store.settle();
      // What it reported before may be outdated.
      expect(isComplete().slice(1)).toEqual([false, false]);
      const others = members.filter((other) => other !== member);
      twin.reportAll(...others.map((other) => [other, other === three && member === one ? 2 : 1] as const));
      store.settle();
    }
    expect(isComplete().slice(1)).toEqual([true, true]);
  });
});
