import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Address } from "../../../src/protocol/address.js";
import { Directory, type Member } from "../../../src/protocol/directory.js";
import type { Control } from "../../../src/protocol/native/control.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import type { RendezvousEvent } from "../../../src/rendezvous/types.js";
import { type NativeEnd, Play, type Player } from "../play.js";

/**
 * Whatever callers do, and in whatever order: the machine never fails, and what it promises holds at every step.
 */

const deeds = [
  "join",
  "join",
  "join",
  "classic",
  "resume",
  "link",
  "link",
  "unlink",
  "leave",
  "finish",
  "break",
  "die",
  "gone",
  "lie",
  "probe",
  "garbage",
  "answer",
  "answer",
  "answer",
  "pass",
  "pass",
  "stall",
] as const;

interface Step {
  readonly deed: (typeof deeds)[number];
  readonly who: number;
  readonly whom: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  deed: fc.constantFrom(...deeds),
  who: fc.nat({ max: 5 }),
  whom: fc.nat({ max: 5 }),
});

const rules = fc.record({
  capacity: fc.constantFrom(2, 3, Number.POSITIVE_INFINITY),
  onFull: fc.constantFrom("hold" as const, "teardown" as const),
});

const foreign: readonly Control[] = [
  { type: "proof", nonce: "f".repeat(32) },
  { type: "here", id: "f".repeat(32) },
  { type: "waiting", place: 1 },
  { type: "refuse", code: "BUSY", message: "no" },
  {
    type: "resume",
    mesh: "default",
    id: "f".repeat(32),
    address: "127.0.0.1:1",
    log: "f".repeat(32),
    revision: 3,
    order: 2,
    highest: 9,
  },
  { type: "known", members: [], gone: ["e".repeat(32)] },
  { type: "probe", mesh: "default", id: "f".repeat(32), address: "127.0.0.1:1" },
];

function port(index: number): Address {
  return `127.0.0.1:${14_001 + index}`;
}

class Run {
  readonly play: Play;
  readonly players = new Map<number, Player>();

  constructor(play: Play) {
    this.play = play;
  }

  /** Asks whether others reach an address; may be gone before the answer. */
  #probe(address: Address): void {
    const caller = this.play.call();
    caller.send(encodePreface());
    caller.say({ type: "probe", mesh: "default", id: this.play.id(), address });
    if (this.play.now % 2 === 0) caller.close();
  }

  take({ deed, who, whom }: Step): void {
    const { play, players } = this;
    const player = players.get(who);
    const other = players.get(whom);
    if (deed === "join") players.set(who, play.native(port(who), who === 5 ? "another" : "default").register());
    else if (deed === "classic") play.call().send(port(whom));
    else if (deed === "probe") this.#probe(port(whom));
    else if (deed === "answer") this.#answer();
    else if (deed === "pass") play.pass([1, 10, 100, 1_000, 5_000, 20_000][whom] ?? 1);
    else if (deed === "stall") this.#stall();
    else if (player !== undefined) this.#do(deed, player, other, whom);
  }

  #do(deed: Step["deed"], player: Player, other: Player | undefined, choice: number): void {
    const { play } = this;
    if (deed === "resume") player.resume(choice);
    else if (deed === "link") player.linked([other ?? play.memberOf(1), 1 + (choice % 2)]);
    else if (deed === "unlink") player.unlinked(other ?? play.memberOf(1), "broken", "ECONNRESET");
    else if (deed === "leave") player.leave();
    else if (deed === "finish") player.caller.finish();
    else if (deed === "break") player.caller.close("ECONNRESET");
    else if (deed === "die") player.die();
    else if (deed === "gone") this.play.listen(player.address, () => {});
    else if (deed === "lie") player.caller.say(foreign[choice % foreign.length] ?? { type: "leave", reason: "" });
    else if (deed === "garbage") player.caller.send(Uint8Array.of(choice, 0, 3, choice, 7));
  }

  #answer(): void {
    if (this.play.appends.length > 0) this.play.answer();
  }

  /** Readers stop reading, or read again. */
  #stall(): void {
    const { play } = this;
    play.isFlushing = !play.isFlushing;
    if (play.isFlushing) for (const connection of play.callers.keys()) play.give({ type: "flushed", connection });
  }

  /** The directory of a mesh that follows from what the server has told its owner. */
  told(mesh: string): Map<string, Told> {
    const members = new Map<string, Told>();
    for (const event of this.play.events) {
      if (event.type === "closed" || !("mesh" in event) || event.mesh !== mesh) continue;
      if (event.type === "joined") this.#joined(members, event);
      else if (event.type === "left" || event.type === "lost") members.delete(event.id);
      else if (event.type === "forgotten") members.clear();
    }
    return new Map([...members].sort(([a, { order }], [b, other]) => order - other.order || (a < b ? -1 : 1)));
  }

  #joined(members: Map<string, Told>, event: Extract<RendezvousEvent, { type: "joined" }>): void {
    if (event.replaces !== undefined) members.delete(event.replaces);
    members.set(event.id, { address: event.address, order: event.order, hasReturned: event.returned === true });
  }
}

