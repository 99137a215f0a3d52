import { describe, expect, it } from "vitest";
import { claimLeaseMs, claimMarginMs } from "../../../src/protocol/claims.js";
import { type ClaimMember, ClaimWorld } from "./claim-world.js";

const surelyMs = claimLeaseMs - claimMarginMs;

function endOf(member: ClaimMember): string | undefined {
  return member.events.findLast((event) => event.type === "claimEnded")?.reason;
}

function codesOf(member: ClaimMember): string[] {
  return member.events.flatMap((event) => (event.type === "claimRefused" ? [event.code] : []));
}

describe("a claim", () => {
  it("begins at once where nobody holds the key, with the revision of its entry as the token", () => {
    const { world, members } = ClaimWorld.with(2);
    members[0]?.claim();
    world.pass(300);
    expect(members[0]?.holds.get("job")).toBe(world.server.log.at(-1)?.revision);
  });

  it("goes from one to the next in the order of asking, with a higher token each time", () => {
    const { world, members } = ClaimWorld.with(3);
    for (const member of members) {
      member.claim();
      world.pass(300);
    }
    const order: (number | undefined)[] = [];
    for (let turns = 0; turns < 3; turns += 1) {
      const holder = members.find(({ holds }) => holds.has("job"));
      order.push(holder === undefined ? undefined : members.indexOf(holder));
      holder?.unclaim();
      world.pass(300);
    }
    expect(order).toEqual([0, 1, 2]);
    expect(world.tokens).toEqual([...world.tokens].sort((a, b) => a - b));
    expect(world.server.directory.claims.size).toBe(0);
  });

  it("lasts for as long as the server answers, and after that for the lease less the margin", () => {
    const { world, members } = ClaimWorld.with(2);
    const [holder] = members as [ClaimMember];
    holder.claim();
    world.pass(60_000);
    expect(holder.holds.has("job")).toBe(true);
    holder.isMute = true;
    world.pass(surelyMs - 2_500);
    expect(holder.holds.has("job")).toBe(true);
    world.pass(2_700);
    expect(endOf(holder)).toMatch(/has not answered for 7 s/);
  });

  it("passes to the next in line one lease after its holder was killed", () => {
    const { world, members } = ClaimWorld.with(2);
    const [holder, next] = members as [ClaimMember, ClaimMember];
    holder.claim();
    world.pass(300);
    next.claim();
    world.pass(5_000);
    holder.isPaused = true;
    world.disconnect(holder);
    world.pass(claimLeaseMs - 2_500);
    expect(next.holds.has("job")).toBe(false);
    world.pass(2_700);
    expect(next.holds.has("job")).toBe(true);
  });

  it("is over before anything else when its process runs again after a pause", () => {
    const { world, members } = ClaimWorld.with(2);
    const [holder] = members as [ClaimMember];
    holder.claim();
    world.pass(5_000);
    holder.isPaused = true;
    world.pass(8_000);
    expect(holder.holds.has("job")).toBe(true);
    // An answer to an old renewal has come meanwhile, and changes nothing.
    holder.isPaused = false;
    world.pass(100);
    expect(endOf(holder)).toMatch(/has not answered/);
  });

  it("is over after a sleep in which only the wall clock ran", () => {
    const { world, members } = ClaimWorld.with(2);
    const [holder] = members as [ClaimMember];
    holder.claim();
    world.pass(5_000);
    holder.isPaused = true;
    holder.isAsleep = true;
    world.pass(8_000);
    holder.isPaused = false;
    world.pass(100);
    expect(holder.holds.has("job")).toBe(false);
  });

  it("outlasts a wall clock that is set back", () => {
    const { world, members } = ClaimWorld.with(2);
    const [holder] = members as [ClaimMember];
    holder.claim();
    world.pass(5_000);
    holder.wallMs -= 3_600_000;
    world.pass(5_000);
    expect(holder.events.map(({ type }) => type)).toEqual(["claimBegun"]);
  });

  it("goes on over a session that breaks and comes back", () => {
    const { world, members } = ClaimWorld.with(2);
    const [holder, next] = members as [ClaimMember, ClaimMember];
    holder.claim();
    world.pass(300);
    next.claim();
    world.pass(3_000);
    world.disconnect(holder);
    world.pass(3_000);
    world.connect(holder);
    world.pass(30_000);
    expect(holder.events.map(({ type }) => type)).toEqual(["claimBegun"]);
    expect(next.holds.has("job")).toBe(false);
  });

  it("goes on with its token over a server that begins anew, and is told by the new log", () => {
    const { world, members } = ClaimWorld.with(2);
    const [holder, next] = members as [ClaimMember, ClaimMember];
    holder.claim();
    world.pass(300);
    next.claim();
    const token = holder.holds.get("job");
    world.pass(3_000);
    world.restart();
    world.pass(1_000);
    world.connect(next);
    world.pass(2_000);
    world.connect(holder);
    world.pass(30_000);
    expect(holder.holds.get("job")).toBe(token);
    expect(holder.events.map(({ type }) => type)).toEqual(["claimBegun"]);
    expect(world.server.directory.claims.get("job")).toMatchObject({ holder: holder.id, token });
    expect(next.holds.has("job")).toBe(false);
    // The wait was asked for anew.
    holder.unclaim();
    world.pass(300);
    expect(next.holds.get("job")).toBeGreaterThan(token ?? 0);
  });

  it("is not taken over by a server that has run for a lease", () => {
    const { world, members } = ClaimWorld.with(2);
    const [holder] = members as [ClaimMember];
    holder.claim();
    world.pass(300);
    const refused = world.server.claims.present(holder.id, [["other", 99]], world.now);
    expect(refused).toMatchObject([{ key: "other", code: "CLAIMED" }]);
    expect(world.server.directory.claims.has("other")).toBe(false);
  });

  it("stays with the higher token when two present one", () => {
    const { world, members } = ClaimWorld.with(2);
    const [a, b] = members as [ClaimMember, ClaimMember];
    world.restart();
    expect(world.server.claims.present(a.id, [["job", 5]], world.now)).toEqual([]);
    world.server.settle(world.now);
    expect(world.server.claims.present(b.id, [["job", 7]], world.now)).toEqual([]);
    world.server.settle(world.now);
    expect(world.server.claims.present(a.id, [["job", 5]], world.now)).toMatchObject([{ holder: b.id }]);
    expect(world.server.directory.claims.get("job")).toMatchObject({ holder: b.id, token: 7 });
  });

  it("is given up at the next contact when it could not be kept, and granted anew to whoever wants it again", () => {
    const { world, members } = ClaimWorld.with(2);
    const [holder] = members as [ClaimMember];
    holder.claim();
    world.pass(3_000);
    const first = holder.holds.get("job") ?? 0;
    holder.isMute = true;
    holder.isDeaf = true;
    world.pass(8_000);
    holder.claim();
    holder.isMute = false;
    holder.isDeaf = false;
    world.pass(500);
    expect(holder.holds.get("job")).toBeGreaterThan(first);
  });

  it("that is granted while its wait is given up is freed by its token", () => {
    const { world, members } = ClaimWorld.with(2);
    const [a, b] = members as [ClaimMember, ClaimMember];
    a.claim();
    world.pass(300);
    b.claim();
    world.pass(300);
    b.isDeaf = true;
    a.unclaim();
    world.pass(300);
    expect(world.server.directory.claims.get("job")?.holder).toBe(b.id);
    b.unclaim();
    b.isDeaf = false;
    world.pass(500);
    expect(world.server.directory.claims.size).toBe(0);
    expect(b.events).toEqual([]);
  });
});

