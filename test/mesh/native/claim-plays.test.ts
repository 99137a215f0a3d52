import { describe, expect, it } from "vitest";
import { claimLeaseMs } from "../../../src/protocol/claims.js";
import { type ClaimMember, ClaimWorld, type Clause } from "./claim-world.js";

/**
 * The shortest play that breaks each rule of claims: without the rule two members hold one key, and with it they never do.
 * The machines of the server and of the members are the real ones.
 *
 * C1 A holder gives up earlier than the server frees its key, by more than their clocks differ.
 * C2 A holder counts its lease from when it has sent a renewal, not from when it reads the answer.
 * C3 A key is not passed on because its holder is lost: that one may live.
 * C4 A server that has just begun grants nothing for one lease, though all are back of whom it has heard.
 * C5 Nor does it grant anything at once.
 * C6 A claim begins only if its holder's lease would still run.
 * C7 A claim that its holder has given up by itself is given up at the next contact, and never presented.
 */

type Play = (world: ClaimWorld, members: readonly [ClaimMember, ClaimMember, ClaimMember]) => void;

/** The first member holds the key, and the second waits for it. */
function held(world: ClaimWorld, [holder, next]: readonly ClaimMember[]): void {
  holder?.claim();
  world.pass(200);
  next?.claim();
  world.pass(4_000);
  expect(holder?.holds.has("job")).toBe(true);
  expect(next?.holds.has("job")).toBe(false);
}

function cut(member: ClaimMember): void {
  member.isMute = true;
  member.isDeaf = true;
}

const plays: Readonly<Record<Exclude<Clause, "early" | "reused">, readonly [name: string, play: Play]>> = {
  C1: [
    "the holder is cut off, its clocks are late, and those of the server early",
    (world, members) => {
      held(world, members);
      const [holder] = members;
      cut(holder);
      world.pass(2_000);
      holder.monotonicMs -= 1_400;
      holder.wallMs -= 1_400;
      world.pass(12_000);
    },
  ],
  C2: [
    "an answer is read long after its renewal was sent, and nothing more is",
    (world, members) => {
      held(world, members);
      const [holder] = members;
      holder.isDeaf = true;
      world.pass(2_200);
      holder.isMute = true;
      world.pass(4_000);
      holder.isDeaf = false;
      world.pass(100);
      holder.isDeaf = true;
      world.pass(12_000);
    },
  ],
  C3: [
    "the session of the holder breaks, its dial-back is refused, and it is lost",
    (world, members) => {
      held(world, members);
      const [holder] = members;
      world.disconnect(holder);
      world.server.append({ type: "lost", id: holder.id, reason: "refused" }, world.now);
      world.pass(15_000);
    },
  ],
  C4: [
    "a server begins anew, and a contender is back before the holder, of which it has said nothing",
    (world, members) => {
      held(world, members);
      const [, contender] = members;
      world.restart();
      world.connect(contender);
      world.pass(15_000);
    },
  ],
  C5: [
    "a server begins anew, and a contender is back a second before the holder",
    (world, members) => {
      held(world, members);
      const [holder, contender] = members;
      world.restart();
      world.connect(contender);
      world.pass(1_000);
      world.connect(holder);
      world.pass(15_000);
    },
  ],
  C6: [
    "a grant is read a lease late, when the key has been passed on",
    (world, members) => {
      held(world, members);
      const [holder, next, third] = members;
      third.claim();
      world.pass(1_000);
      next.isDeaf = true;
      next.isMute = true;
      holder.unclaim();
      world.pass(claimLeaseMs + 1_000);
      expect(third.holds.has("job")).toBe(true);
      next.isDeaf = false;
      next.mostRead = 1;
      world.pass(3_000);
    },
  ],
  C7: [
    "the holder gives up, the key is passed on, and the server begins anew: the old holder is back first, and wants it again",
    (world, members) => {
      held(world, members);
      const [holder, next] = members;
      cut(holder);
      world.pass(12_000);
      expect(next.holds.has("job")).toBe(true);
      world.restart();
      holder.isMute = false;
      holder.isDeaf = false;
      holder.claim();
      world.connect(holder);
      world.pass(2_000);
      world.connect(next);
      world.pass(20_000);
    },
  ],
};

const cases = Object.entries(plays).map(([clause, [name, play]]) => ({ clause: clause as Clause, name, play }));

describe("two members never hold one key", () => {
  it.each(cases)("with $clause: $name", ({ play }) => {
    const { world, members } = ClaimWorld.with(3);
    play(world, members as unknown as Parameters<Play>[1]);
    expect(world.conflicts).toEqual([]);
    expect(world.tokens).toEqual([...new Set(world.tokens)].sort((a, b) => a - b));
  });

  it.each(cases)("but without $clause they do: $name", ({ clause, play }) => {
    const { world, members } = ClaimWorld.with(3, clause);
    play(world, members as unknown as Parameters<Play>[1]);
    expect(world.conflicts).not.toEqual([]);
  });
});