/** A member, as the server has told its owner of it. */
interface Told {
  readonly address: Address;
  readonly order: number;
  /** It was let in by what it said of an earlier log. */
  readonly hasReturned: boolean;
}

/** The members' ids that follow from what a member has been told. */
function heardBy(end: NativeEnd): string[] {
  const directory = new Directory();
  let members: readonly Member[] = [];
  for (const control of end.controls) {
    if (control.type === "directory") {
      members = [...members, ...control.members];
      if (control.more === true) continue;
      directory.restore(members, control.revision);
      members = [];
    } else if (control.type === "entries") for (const entry of control.entries) directory.apply(entry);
  }
  return directory.members.map(({ id }) => id);
}

function checkSafety(run: Run, capacity: number): void {
  const addresses: Address[] = [];
  for (const mesh of ["default", "another"]) {
    const members = [...run.told(mesh).values()];
    // Whoever comes back is refused for no capacity, and has the order that it claims.
    const admitted = members.filter(({ hasReturned }) => !hasReturned);
    expect(admitted.length, "S7: never more members admitted than the capacity").toBeLessThanOrEqual(capacity);
    expect(run.play.machine.membersOf(mesh)).toEqual(members.map(({ address }) => address));
    expect(new Set(admitted.map(({ order }) => order)).size, "S6: orders are unique").toBe(admitted.length);
    if (run.play.eventsOf("teardown").every((event) => event.mesh !== mesh)) {
      addresses.push(...members.map(({ address }) => address));
    }
  }
  expect(new Set(addresses).size, "S6: a live address belongs to one member of the server").toBe(addresses.length);
}

/** Whoever is a member and has been told everything knows exactly the members there are. */
function checkViews(run: Run): void {
  const { play } = run;
  play.isLogSlow = false;
  while (play.appends.length > 0) play.answer();
  play.isFlushing = true;
  for (const connection of play.callers.keys()) play.give({ type: "flushed", connection });
  play.settle();
  for (const player of run.players.values()) {
    const told = run.told(player.mesh);
    const isTold = player.end.last("admitted") !== undefined && player.end.all("directory").length > 0;
    const isOver = player.caller.isGone || player.caller.state !== "open" || player.end.last("teardown") !== undefined;
    if (isTold && !isOver && told.has(player.id)) expect(heardBy(player.end)).toEqual([...told.keys()]);
  }
}

function checkEnd({ play }: Run): void {
  play.give({ type: "teardown", reason: "the play is over" });
  play.pass(2 * (play.limits.drainMs + play.limits.lingerMs));
  for (const caller of play.callers.values()) if (!caller.isGone) caller.close();
  expect(play.eventsOf("closed"), "S10: nothing is left open").toHaveLength(1);
  expect(play.dials.filter(({ isOpen }) => isOpen)).toEqual([]);
  expect(play.machine.nextTimeout()).toBeUndefined();
}

describe("whatever callers do, in whatever order", () => {
  test.each([
    ["with a log that answers at once", false],
    ["with a log that answers later", true],
  ])("directories are true, bounded and the same for all, and the end leaves nothing: %s", (_, isLogSlow) => {
    fc.assert(
      fc.property(rules, fc.array(step, { minLength: 20, maxLength: 60, size: "max" }), (choice, script) => {
        const run = new Run(new Play({ ...choice, limits: { dialBacks: 2, logEntries: 4 } }));
        run.play.isLogSlow = isLogSlow;
        for (const each of script) {
          run.take(each);
          checkSafety(run, choice.capacity);
        }
        checkViews(run);
        checkEnd(run);
      }),
      { numRuns: 200 },
    );
  });
});