describe("whoever does not wait", () => {
  it("is told who has the key", () => {
    const { world, members } = ClaimWorld.with(2);
    members[0]?.claim();
    world.pass(300);
    members[1]?.claim("job", false);
    world.pass(300);
    const refused = members[1]?.events.find((event) => event.type === "claimRefused");
    expect(refused).toMatchObject({ code: "CLAIMED", holder: { id: members[0]?.id } });
  });

  it("gets a free key, and nothing in the first lease of a server", () => {
    const world = new ClaimWorld();
    const member = world.join(1);
    world.pass(300);
    member.claim("job", false);
    world.pass(300);
    expect(codesOf(member)).toEqual(["CLAIMS_UNSETTLED"]);
    world.pass(claimLeaseMs);
    member.claim("job", false);
    world.pass(300);
    expect(member.holds.has("job")).toBe(true);
  });

  it("is told at once that the server is away", () => {
    const { world, members } = ClaimWorld.with(1);
    const [member] = members as [ClaimMember];
    world.pass(300);
    world.disconnect(member);
    world.pass(100);
    member.claim("job", false);
    expect(codesOf(member)).toEqual(["CLAIMS_UNSETTLED"]);
  });
});

describe("a line", () => {
  it("passes over members that have fallen silent, and comes back to them", () => {
    const { world, members } = ClaimWorld.with(3);
    const [holder, silent, next] = members as [ClaimMember, ClaimMember, ClaimMember];
    for (const member of [holder, silent, next]) {
      member.claim();
      world.pass(300);
    }
    silent.isPaused = true;
    world.pass(6_000);
    holder.unclaim();
    world.pass(500);
    expect(next.holds.has("job")).toBe(true);
    next.unclaim();
    world.pass(500);
    silent.isPaused = false;
    world.pass(500);
    expect(silent.holds.has("job")).toBe(true);
  });

  it("does not keep a place for those whose sessions are over", () => {
    const { world, members } = ClaimWorld.with(3);
    const [holder, gone, next] = members as [ClaimMember, ClaimMember, ClaimMember];
    for (const member of [holder, gone, next]) {
      member.claim();
      world.pass(300);
    }
    world.disconnect(gone);
    holder.unclaim();
    world.pass(300);
    expect(next.holds.has("job")).toBe(true);
  });
});
