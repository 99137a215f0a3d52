import { afterEach, describe, expect, test, vi } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { DirectoryView } from "../../../src/mesh/native/directory-view.js";
import type { Id } from "../../../src/protocol/directory.js";
import { MemberRecord } from "../../../src/rendezvous/member-record.js";
import type { RecoveryClaim } from "../../../src/rendezvous/member-session.js";
import { Mesh } from "../../../src/rendezvous/mesh.js";
import { Recovery } from "../../../src/rendezvous/recovery.js";
import { nativeMembers, Play, type Player } from "../play.js";

/**
 * The shortest play that breaks each rule by which a mesh outlives its server: without the rule something goes wrong, and with it
 * nothing does. The server's machine is the real one, and so is the member's list of whom it knows. The rules that a member keeps
 * alone are in test/mesh/native/recovery-plays.test.ts.
 *
 * G1 A member names all whom it knows, linked or not.
 * G2 A member that comes back counts once its list has been read, and nothing is complete before.
 * G3 One member's word that another has ended removes nobody.
 * G5 The log goes on well above what a returned member has read: newcomers have orders of their own, behind all others.
 * G7 A mesh is not complete while a member has no session, whatever was reported of its links.
 */

const oldLog = "a".repeat(32);

interface Played {
  readonly play: Play;
  /** Members of a log that this server does not have, in the order in which they joined it. None of them is back. */
  readonly members: readonly [Player, Player, Player];
}

function begin(): Played {
  const play = new Play();
  const members = [14_001, 14_002, 14_003].map((port, index) => {
    const member = play.native(`127.0.0.1:${port}`);
    member.caller.close();
    member.lastOrder = index + 1;
    return member;
  });
  return { play, members: members as unknown as Played["members"] };
}

/** It knows these. */
function knows(player: Player, others: readonly Player[], gone: readonly Player[] = []): void {
  const view = new DirectoryView(player.id, defaultLimits);
  view.enter(oldLog);
  view.restore(
    [player, ...others].map(({ row }) => row),
    10,
    [],
    [],
  );
  player.known = [{ members: view.known.members, gone: gone.map(({ id }) => id) }];
}

function back(player: Player, highest = 10): void {
  player.resume(9, oldLog, { highest });
  player.play.settle();
}

/** Every member that is in reports its links with these. */
function link(...players: readonly Player[]): void {
  const inside = players.filter(({ end }) => end.last("admitted") !== undefined);
  for (const player of inside) {
    const others = inside.filter((other) => other !== player).map((other) => [other, 1] as const);
    player.linked(...others);
  }
}

/** What was told as complete with fewer members than there are. */
function completeTooEarly({ play, members }: Played): string[] {
  return play
    .eventsOf("complete")
    .filter((event) => event.members < members.length)
    .map((event) => `complete with ${event.members} of ${members.length}`);
}

function returnWith(change: (claim: RecoveryClaim) => Partial<RecoveryClaim>): void {
  const { recover } = Mesh.prototype;
  vi.spyOn(Mesh.prototype, "recover").mockImplementation(function (this: Mesh, session, claim, now) {
    return recover.call(this, session, { ...claim, ...change(claim) }, now);
  });
}

interface RecoveryPlay {
  readonly rule: string;
  readonly name: string;
  /** Takes the rule out. */
  readonly without: () => void;
  /** What goes wrong. */
  readonly wrongIn: (played: Played) => unknown[];
}

