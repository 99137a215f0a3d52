import { describe, expect, test } from "vitest";
import { claimLeaseMs, claimRenewMs } from "../../src/protocol/claims.js";
import { nativeMembers, type Player } from "./play.js";
import { answersEverywhere, comesBack, type SharedServer, SharedStore } from "./shared-play.js";

/** A member at each of two servers, in the time in which they grant claims. */
function two(): { store: SharedStore; a: SharedServer; b: SharedServer; one: Player; other: Player } {
  const store = new SharedStore();
  const [a, b] = [store.start(), store.start()];
  const [one] = nativeMembers(a.play, 1);
  const [other] = nativeMembers(b.play, 1, "default", 14_101);
  if (one === undefined || other === undefined) throw new Error("nobody");
  store.pass(claimLeaseMs);
  return { store, a, b, one, other };
}

/** A member that holds a key at the only server. */
function alone(): { store: SharedStore; a: SharedServer; one: Player } {
  const { store, a, b, one, other } = two();
  other.leave();
  store.lose(b);
  one.caller.say({ type: "claim", key: "k" });
  store.settle();
  return { store, a, one };
}

function holderOf(store: SharedStore): string | undefined {
  return store.fold().state.claims[0]?.holder;
}

/** These renew for so long. */
function renewing(store: SharedStore, ms: number, ...players: readonly Player[]): void {
  for (let passed = 0; passed < ms; passed += claimRenewMs) {
    for (const { caller } of players) caller.say({ type: "renew", number: 1 + passed });
    store.pass(claimRenewMs);
  }
}

