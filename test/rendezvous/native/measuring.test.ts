import { describe, expect, test } from "vitest";
import { encodeTextFrame, frameKinds } from "../../../src/protocol/native/frames.js";
import type { PairStatus } from "../../../src/protocol/status.js";
import { linkAll, nativeMembers, Play, type Player } from "../play.js";

const mesh = "default";

/** Asks for a pair, as somebody who looks at it does. */
function look(play: Play, a: Player, b: Player): PairStatus | undefined {
  play.give({ type: "measure", mesh, a: a.address, b: b.address });
  return play.machine.pair(mesh, a.address, b.address, play.now);
}

/** What a member was told to do, the newest last. */
function calls({ end }: Player): number[] {
  return end.all("measure").map(({ everyMs }) => everyMs);
}

function measures(player: Player, other: { readonly id: string }, roundTripMs: number | null, queuedBytes = 0): void {
  player.caller.say({ type: "measured", links: [[other.id, roundTripMs, queuedBytes]] });
}

describe("whoever looks at a pair", () => {
  test("gets what each end has said last and since when, the owner first, whichever is named first", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    expect(look(play, a, b)?.ends.map(({ report }) => report)).toEqual([undefined, undefined]);
    const linkedAt = play.now;
    linkAll([a, b]);
    play.pass(1_000);
    linkAll([a, b]);
    expect(look(play, b, a)).toEqual({
      mesh,
      isUp: true,
      ends: [a, b].map(({ address }) => ({
        address,
        dialect: "native",
        report: { stage: "up", attempt: 1, at: linkedAt },
      })),
    });
    a.unlinked(b, "dialing", "ECONNREFUSED", 2);
    b.unlinked(a, "broken", "ECONNRESET");
    const { isUp, ends } = look(play, a, b) as PairStatus;
    expect([isUp, ...ends.map(({ report }) => report)]).toEqual([
      false,
      { stage: "dialing", attempt: 2, reason: "ECONNREFUSED", at: play.now },
      { stage: "broken", attempt: 1, reason: "ECONNRESET", at: play.now },
    ]);
  });

  test("has its two ends measure, nobody else, and for as long as somebody asks", () => {
    const play = new Play();
    const members = nativeMembers(play, 3) as [Player, Player, Player];
    const [a, b] = members;
    linkAll(members);
    expect(members.map(calls)).toEqual([[], [], []]);
    expect(look(play, a, b)?.ends[0]).not.toHaveProperty("queuedBytes");
    for (let times = 0; times < 10; times += 1) {
      play.pass(play.limits.measureMs);
      measures(a, b, 0.25, 4_096);
      measures(b, a, null);
      expect(look(play, a, b)?.ends).toMatchObject([{ roundTripMs: 0.25, queuedBytes: 4_096 }, { queuedBytes: 0 }]);
    }
    expect(look(play, a, b)?.ends[1]).not.toHaveProperty("roundTripMs");
    expect(members.map(calls)).toEqual([[1_000], [1_000], []]);
    play.pass(5 * play.limits.measureMs);
    expect(members.map(calls)).toEqual([[1_000, 0], [1_000, 0], []]);
    measures(a, b, 0.5);
    expect(play.machine.pair(mesh, a.address, b.address, play.now)?.ends[0]).not.toHaveProperty("roundTripMs");
  });

  test("gets nothing for members that are not listed, and figures only of a link that its end holds", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    linkAll([a, b]);
    look(play, a, b);
    measures(a, b, 1);
    a.unlinked(b, "broken", "ECONNRESET");
    expect(look(play, a, b)?.ends[0]).not.toHaveProperty("roundTripMs");
    expect(look(play, a, a)).toBeUndefined();
    b.leave();
    play.settle();
    expect(look(play, a, b)).toBeUndefined();
  });

  test("has a member that has come back asked anew, because it has forgotten", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    look(play, a, b);
    const revision = play.machine.revisionOf(mesh);
    a.resume(revision);
    play.settle();
    expect(a.end.last("admitted")).toBeDefined();
    expect(calls(a)).toEqual([]);
    look(play, a, b);
    expect([calls(a), calls(b)]).toEqual([[1_000], [1_000]]);
  });

  test("costs a bounded number of members that measure: beyond it, whoever was asked for longest ago stops", () => {
    const play = new Play({ limits: { measuring: 2 } });
    const [a, b, c] = nativeMembers(play, 3) as [Player, Player, Player];
    look(play, a, b);
    look(play, b, c);
    expect([a, b, c].map(calls)).toEqual([[1_000, 0], [1_000], [1_000]]);
  });
});

describe("what a member says that it has measured", () => {
  test("is ignored of links with strangers, and when nobody has asked", () => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    linkAll([a, b]);
    const { size } = play.machine;
    measures(a, b, 1);
    expect(look(play, a, b)?.ends[0]).not.toHaveProperty("roundTripMs");
    for (let stranger = 0; stranger < 100; stranger += 1) measures(a, { id: play.id() }, 1);
    measures(a, b, 2);
    expect(look(play, a, b)?.ends[0]).toMatchObject({ roundTripMs: 2 });
    expect([play.machine.size, a.end.last("refuse")]).toEqual([size, undefined]);
  });

  test.each(["-1", "1e999", "86400001", '"1"', "NaN", "1, -5", "1, 0.5"])("is a bad frame with %s", (figure) => {
    const play = new Play();
    const [a, b] = nativeMembers(play, 2) as [Player, Player];
    look(play, a, b);
    const row = figure.includes(",") ? `${figure}` : `${figure}, 0`;
    a.caller.send(encodeTextFrame(frameKinds.control, `{"type":"measured","links":[["${b.id}",${row}]]}`));
    play.settle();
    expect(a.end.last("refuse")).toMatchObject({ code: "BAD_FRAME" });
  });
});
