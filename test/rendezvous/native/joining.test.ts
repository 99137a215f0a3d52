import { describe, expect, test } from "vitest";
import { pong } from "../../../src/protocol/native/frames.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

const a = "127.0.0.1:14001";
const b = "127.0.0.1:14002";

describe("N3: the dial-back proves the address", () => {
  test("it names mesh and id, as the rendezvous, and the nonce comes back on the session that asked", () => {
    const play = new Play();
    const member = play.native(a, "cache").register({ name: "api-1", meta: { zone: "x" } });
    expect(play.dials).toMatchObject([{ to: a, identity: { mesh: "cache", role: "rendezvous" } }]);
    expect(member.end.prefaces).toEqual([{ lowest: 2, highest: 2 }]);
    expect(member.end.controls).toMatchObject([
      { type: "admitted", order: 1, revision: 1, observed: "127.0.0.1:40001", leaseMs: 20_000 },
      { type: "leader", id: member.id },
      {
        type: "directory",
        revision: 1,
        members: [{ id: member.id, order: 1, address: a, dialect: "native", name: "api-1", meta: { zone: "x" } }],
      },
    ]);
    expect(play.eventsOf("joined")).toMatchObject([{ mesh: "cache", id: member.id, address: a, order: 1 }]);
    expect(play.machine.membersOf("cache")).toEqual([a]);
  });

  test("nobody is a member before the proof", () => {
    const play = new Play();
    const member = play.native(a);
    play.listen(a, (question, dialed) => play.reply(dialed, { type: "here", id: question.id }));
    member.register();
    expect(play.machine.members).toEqual([]);
    expect(member.end.controls).toEqual([]);
  });

  test("a nonce that another session brings proves nothing for either, and spoils nothing", () => {
    const play = new Play();
    const asking = play.native(a);
    let nonce = "";
    play.listen(a, (question) => {
      if (question.type === "challenge") nonce = question.nonce;
    });
    asking.register();
    const thief = play.native(b);
    play.listen(b, () => {});
    thief.register();
    thief.caller.say({ type: "proof", nonce });
    expect(thief.end.last("refuse")).toBeUndefined();
    expect(play.machine.members).toEqual([]);
    asking.caller.say({ type: "proof", nonce });
    expect(play.machine.members).toEqual([a]);
  });

  test("a mere claim to a live member's address is refused, and the member hears nothing", () => {
    const play = new Play();
    const member = play.native(a).register();
    const heard = member.end.controls.length;
    const liar = play.call();
    liar.send(encodePreface());
    liar.say({ type: "register", mesh: "default", id: play.id(), address: a });
    expect(liar.end.last("refuse")).toMatchObject({ code: "ADDRESS_IN_USE" });
    expect(liar.state).toBe("halfClosed");
    expect(play.machine.members).toEqual([a]);
    expect(member.end.controls).toHaveLength(heard);
    expect(member.caller.state).toBe("open");
    expect(play.eventsOf("lost")).toEqual([]);
  });

  test("a restart at the same address gets in at once, in one entry, and the old incarnation is fenced", () => {
    const play = new Play();
    const [other, old] = nativeMembers(play, 2);
    if (other === undefined || old === undefined) throw new Error("two members are wanted");
    const next = play.native(old.address).register();
    play.settle();
    const entry = { type: "replaced", revision: 3, replaces: old.id, id: next.id, order: 3, address: old.address };
    expect(other.end.last("entries")?.entries).toMatchObject([entry]);
    expect(next.order).toBe(3);
    expect(old.end.last("refuse")).toMatchObject({ code: "FENCED" });
    expect(old.caller.state).toBe("halfClosed");
    expect(play.eventsOf("joined").at(-1)).toMatchObject({ id: next.id, replaces: old.id });
    old.caller.close();
    expect([play.eventsOf("lost"), play.eventsOf("left")]).toEqual([[], []]);
    expect(play.machine.members).toEqual([other.address, next.address]);
  });

  test("a restart while its own replacement is under way changes nothing twice", () => {
    const play = new Play();
    const old = play.native(a).register();
    play.isLogSlow = true;
    const next = play.native(a).register();
    old.leave();
    expect(play.appends).toMatchObject([{ change: { type: "replaced", replaces: old.id, id: next.id } }]);
    play.answer();
    expect(play.appends).toEqual([]);
    expect(play.eventsOf("left")).toEqual([]);
    expect(play.machine.members).toEqual([a]);
  });

  test("a restart takes no slot in a full mesh that ends at its capacity, and is not whole with its old self", () => {
    const play = new Play({ capacity: 2 });
    const [old, other] = nativeMembers(play, 2) as [Player, Player];
    old.linked([other, 1]);
    play.isLogSlow = true;
    const next = play.native(old.address).register();
    expect(play.appends).toMatchObject([{ change: { type: "replaced", replaces: old.id } }]);
    // The old one is listed still, and its session looks alive.
    other.linked([old, 1]);
    expect(play.eventsOf("complete")).toEqual([]);
    play.answer();
    play.settle();
    linkAll([other, next], 1);
    expect(play.eventsOf("complete")).toMatchObject([{ members: 2, revision: 3 }]);
  });

  test("a restart takes no slot in a full mesh that holds, and passes the line", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const old = play.native(a).register();
    const waiting = play.native(b).register();
    expect(waiting.end.last("waiting")).toEqual({ type: "waiting", place: 1 });
    const next = play.native(a).register();
    play.settle();
    expect(next.order).toBeGreaterThan(old.order);
    expect(play.machine.members).toEqual([a]);
    expect(waiting.order).toBe(0);
  });

  test("a waiting member proves its address again when its turn comes", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const first = play.native(a).register();
    const second = play.native(b).register();
    const dials = play.dials.length;
    first.leave();
    play.settle();
    expect(play.dials.slice(dials)).toMatchObject([{ to: b }]);
    expect(second.order).toBe(3);
    expect(play.machine.members).toEqual([b]);
  });

  test("a waiting member that is not there any more when its turn comes makes room for the next", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const first = play.native(a).register();
    const second = play.native(b).register();
    const third = play.native("127.0.0.1:14003").register();
    expect(third.end.last("waiting")).toEqual({ type: "waiting", place: 2 });
    play.listen(b, undefined);
    first.leave();
    play.settle();
    expect(second.end.last("refuse")).toMatchObject({ code: "ADDRESS_UNPROVED" });
    expect(third.order).toBeGreaterThan(0);
    expect(play.machine.members).toEqual([third.address]);
  });

  /** A mesh with one slot, which its member leaves; behind so many in line whose addresses have gone silent is a living one. */
  function leaveTo(silent: number): { play: Play; dead: Player[]; living: Player } {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const first = play.native(a).register();
    const dead = Array.from({ length: silent }, (_, index) => play.native(`127.0.1.${index + 1}:15001`).register());
    const living = play.native(b).register();
    play.dialed = ({ to }) => dead.some(({ address }) => address === to);
    first.leave();
    return { play, dead, living };
  }

  test.each([1, 5, 40])(
    "%d in line that do not answer when their turn comes hold up the next one for less than a second",
    (silent) => {
      const { play, dead, living } = leaveTo(silent);
      play.pass(999);
      expect(play.machine.members).toEqual([living.address]);
      expect(dead.every(({ caller }) => caller.state === "open")).toBe(true);
      play.pass(play.limits.challengeMs);
      // They may hang: they stand in line again, until their silence ends them.
      expect(dead.flatMap(({ end }) => end.all("refuse"))).toEqual([]);
      expect(dead.every(({ caller }) => caller.state === "open")).toBe(true);
      play.pass(play.limits.silentMs);
      expect(dead.some(({ caller }) => caller.state === "open")).toBe(false);
    },
  );

  /** One that stands in line alone, beside a free slot, and does not answer its call. It is heard. */
  function onlyOneInLine(): { play: Play; slow: Player; pass: (ms: number) => void } {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const first = play.native(a).register();
    const slow = play.native(b).register();
    play.dialed = ({ to }) => to === slow.address;
    first.leave();
    const pass = (ms: number): void => {
      for (let passed = 0; passed < ms; passed += 1_000) {
        play.pass(1_000);
        slow.caller.send(pong);
      }
    };
    return { play, slow, pass };
  }

  test("who has not answered a call in time is called again, and takes the slot that is still free", () => {
    const { play, slow, pass } = onlyOneInLine();
    const before = play.dials.length;
    pass(play.limits.challengeMs - 1_000);
    expect(play.dials).toHaveLength(before);
    play.dialed = () => false;
    pass(1_000);
    expect(play.dials).toHaveLength(before + 1);
    expect(play.machine.members).toEqual([slow.address]);
  });

  test("who leaves three calls without an answer, and is heard all the same, is refused", () => {
    const { play, slow, pass } = onlyOneInLine();
    pass(3 * play.limits.challengeMs - 1_000);
    expect(slow.end.all("refuse")).toEqual([]);
    pass(1_000);
    expect(slow.end.last("refuse")).toMatchObject({ code: "ADDRESS_UNPROVED" });
    // Nobody is held up by it any more.
    play.native("127.0.0.1:16001").register();
    play.settle();
    expect(play.machine.members).toEqual(["127.0.0.1:16001"]);
  });

  test("only the first in line is asked to prove its address while it may still do so soon", () => {
    const { play, living } = leaveTo(1);
    const dials = play.dials.length;
    play.pass(play.limits.dialBackSlowMs - 1);
    expect(play.dials.slice(dials)).toEqual([]);
    play.pass(1);
    expect(play.dials.slice(dials)).toMatchObject([{ to: living.address }]);
  });

  test("who proves its address too late for the slot keeps its place in line", () => {
    const { play, dead, living } = leaveTo(2);
    const [slow] = dead as [Player];
    play.pass(999);
    expect(living.order).toBeGreaterThan(0);
    const dial = play.dials.findLast(({ to }) => to === slow.address);
    if (dial === undefined) throw new Error("it was not dialed");
    play.dialed = () => false;
    play.give({
      type: "connected",
      connection: dial.connection,
      local: { host: "127.0.0.1", port: 50_000 },
      remote: { host: "127.0.1.1", port: 15_001 },
    });
    expect(slow.end.last("waiting")).toEqual({ type: "waiting", place: 1 });
    expect(slow.end.last("refuse")).toBeUndefined();
    expect(play.machine.members).toEqual([living.address]);
    living.leave();
    play.settle();
    expect(play.machine.members).toEqual([slow.address]);
  });

  test("a newcomer does not pass those in line who prove their addresses", () => {
    const { play, living } = leaveTo(1);
    const newcomer = play.native("127.0.0.1:14003").register();
    expect(newcomer.end.last("waiting")).toEqual({ type: "waiting", place: 3 });
    play.pass(999);
    expect(play.machine.members).toEqual([living.address]);
    expect(newcomer.end.last("waiting")).toEqual({ type: "waiting", place: 2 });
  });

  test("a newcomer behind one who proves its address is called at once if there is a slot for it too", () => {
    const play = new Play({ capacity: 2, onFull: "hold" });
    const members = nativeMembers(play, 2);
    const slow = play.native("127.0.0.1:15001").register();
    play.dialed = ({ to }) => to === slow.address;
    for (const member of members) member.leave();
    const newcomer = play.native("127.0.0.1:15002").register();
    expect(newcomer.end.all("waiting")).toHaveLength(1);
    play.settle();
    expect(play.machine.members).toEqual([newcomer.address]);
  });

  test("a newcomer that has not yet taken the word on its place in line is told of its admission when it has", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    const first = play.native(a).register();
    play.isFlushing = false;
    const second = play.native(b).register();
    first.leave();
    play.settle();
    expect(play.machine.members).toEqual([b]);
    expect(second.order).toBe(0);
    play.isFlushing = true;
    play.give({ type: "flushed", connection: second.caller.connection });
    expect(second.order).toBe(3);
    expect(second.end.last("directory")?.members).toMatchObject([{ id: second.id }]);
  });

  test("what has become of the slot since then is judged again with the proof", () => {
    const play = new Play({ capacity: 2 });
    play.native("127.0.0.1:14003").register();
    const nonces = new Map<string, string>();
    const players = ([a, b] as const).map((address) => {
      const player = play.native(address);
      play.listen(player.address, (question) => {
        if (question.type === "challenge") nonces.set(player.id, question.nonce);
      });
      return player.register();
    });
    for (const { caller, id } of players) caller.say({ type: "proof", nonce: nonces.get(id) ?? "" });
    expect(play.machine.members).toEqual(["127.0.0.1:14003", a]);
    expect(players[1]?.end.last("refuse")).toMatchObject({ code: "MESH_SEALED" });
  });
});