describe("claims at servers that share a log", () => {
  test("are had by one member, and by whoever waits at another server when it gives up", () => {
    const { store, one, other } = two();
    one.caller.say({ type: "claim", key: "k" });
    other.caller.say({ type: "claim", key: "k" });
    store.settle();
    expect(holderOf(store)).toBe(one.id);
    expect(other.end.last("unclaimable")).toMatchObject({ code: "CLAIMED", holder: one.id });
    other.caller.say({ type: "claim", key: "k", wait: true });
    const token = store.fold().state.claims[0]?.token ?? 0;
    one.caller.say({ type: "unclaim", key: "k", token });
    store.settle();
    expect(holderOf(store)).toBe(other.id);
    expect(store.fold().state.claims[0]?.token).toBeGreaterThan(token);
  });

  test("that two servers grant at once go to the first; the other member is told, or waits", () => {
    const { store, a, b, one, other } = two();
    const [third] = nativeMembers(a.play, 1, "default", 14_002);
    store.settle();
    a.isCut = true;
    one.caller.say({ type: "claim", key: "k" });
    third?.caller.say({ type: "claim", key: "l", wait: true });
    for (const key of ["k", "l"]) other.caller.say({ type: "claim", key });
    a.isCut = false;
    a.catchUp();
    store.settle();
    expect(store.fold().state.claims.map(({ holder }) => holder)).toEqual([other.id, other.id]);
    expect(one.end.last("unclaimable")).toMatchObject({ code: "CLAIMED", key: "k" });
    expect(third?.end.last("unclaimable")).toBeUndefined();
    expect(a.play.machine.status("default", store.now).claims.map(({ waiting }) => waiting)).toEqual([0, 1]);
    expect(b.play.machine.status("default", store.now).claims.length).toBe(2);
  });

  test("are judged by the server of their holder, and by the others a lease after that has gone", () => {
    const { store, a, b, one, other } = two();
    one.caller.say({ type: "claim", key: "k" });
    store.settle();
    other.caller.say({ type: "claim", key: "k", wait: true });
    renewing(store, 3 * claimLeaseMs, one, other);
    expect(holderOf(store)).toBe(one.id);
    answersEverywhere(store, one);
    store.kill(a);
    renewing(store, claimLeaseMs - claimRenewMs, other);
    expect(holderOf(store)).toBe(one.id);
    renewing(store, b.play.limits.storeAnswerMs + 2 * claimRenewMs, other);
    expect(holderOf(store)).toBe(other.id);
  });

  test("stay with a holder that goes on at another server, whatever the first one finds when it wakes up", () => {
    const { store, a, b, one, other } = two();
    one.caller.say({ type: "claim", key: "k" });
    store.settle();
    other.caller.say({ type: "claim", key: "k", wait: true });
    answersEverywhere(store, one);
    a.isStopped = true;
    store.lose(a);
    const twin = comesBack(store, b, one);
    renewing(store, 2 * claimLeaseMs, twin, other);
    expect(holderOf(store)).toBe(one.id);
    store.wake(a);
    renewing(store, claimLeaseMs, twin, other);
    expect(holderOf(store)).toBe(one.id);
  });

  test("are not renewed at the next server before all know that their holder is there", () => {
    const { store, b, one } = two();
    one.caller.say({ type: "claim", key: "k" });
    store.settle();
    b.isCut = true;
    const twin = comesBack(store, b, one);
    twin.caller.say({ type: "renew", number: 1 });
    store.settle();
    expect(twin.end.last("renewed")).toBeUndefined();
    b.isCut = false;
    b.catchUp();
    twin.caller.say({ type: "renew", number: 2 });
    store.settle();
    expect(twin.end.last("renewed")?.number).toBe(2);
  });

  test("are not renewed or granted while the store is away, and have a whole lease when it is back", () => {
    const { store, a, one } = alone();
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    const answered = one.end.all("renewed").length;
    one.caller.say({ type: "renew", number: 9 });
    expect(one.end.all("renewed").length).toBe(answered);
    one.caller.say({ type: "claim", key: "l" });
    expect(one.end.last("unclaimable")).toMatchObject({ code: "CLAIMS_UNSETTLED", key: "l" });
    store.pass(3 * claimLeaseMs);
    a.play.give({ type: "storeBack" });
    store.pass(claimLeaseMs - 1_000);
    expect(holderOf(store)).toBe(one.id);
    store.pass(2_000 + a.play.limits.storeAnswerMs);
    expect(holderOf(store)).toBeUndefined();
  });

  test("have a whole lease after a short time without the store, too", () => {
    const { store, a, one } = alone();
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    store.pass(claimLeaseMs - 1_000);
    a.play.give({ type: "storeBack" });
    store.pass(claimLeaseMs - 1_000);
    expect(holderOf(store)).toBe(one.id);
  });

  test("are looked at twice after that, whatever was found before", () => {
    const { store, a, one } = alone();
    // It runs out, and the store goes before the second look.
    store.pass(claimLeaseMs);
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    store.pass(claimLeaseMs);
    a.play.give({ type: "storeBack" });
    store.pass(claimLeaseMs + 500);
    expect(holderOf(store)).toBe(one.id);
    store.pass(a.play.limits.storeAnswerMs);
    expect(holderOf(store)).toBeUndefined();
  });

  test("are looked at twice each time", () => {
    const { store, a, one } = alone();
    store.pass(claimLeaseMs);
    one.caller.say({ type: "renew", number: 1 });
    store.pass(claimLeaseMs + 500);
    expect(holderOf(store)).toBe(one.id);
    store.pass(a.play.limits.storeAnswerMs);
    expect(holderOf(store)).toBeUndefined();
  });

  test("that were asked for while the store was away are granted when it is back", () => {
    const { store, a, one } = alone();
    a.play.give({ type: "storeLost", reason: "the store does not answer" });
    one.caller.say({ type: "claim", key: "l", wait: true });
    a.play.give({ type: "storeBack" });
    store.settle();
    expect(store.fold().state.claims.map(({ key }) => key)).toEqual(["k", "l"]);
  });

  test("of a member that is lost are freed by the others, also if its server goes with it", () => {
    const { store, a, b, one, other } = two();
    one.caller.say({ type: "claim", key: "k" });
    store.settle();
    other.caller.say({ type: "claim", key: "k", wait: true });
    // Its server does not say that its session is over.
    store.stop(a);
    store.settle();
    expect(b.play.eventsOf("lost").length).toBe(1);
    store.lose(a);
    renewing(store, claimLeaseMs + b.play.limits.storeAnswerMs + 2 * claimRenewMs, other);
    expect(holderOf(store)).toBe(other.id);
  });

  test("are known to a server that starts, with a lease for a holder of whom no server is there", () => {
    const { store, a, one } = two();
    one.caller.say({ type: "claim", key: "k" });
    store.settle();
    for (const server of store.servers) server.isStopped = true;
    for (const server of store.servers) store.lose(server);
    const c = store.start();
    expect(c.play.machine.status("default", store.now).claims[0]?.holder).toBe(one.address);
    answersEverywhere(store, one);
    store.pass(claimLeaseMs - 1_000);
    expect(holderOf(store)).toBe(one.id);
    store.pass(1_000 + a.play.limits.storeAnswerMs);
    expect(holderOf(store)).toBeUndefined();
  });
});