const plays: readonly RecoveryPlay[] = [
  {
    rule: "G1",
    name: "the last of three is linked with nobody, and the two others are back",
    without: () => {
      const known = Object.getOwnPropertyDescriptor(DirectoryView.prototype, "known")
        ?.get as () => DirectoryView["known"];
      vi.spyOn(DirectoryView.prototype, "known", "get").mockImplementation(function (this: DirectoryView) {
        const { members, gone } = known.call(this);
        return { members: members.filter(({ order }) => order < 3), gone };
      });
    },
    wrongIn: (played) => {
      const [a, b, c] = played.members;
      knows(a, [b, c]);
      knows(b, [a, c]);
      back(a);
      back(b);
      link(a, b);
      return completeTooEarly(played);
    },
  },
  {
    rule: "G2",
    name: "two are back, and the list of the one that knows a third is on its way",
    without: () => {
      const { beginRecovery } = Mesh.prototype;
      vi.spyOn(Mesh.prototype, "beginRecovery").mockImplementation(function (this: Mesh, session, now) {
        beginRecovery.call(this, session, now);
        if (session.recovery !== undefined) this.recover(session, session.recovery, now);
      });
    },
    wrongIn: (played) => {
      const [a, b] = played.members;
      a.known = undefined;
      knows(b, [a]);
      back(a);
      back(b);
      link(a, b);
      return completeTooEarly(played);
    },
  },
  {
    rule: "G3",
    name: "a hostile member is back first, and says of all others that they have ended",
    without: () => {
      const ended = new Set<Id>();
      const { recover } = Mesh.prototype;
      vi.spyOn(Mesh.prototype, "recover").mockImplementation(function (this: Mesh, session, claim, now) {
        for (const id of claim.gone) ended.add(id);
        return recover.call(this, session, claim, now);
      });
      const { isWelcome } = Recovery.prototype;
      vi.spyOn(Recovery.prototype, "isWelcome").mockImplementation(function (this: Recovery, id, now) {
        return !ended.has(id) && isWelcome.call(this, id, now);
      });
    },
    wrongIn: ({ members }) => {
      const [hostile, ...others] = members;
      knows(hostile, [], others);
      back(hostile);
      for (const other of others) {
        knows(
          other,
          members.filter((one) => one !== other),
        );
        back(other);
      }
      return others.flatMap(({ end }) => end.all("refuse"));
    },
  },
  {
    rule: "G5",
    name: "the clock has gone back, and a newcomer comes between two that are back",
    // It goes on where its clock says.
    without: () => returnWith(() => ({ highest: -(2 ** 20) })),
    wrongIn: ({ play, members: [a, b] }) => {
      back(a);
      const [newcomer] = nativeMembers(play, 1, "default", 15_001) as [Player];
      back(b);
      return newcomer.order > b.order ? [] : [`a newcomer has the order ${newcomer.order}`];
    },
  },
  {
    rule: "G5",
    name: "the one that is back has not read of the one that joined last",
    // Goes on at what is claimed, and not well above it.
    without: () => returnWith(({ highest }) => ({ highest: highest - 2 ** 20 })),
    wrongIn: ({ play, members: [a, , c] }) => {
      c.lastOrder = 12;
      back(a, 10);
      const newcomers = nativeMembers(play, 2, "default", 15_001);
      back(c, 12);
      return newcomers.map(({ order }) => order).filter((order) => order <= c.order);
    },
  },
  {
    rule: "G7",
    name: "the session of one breaks, its link with the other too, and the other does not know yet",
    without: () =>
      vi.spyOn(MemberRecord.prototype, "isPresent", "get").mockImplementation(function (this: MemberRecord) {
        return this.member !== undefined;
      }),
    wrongIn: ({ play, members: [a, b] }) => {
      knows(a, [b]);
      knows(b, [a]);
      back(a);
      back(b);
      a.linked([b, 1]);
      // Whoever listens there says nothing: it is neither here nor gone.
      play.listen(a.address, () => {});
      a.caller.close("ECONNRESET");
      b.linked([a, 1]);
      return play.eventsOf("complete");
    },
  },
];

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a mesh whose server was started with nothing in memory", () => {
  test.each(plays)("is right with $rule: $name", ({ wrongIn }) => {
    expect(wrongIn(begin())).toEqual([]);
  });

  test.each(plays)("and goes wrong without $rule: $name", ({ without, wrongIn }) => {
    without();
    expect(wrongIn(begin())).not.toEqual([]);
  });
});
