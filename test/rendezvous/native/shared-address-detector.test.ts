import { describe, expect, test } from "vitest";
import { Play } from "../play.js";

const address = "127.0.0.1:14001";

function sharedIn(play: Play): number {
  return play.notes.filter((code) => code === "ADDRESS_SHARED").length;
}

describe("an address at which one member after the other proves to be", () => {
  test("is said to be shared, if the one before is connected each time, and each is told why it is out", () => {
    const play = new Play();
    let player = play.native(address).register();
    for (let times = 1; times <= play.limits.sharedAddressTimes; times += 1) {
      expect(sharedIn(play)).toBe(0);
      play.pass(1_000);
      const old = player;
      player = play.native(address).register();
      expect(old.end.last("refuse")).toEqual({
        type: "refuse",
        code: "FENCED",
        message: "somebody else has proved the address; join anew",
      });
    }
    expect(sharedIn(play)).toBe(1);
    play.native(address).register();
    expect(sharedIn(play)).toBe(2);
  });

  test("is not, if the one before has died each time", () => {
    const play = new Play();
    // Somebody must be there, or nobody is judged.
    play.native("127.0.0.1:14002").register();
    for (let times = 0; times < 10; times += 1) {
      const player = play.native(address).register();
      player.caller.close("ECONNRESET");
      play.pass(100);
    }
    expect(sharedIn(play)).toBe(0);
  });

  test("is not, if each has lasted", () => {
    const play = new Play();
    for (let times = 0; times < 10; times += 1) {
      const player = play.native(address).register();
      for (let passed = 0; passed < play.limits.admissionProvenMs; passed += 5_000) {
        play.pass(5_000);
        player.linked();
      }
    }
    expect(sharedIn(play)).toBe(0);
  });
});
