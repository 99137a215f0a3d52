import { describe, expect, it } from "vitest";
import { drawMatrix, tallyMatrix } from "../../src/cli/link-matrix.js";
import { LinkTally } from "../../src/cli/link-tally.js";

const names = ["a:1", "b:1", "c:1", "d:1"];

/** A tally of `size` expected members, of which the first `joined` have joined. */
function tallyOf(size: number, joined = size): LinkTally {
  const tally = new LinkTally(size);
  for (const name of names.slice(0, joined)) tally.joined(name);
  return tally;
}

/** Both ends report the link between the members of these ranks. */
function link(tally: LinkTally, earlier: number, later: number): void {
  const [a = "", b = ""] = [names[earlier], names[later]];
  tally.link(a, b, "dialed");
  tally.link(b, a, "accepted");
}

describe("a link tally", () => {
  it("counts a pair when both ends have reported it, in either order", () => {
    const tally = tallyOf(2);
    tally.link("b:1", "a:1", "accepted");
    expect([tally.pairs, tally.isComplete]).toEqual([0, false]);
    tally.link("a:1", "b:1", "dialed");
    expect([tally.pairs, tally.duplicates, tally.isComplete]).toEqual([1, 0, true]);
  });

  it("is complete only when all members have joined and all pairs are linked", () => {
    const tally = tallyOf(3, 2);
    link(tally, 0, 1);
    expect(tally.isComplete).toBe(false);
    tally.joined("c:1");
    link(tally, 0, 2);
    expect(tally.isComplete).toBe(false);
    link(tally, 1, 2);
    expect(tally.isComplete).toBe(true);
  });

  it("counts as duplicates a link that one end reports twice, a pair that both dialed, and a refused connection", () => {
    const tally = tallyOf(2);
    tally.link("a:1", "b:1", "dialed");
    tally.link("a:1", "b:1", "dialed");
    expect(tally.duplicates).toBe(1);
    tally.link("b:1", "a:1", "dialed");
    expect([tally.duplicates, tally.pairs]).toEqual([2, 1]);
    tally.duplicateRefused();
    expect(tally.duplicates).toBe(3);
  });

  it("no longer counts a pair once one end has lost it", () => {
    const tally = tallyOf(2);
    link(tally, 0, 1);
    tally.unlink("a:1", "b:1");
    tally.unlink("b:1", "a:1");
    expect(tally.pairs).toBe(0);
    link(tally, 0, 1);
    expect([tally.pairs, tally.duplicates]).toEqual([1, 0]);
  });

  it("names the missing pairs of the members, and which end has not reported", () => {
    const tally = tallyOf(4, 3);
    link(tally, 0, 1);
    tally.link("a:1", "c:1", "dialed");
    expect(tally.missing()).toEqual([
      { a: "a:1", b: "c:1", reason: "c:1 has not reported it" },
      { a: "b:1", b: "c:1", reason: "not dialed, or not connected" },
    ]);
    tally.left("c:1");
    expect(tally.missing()).toEqual([]);
  });
});

describe("the link matrix", () => {
  it("shows the dialer of each pair, pairs that one end has reported, missing pairs, and members that have not joined", () => {
    const tally = tallyOf(4, 3);
    link(tally, 0, 1);
    tally.link("b:1", "c:1", "dialed");
    expect(drawMatrix(tallyMatrix(tally))).toEqual([
      "  0  a:1  \\ > .  ",
      "  1  b:1  < \\ -  ",
      "  2  c:1  . - \\  ",
      "  3             \\",
    ]);
  });

  it("packs two columns and four rows into one Braille character where a line has no room for all pairs", () => {
    const tally = new LinkTally(40);
    const members = Array.from({ length: 40 }, (_, rank) => `m${rank}:1`);
    for (const member of members) tally.joined(member);
    const empty = drawMatrix(tallyMatrix(tally));
    expect(empty).toHaveLength(10);
    // The diagonal alone: ranks 0 to 3 against 0 and 1, then 2 and 3.
    expect(empty[0]?.slice(5, 7)).toBe("\u2811\u2884");
    tally.link("m2:1", "m0:1", "accepted");
    tally.link("m0:1", "m2:1", "dialed");
    expect(drawMatrix(tallyMatrix(tally))[0]?.slice(5, 7)).toBe("\u2815\u2885");
  });
});
