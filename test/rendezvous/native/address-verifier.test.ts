import { describe, expect, test } from "vitest";
import { type Address, formatAddress } from "../../../src/protocol/address.js";
import { nativeMembers, Play, type Player } from "../play.js";

/** Somebody registers an address that accepts and never answers, or drops what comes. */
function tarpit(play: Play, address: Address, mesh?: string): Player {
  const player = play.native(address, mesh);
  play.listen(address, () => {});
  return player.register();
}

function tarpits(play: Play, host: string, count: number, mesh?: string): Player[] {
  return Array.from({ length: count }, (_, index) => tarpit(play, formatAddress({ host, port: 10_000 + index }), mesh));
}

/** How long an honest registration takes, up to a second. */
function msUntilListed(play: Play, address: Address, mesh = "default"): number {
  const began = play.now;
  play.native(address, mesh).register();
  while (!play.machine.membersOf(mesh).includes(address) && play.now - began < 1_000) play.pass(10);
  return play.now - began;
}

describe("an honest registrant is proved in less than a second", () => {
  test.each([16, 40, 500])("beside %i addresses of its own host that accept and never answer", (count) => {
    const play = new Play();
    tarpits(play, "10.0.0.1", count);
    expect(msUntilListed(play, "10.0.0.1:9000")).toBeLessThan(1_000);
  });

  test("beside hosts that have as many of them pending as a host may", () => {
    const play = new Play();
    for (const host of ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]) tarpits(play, host, 512);
    expect(msUntilListed(play, "10.0.0.9:9000")).toBeLessThan(200);
  });

  test("beside thousands in another mesh, from its own host", () => {
    const play = new Play();
    tarpits(play, "127.0.0.1", 3_000, "flooded");
    expect(msUntilListed(play, "127.0.0.1:9000", "quiet")).toBeLessThan(200);
  });

  test("beside members that are looked for and have vanished without a word", () => {
    const play = new Play();
    const gone = nativeMembers(play, 200);
    for (const member of gone) play.listen(member.address, () => {});
    for (const member of gone) member.caller.close("ECONNRESET");
    expect(msUntilListed(play, "127.0.0.1:9000")).toBeLessThan(200);
  });
});

test("many that are slow need few timers", () => {
  const play = new Play();
  for (let index = 0; index < 500; index += 1) {
    tarpit(play, formatAddress({ host: "10.0.0.1", port: 10_000 + index }));
    play.pass(1);
  }
  let timers = 0;
  const until = play.now + 1_000;
  for (let at = play.machine.nextTimeout(); at !== undefined && at < until; at = play.machine.nextTimeout()) {
    play.pass(at - play.now);
    timers += 1;
  }
  expect(timers).toBeLessThan(40);
});

describe("a slow dial-back", () => {
  test("has its time while there are few of them", () => {
    const play = new Play();
    const [slow] = tarpits(play, "10.0.0.1", 1) as [Player];
    play.pass(play.limits.challengeMs - 1);
    expect(slow.caller.state).toBe("open");
    play.pass(1);
    expect(slow.end.last("refuse")).toMatchObject({ code: "ADDRESS_UNPROVED" });
  });

  test("gives way when there are too many, the oldest of the host that has the most", () => {
    const play = new Play({ limits: { dialBacksSlow: 4 } });
    const other = tarpit(play, "10.0.0.9:9000");
    play.pass(1);
    const busy = tarpits(play, "10.0.0.1", 6);
    play.pass(play.limits.dialBackSlowMs);
    expect(busy.map(({ caller }) => caller.state)).toEqual([
      ...["halfClosed", "halfClosed", "halfClosed"],
      ...["open", "open", "open"],
    ]);
    expect(other.caller.state).toBe("open");
    expect(busy[0]?.end.last("refuse")).toMatchObject({ code: "ADDRESS_UNPROVED" });
  });

  test("gives way as one host with those to other addresses of its /64", () => {
    const play = new Play({ limits: { dialBacksSlow: 2 } });
    const first = tarpit(play, "10.0.0.9:9000");
    play.pass(1);
    const [oldest, newest] = ["[2001:db8::1:1]:9000", "[2001:db8::2:2]:9000"].map((address) =>
      tarpit(play, address as Address),
    );
    play.pass(play.limits.dialBackSlowMs);
    expect([first, oldest, newest].map((player) => player?.caller.state)).toEqual(["open", "halfClosed", "open"]);
  });

  test("is still proved when the answer comes", () => {
    const play = new Play();
    const far = play.native("10.0.0.1:9000");
    let answer = (): void => {};
    play.listen(far.address, (question, dialed) => {
      answer = () => {
        if (question.type !== "challenge") return;
        play.reply(dialed, { type: "here", id: far.id });
        far.caller.say({ type: "proof", nonce: question.nonce });
      };
    });
    far.register();
    play.pass(play.limits.challengeMs - 1);
    answer();
    expect(play.machine.members).toEqual([far.address]);
  });
});

test("a server that has no descriptor to dial with says so, and the registrant may try again", () => {
  const play = new Play();
  play.dialed = ({ connection }) => {
    play.give({ type: "closed", connection, failure: "EMFILE" });
    return true;
  };
  const player = play.native("127.0.0.1:9000").register();
  expect(player.end.last("refuse")).toMatchObject({ code: "NO_DESCRIPTORS", retryMs: 5_000 });
  expect(play.notes).toEqual(["NO_DESCRIPTORS"]);
});
