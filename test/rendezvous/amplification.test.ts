import { describe, expect, test } from "vitest";
import { linkAll, nativeMembers, Play, type Player } from "./play.js";

/**
 * What the server writes because of what one host says, against what that host sends, without the packets of TCP. Each of
 * these plays one minute in a mesh of fifty; SECURITY.md names the figures.
 */

const minuteMs = 60_000;
const limits = { probeMs: 3_600_000, silentMs: 7_200_000 };

interface Count {
  readonly received: number;
  readonly sent: number;
}

/** Plays a minute of what one host does each `everyMs`, and counts. */
function minuteOf(play: Play, everyMs: number, act: (index: number) => void): Count {
  const before = { received: play.receivedBytes, sent: play.sentBytes };
  for (let index = 0; index * everyMs < minuteMs; index += 1) {
    act(index);
    play.pass(everyMs);
  }
  const counted = { received: play.receivedBytes - before.received, sent: play.sentBytes - before.sent };
  if (process.env.FULLMESH_SHOW !== undefined) {
    const factor = (counted.sent / counted.received).toFixed(1);
    process.stdout.write(`${expect.getState().currentTestName}: ${counted.received} -> ${counted.sent}, ${factor}\n`);
  }
  return counted;
}

function linkedMesh(): { readonly play: Play; readonly a: Player; readonly b: Player } {
  const play = new Play({ limits });
  const players = nativeMembers(play, 50);
  linkAll(players);
  play.pass(10_000);
  const [a, b] = players as [Player, Player];
  return { play, a, b };
}

describe("what one host makes the server write in a minute, in a mesh of fifty", () => {
  test("is less than it sends, when it reports a link up and down", () => {
    const { play, a, b } = linkedMesh();
    const { received, sent } = minuteOf(play, 10, (index) => {
      if (index % 2 === 0) a.unlinked(b, "broken", "ECONNRESET");
      else a.linked([b, 1]);
    });
    expect(sent).toBeLessThan(received);
  });

  test("is at most 10 kB a second, when it keeps a link down for so long that it is told as missing", () => {
    const { play, a, b } = linkedMesh();
    const { sent } = minuteOf(play, 2_100, (index) => {
      if (index % 2 === 0) a.unlinked(b, "broken", "ECONNRESET");
      else a.linked([b, 1]);
    });
    expect(sent).toBeLessThan(10_000 * 60);
  });

  test("is at most 20 times what it sends, when it registers and leaves in the classic dialect", () => {
    const play = new Play({ limits });
    for (let port = 14_001; port <= 14_050; port += 1) play.call().send(`127.0.0.1:${port}`);
    play.pass(10_000);
    const { received, sent } = minuteOf(play, 10, () => {
      const caller = play.call();
      caller.send("127.0.0.1:20001");
      caller.finish();
      caller.close();
    });
    expect(sent).toBeLessThan(20 * received);
  });

  test("is two entries for each member and a directory, each time that it joins and leaves in the native dialect", () => {
    const { play } = linkedMesh();
    const { received, sent } = minuteOf(play, 100, () => {
      const player = play.native("127.0.0.1:20001").register();
      play.settle();
      player.leave("");
      player.caller.close();
    });
    expect(sent).toBeLessThan(100 * received);
  });
});
