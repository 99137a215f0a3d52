import { afterEach, describe, expect, test, vi } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { NativePeers } from "../../../src/mesh/native/peers.js";
import type { Id } from "../../../src/protocol/directory.js";
import { idOf, joined, listed } from "./names.js";
import type { Node } from "./node.js";
import { World } from "./world.js";

/**
 * The shortest play that breaks each rule that a member keeps when its server was started with nothing in memory: without the
 * rule a link is lost, and with it none is. The rules of the server are in test/rendezvous/native/recovery-plays.test.ts.
 *
 * G4 A member gives nobody up whom the new log has said nothing of, however long the link with it is broken: only an entry ends it.
 * G6 A later whole directory of the new log says nothing of those whom that log has never listed.
 */

const newLog = "2".repeat(32);

/** Its server lets it in again, with a log that lists nobody else. */
function welcome(node: Node): void {
  node.loseSession().reachAgain();
  node.hear(
    { type: "admitted", log: newLog, order: 1, revision: 50, observed: node.address, leaseMs: 20_000 },
    { type: "directory", revision: 50, members: [listed(1)] },
  );
}

/** A whole directory takes these for gone, beside those whom it says to be gone. */
function goneOnReading(idsOf: (peers: NativePeers, named: ReadonlySet<Id>) => readonly Id[]): void {
  const { directoryRead } = NativePeers.prototype;
  vi.spyOn(NativePeers.prototype, "directoryRead").mockImplementation(function (
    this: NativePeers,
    members,
    claims,
    gone,
    revision,
    now,
  ) {
    const more = idsOf(this, new Set(members.map(({ id }) => id)));
    directoryRead.call(this, members, claims, [...gone, ...more], revision, now);
  });
}

interface RecoveryPlay {
  readonly rule: string;
  readonly name: string;
  /** Takes the rule out. */
  readonly without: () => void;
  /** Returns the two whose link must be up in the end. */
  readonly play: (world: World) => { readonly owner: Node; readonly later: Node };
}

const plays: readonly RecoveryPlay[] = [
  {
    rule: "G4",
    name: "the link with one that is late is broken, and it comes back with its old id",
    without: () =>
      goneOnReading(({ missing }, named) => missing.map(({ peer }) => peer.id).filter((id) => !named.has(id))),
    play: (world) => {
      const { owner, later, wire } = world.pair();
      owner.send(later, "a");
      wire.flow();
      wire.cut("dialer").cut("acceptor");
      welcome(owner);
      owner.entries(joined(listed(2), 51));
      world.live(defaultLimits.redialMaxMs);
      return { owner, later };
    },
  },
  {
    rule: "G6",
    name: "a member comes back twice before another does, and reads the whole directory each time",
    without: () => {
      const read = new WeakSet<NativePeers>();
      goneOnReading((peers, named) => {
        const isLater = read.has(peers);
        if (named.size === 1) read.add(peers);
        return isLater ? [idOf(2)].filter((id) => !named.has(id)) : [];
      });
    },
    play: (world) => {
      const { owner, later } = world.pair();
      welcome(owner);
      welcome(owner);
      return { owner, later };
    },
  },
];

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a member whose server was started with nothing in memory", () => {
  test.each(plays)("keeps its link with $rule: $name", ({ play }) => {
    const { owner, later } = play(new World());
    expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
    expect([...owner.eventsOf("unlink"), ...later.eventsOf("unlink")]).toEqual([]);
  });

  test.each(plays)("and loses it without $rule: $name", ({ without, play }) => {
    without();
    const { owner, later } = play(new World());
    expect([owner.isUp(later), later.isUp(owner)]).not.toEqual([true, true]);
  });
});