describe("ADDRESS_UNPROVED says what was found at the address", () => {
  test("nobody", () => {
    const play = new Play();
    const player = play.native(a);
    play.listen(a, undefined);
    player.register();
    const message = `${a}: nobody listens there (ECONNREFUSED)`;
    expect(player.end.last("refuse")).toEqual({ type: "refuse", code: "ADDRESS_UNPROVED", message });
    expect(play.notes).toEqual(["ADDRESS_UNPROVED"]);
  });

  test("another member", () => {
    const play = new Play();
    const player = play.native(a);
    play.listen(a, (_, dialed) => play.reply(dialed, { type: "here", id: play.id() }));
    player.register();
    expect(player.end.last("refuse")?.message).toBe(`${a}: another member answers there`);
  });

  test("something that is none of ours", () => {
    const play = new Play();
    const player = play.native(a);
    play.listen(a, (_, { connection }) => {
      play.give({ type: "bytes", connection, bytes: new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n") });
    });
    player.register();
    expect(player.end.last("refuse")?.message).toBe(`${a}: somebody else answers there`);
  });

  test("a listener that has not asked for it", () => {
    const play = new Play();
    const player = play.native(a);
    player.id = play.id();
    player.register({ id: play.id() });
    expect(player.end.last("refuse")?.message).toMatch(/refused there: UNAWAITED_CHALLENGE/);
  });

  test("the dial itself: TCP met its own outgoing port", () => {
    const play = new Play();
    const player = play.native(a);
    const self = { host: "127.0.0.1", port: 14_001 };
    play.dialed = ({ connection }) => {
      play.give({ type: "connected", connection, local: self, remote: self });
      return true;
    };
    player.register();
    expect(player.end.last("refuse")?.message).toMatch(/nobody listens there: the dial met its own outgoing port/);
    expect(play.dials[0]?.isOpen).toBe(false);
  });

  test("no answer, within the time for one", () => {
    const play = new Play();
    const player = play.native(a);
    play.listen(a, () => {});
    player.register();
    play.pass(play.limits.challengeMs - 1);
    expect(player.caller.state).toBe("open");
    play.pass(1);
    expect(player.end.last("refuse")?.message).toBe(`${a}: no answer within 10 s`);
  });
});

describe("N4: who may name which address", () => {
  test("a host other than the observed one is refused, and not one connection is made to it", () => {
    const play = new Play();
    const player = play.native("10.0.0.9:14001", "default", "10.0.0.1").register();
    expect(player.end.last("refuse")).toMatchObject({ code: "FOREIGN_HOST" });
    expect(play.dials).toEqual([]);
  });

  test("such a host is taken from the networks that may be advertised", () => {
    const play = new Play({ mayAdvertise: (host) => host === "10.0.0.9" });
    play.native("10.0.0.9:14001", "default", "10.0.0.1").register();
    expect(play.machine.members).toEqual(["10.0.0.9:14001"]);
  });

  test("a mesh is all loopback or none: the other kind is refused with LOOPBACK_MIX before any dial", () => {
    const play = new Play();
    play.native("10.0.0.1:14001").register();
    const player = play.native(a).register();
    expect(player.end.last("refuse")).toMatchObject({ code: "LOOPBACK_MIX" });
    expect(play.dials).toHaveLength(1);
    expect(play.native(b, "another").register().end.last("refuse")).toBeUndefined();
  });

  test.each([
    ["a local socket over TCP", "unix:/run/app/a.sock", "10.0.0.1"],
    ["a host over a local socket", "127.0.0.1:14001", ""],
  ] as const)("%s is refused with LOCAL_MIX before any dial, with a secret too", (_, address, from) => {
    for (const isKeyed of [false, true]) {
      const play = new Play({ isKeyed, mayAdvertise: () => true });
      const player = play.native(address, "default", from);
      if (isKeyed) player.caller.secure({ mesh: "default", role: "rendezvous" });
      player.register();
      expect(player.end.last("refuse")).toMatchObject({ code: "LOCAL_MIX" });
      expect(play.dials).toEqual([]);
    }
  });

  test("members on local sockets are let in over local sockets, and are told their own address as observed", () => {
    const play = new Play();
    const [one, two] = ["one", "two"].map((name) =>
      play.native(`unix:/run/app/${name}.sock`, "default", "").register(),
    );
    expect(play.machine.members).toEqual(["unix:/run/app/one.sock", "unix:/run/app/two.sock"]);
    play.settle();
    expect(two?.end.last("admitted")?.observed).toBe(two?.address);
    expect(one?.end.last("refuse")).toBeUndefined();
  });

  test("an address is unique on the server, over all meshes and both dialects", () => {
    const play = new Play();
    play.native(a, "cache").register();
    const elsewhere = play.native(a, "another").register();
    expect(elsewhere.end.last("refuse")).toMatchObject({ code: "ADDRESS_IN_USE" });
    const classic = play.call();
    classic.send(b);
    expect(play.native(b).register().end.last("refuse")).toMatchObject({ code: "ADDRESS_IN_USE" });
    const second = play.call();
    second.send(a);
    expect(second.text).toMatch(/^refused ADDRESS_IN_USE/);
    expect(play.dials).toHaveLength(1);
    expect(classic.state).toBe("open");
  });

  test("an address in line, or whose append is under way, is refused before any dial", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    play.isLogSlow = true;
    play.native(a).register();
    play.native(b).register();
    const dials = play.dials.length;
    for (const address of [a, b] as const) {
      const player = play.native(address).register();
      expect(player.end.last("refuse")).toMatchObject({ code: "ADDRESS_IN_USE" });
    }
    expect(play.dials).toHaveLength(dials);
  });

  test("the id of a member is refused with ID_IN_USE, and one that was removed with FENCED", () => {
    const play = new Play();
    const member = play.native(a).register();
    const copy = play.native(b).register({ id: member.id });
    expect(copy.end.last("refuse")).toMatchObject({ code: "ID_IN_USE" });
    member.leave();
    const late = play.native(b).register({ id: member.id });
    expect(late.end.last("refuse")).toMatchObject({ code: "FENCED" });
    expect(play.dials).toHaveLength(1);
  });
});

describe("many meshes on one server", () => {
  test("know nothing of one another: members, orders and logs are their own", () => {
    const play = new Play();
    const [one] = nativeMembers(play, 1, "one");
    const [two] = nativeMembers(play, 1, "two", 15_001);
    expect(one?.end.last("directory")?.members).toHaveLength(1);
    expect(two?.end.last("directory")?.members).toHaveLength(1);
    expect(one?.end.last("admitted")?.log).not.toBe(two?.end.last("admitted")?.log);
    expect(two?.order).toBe(1);
    expect(one?.end.all("entries")).toEqual([]);
    expect(play.machine.membersOf("two")).toEqual([two?.address]);
    expect(play.machine.membersOf("default")).toEqual([]);
  });

  test("are told of one by one or all together, as long as they have members", () => {
    const play = new Play();
    const [first] = nativeMembers(play, 1, "one") as [Player];
    expect([play.machine.members, play.machine.revision]).toEqual([[first.address], 1]);
    const [second, third] = nativeMembers(play, 2, "two", 15_001) as [Player, Player];
    expect(play.machine.members).toEqual([first.address, second.address, third.address]);
    expect([play.machine.revision, play.machine.revisionOf("one")]).toEqual([2, 1]);
    first.leave();
    expect(play.machine.members).toEqual([second.address, third.address]);
  });

  test("are bounded: one more is refused with TOO_MANY_MESHES, before any dial", () => {
    const play = new Play({ limits: { meshes: 2 } });
    play.native(a, "one").register();
    const player = play.native(b, "two").register();
    expect(player.end.last("refuse")).toMatchObject({ code: "TOO_MANY_MESHES" });
    expect(play.dials).toHaveLength(1);
    expect(play.native(b, "one").register().order).toBe(0);
    play.settle();
    expect(play.machine.membersOf("one")).toEqual([a, b]);
  });

  test("are forgotten when the last member has gone, and orders do not come back with the name", () => {
    const play = new Play({ limits: { meshes: 2 } });
    const first = play.native(a, "one").register();
    first.leave();
    expect(play.machine.meshes).toEqual(["default"]);
    const again = play.native(a, "two").register();
    again.leave();
    const third = play.native(a, "one").register();
    expect(third.order).toBeGreaterThan(first.order);
  });

  test("have a capacity each", () => {
    const play = new Play({ capacity: 1, onFull: "hold" });
    expect(play.native(a, "one").register().order).toBe(1);
    expect(play.native(b, "two").register().order).toBe(1);
    const third = play.native("127.0.0.1:14003", "two").register();
    expect(third.end.last("waiting")).toEqual({ type: "waiting", place: 1 });
  });
});
