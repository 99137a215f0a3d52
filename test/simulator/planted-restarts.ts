import { vi } from "vitest";
import { DirectoryView } from "../../src/mesh/native/directory-view.js";
import { NativePeers } from "../../src/mesh/native/peers.js";
import { NativeSession } from "../../src/mesh/native/session.js";
import { claimLeaseMs } from "../../src/protocol/claims.js";
import type { Id } from "../../src/protocol/directory.js";
import type { Control } from "../../src/protocol/native/control.js";
import { Admission } from "../../src/rendezvous/admission.js";
import { ClaimRegistry } from "../../src/rendezvous/claim-registry.js";
import type { RecoveryClaim } from "../../src/rendezvous/member-session.js";
import { Members } from "../../src/rendezvous/members.js";
import { Mesh } from "../../src/rendezvous/mesh.js";
import { Recovery } from "../../src/rendezvous/recovery.js";
import type { Plant } from "./planted.js";

/** Changes what a returned member has said of itself and of others, when it is let in. */
function returnWith(change: (claim: RecoveryClaim) => Partial<RecoveryClaim>): void {
  const { recover } = Mesh.prototype;
  vi.spyOn(Mesh.prototype, "recover").mockImplementation(function (this: Mesh, session, claim, now) {
    return recover.call(this, session, { ...claim, ...change(claim) }, now);
  });
}

/** A member takes these ids for gone when it reads a whole directory. */
function goneOnReading(idsOf: (peers: NativePeers, listed: ReadonlySet<Id>) => readonly Id[]): void {
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

/** Keys are granted in the first lease of the server, as soon as this is true of the mesh. */
function grantEarly(mayGrant: (mesh: Mesh, now: number) => boolean): void {
  const { heard } = ClaimRegistry.prototype;
  vi.spyOn(ClaimRegistry.prototype, "heard").mockImplementation(function (this: ClaimRegistry, id, now) {
    heard.call(this, id, now + claimLeaseMs);
  });
  const { checkLeases } = ClaimRegistry.prototype;
  vi.spyOn(ClaimRegistry.prototype, "checkLeases").mockImplementation(function (this: ClaimRegistry, now) {
    checkLeases.call(this, now + claimLeaseMs);
  });
  const { review } = Mesh.prototype;
  vi.spyOn(Mesh.prototype, "review").mockImplementation(function (this: Mesh, lastListAt, now) {
    if (mayGrant(this, now)) this.claims.retry(now + claimLeaseMs);
    return review.call(this, lastListAt, now);
  });
}

/**
 * Bugs in the rules by which a mesh outlives its server, each of them one rule that is missing. G1 to G7 are said in the
 * recovery-plays.test.ts of the server and of members, C1 to C7 in test/mesh/native/claim-plays.test.ts.
 */
export const restartPlants: readonly Plant[] = [
  {
    when: "a member that comes back is given another order",
    plant: () => returnWith(({ order }) => ({ order: order + 1_000 })),
    seed: 1,
    breaks: "S6",
  },
  {
    when: "those whom a returned member knows are not waited for",
    plant: () => returnWith(() => ({ known: [] })),
    seed: 8,
    breaks: "L1",
  },
  {
    when: "a member names only those with whom it has a link [G1]",
    plant: () => {
      const viewsOf = new WeakMap<DirectoryView, NativePeers>();
      const { flush } = NativePeers.prototype;
      vi.spyOn(NativePeers.prototype, "flush").mockImplementation(function (this: NativePeers, now) {
        viewsOf.set(this.roster, this);
        flush.call(this, now);
      });
      const known = Object.getOwnPropertyDescriptor(DirectoryView.prototype, "known")
        ?.get as () => DirectoryView["known"];
      vi.spyOn(DirectoryView.prototype, "known", "get").mockImplementation(function (this: DirectoryView) {
        const { members, gone } = known.call(this);
        const isLinked = (address: (typeof members)[number]["address"]): boolean =>
          viewsOf.get(this)?.link(address)?.state === "up";
        return { members: members.filter(({ address }) => isLinked(address)), gone };
      });
    },
    seed: 40,
    breaks: "C1",
  },
  {
    when: "a member that comes back counts before its list has been read [G2]",
    plant: () => {
      const { beginRecovery } = Mesh.prototype;
      vi.spyOn(Mesh.prototype, "beginRecovery").mockImplementation(function (this: Mesh, session, now) {
        beginRecovery.call(this, session, now);
        if (session.recovery !== undefined) this.recover(session, session.recovery, now);
      });
    },
    seed: 8,
    breaks: "L1",
  },
  {
    when: "one member's word that another has ended removes it [G3]",
    plant: () => {
      const { recover } = Mesh.prototype;
      vi.spyOn(Mesh.prototype, "recover").mockImplementation(function (this: Mesh, session, claim, now) {
        for (const id of claim.gone) {
          const record = this.members.get(id);
          if (record?.member !== undefined)
            this.membership.remove(record, "lost", "a member says that it has ended", now);
        }
        return recover.call(this, session, claim, now);
      });
    },
    seed: 32,
    breaks: "N13",
  },
  {
    when: "a member gives up a broken link with somebody whom the new log has said nothing of [G4]",
    plant: () =>
      goneOnReading(({ roster, missing }, listed) => {
        const broken = missing.filter(({ hasBeenUp }) => hasBeenUp).map(({ peer }) => peer.id);
        return broken.filter((id) => id !== roster.id && !listed.has(id));
      }),
    seed: 40,
    breaks: "A1",
  },
  {
    when: "whoever is expected is given up without an entry [G4]",
    plant: () => {
      const { review } = Mesh.prototype;
      vi.spyOn(Mesh.prototype, "review").mockImplementation(function (this: Mesh, lastListAt, now) {
        for (const record of this.members.expected) {
          if (record.expectation?.isOverdue === true) this.members.drop(record);
        }
        return review.call(this, lastListAt, now);
      });
    },
    seed: 8,
    breaks: "L1",
  },
  {
    when: "a new log goes on below what its members have read [G5]",
    plant: () => returnWith(() => ({ highest: -(2 ** 20) })),
    seed: 20,
    breaks: "S11",
  },
  {
    when: "a newcomer that was looking for a server whose clock has gone back is let in before the members",
    plant: () => vi.spyOn(Recovery.prototype, "hold").mockReturnValue(false),
    seed: 196,
    breaks: "S6",
  },
  {
    when: "whom a later whole directory of the new log does not name is gone [G6]",
    plant: () => {
      const read = new WeakSet<DirectoryView>();
      const { enter } = DirectoryView.prototype;
      vi.spyOn(DirectoryView.prototype, "enter").mockImplementation(function (this: DirectoryView, log) {
        const revision = this.revision;
        const left = enter.call(this, log);
        if (this.revision < revision) read.delete(this);
        return left;
      });
      goneOnReading(({ roster }, listed) => {
        const isLater = read.has(roster);
        read.add(roster);
        return isLater ? roster.members.map(({ id }) => id).filter((id) => !listed.has(id)) : [];
      });
    },
    seed: 14,
    breaks: "A1",
  },
  {
    when: "a live link is dropped because the new log does not list its peer",
    plant: () =>
      goneOnReading(({ roster }, listed) => roster.members.map(({ id }) => id).filter((id) => !listed.has(id))),
    seed: 1,
    breaks: "A1",
  },
  {
    when: "a key is granted at once after a start [C5]",
    plant: () => grantEarly(() => true),
    seed: 2,
    breaks: "S11",
  },
  {
    when: "a key is granted as soon as everybody is back who is vouched for [C4]",
    plant: () => grantEarly(({ recovery }, now) => !recovery.isGathering(now)),
    seed: 153,
    breaks: "S11",
  },
  {
    when: "a claim that was given up is presented again, and kept in the log [C7]",
    plant: () => {
      const given = new WeakMap<NativeSession, [key: string, token: number][]>();
      const { send } = NativeSession.prototype;
      vi.spyOn(NativeSession.prototype, "send").mockImplementation(function (this: NativeSession, control: Control) {
        const held = given.get(this) ?? [];
        given.set(this, held);
        if (control.type === "unclaim" && control.token !== undefined) {
          held.push([control.key, control.token]);
          return;
        }
        if (control.type === "links" && control.full === true && held.length > 0)
          send.call(this, { type: "held", claims: held });
        send.call(this, control);
      });
    },
    seed: 123,
    breaks: "S11",
  },
  {
    when: "a member that comes back is refused for lack of room",
    plant: () => {
      const { judgeRecovery } = Admission.prototype;
      vi.spyOn(Admission.prototype, "judgeRecovery").mockImplementation(function (this: Admission, candidate) {
        if (this.freeSlots > 0) return judgeRecovery.call(this, candidate);
        return { type: "refuse", code: "MESH_SEALED", message: "the mesh has reached its capacity" };
      });
    },
    seed: 10,
    breaks: "L2",
  },
  {
    when: "whoever is expected is waited for for ever",
    plant: () => vi.spyOn(Recovery.prototype, "leaseEnded").mockImplementation(() => {}),
    seed: 8,
    breaks: "L1",
  },
  {
    when: "a whole directory does not name the ids of earlier logs that were removed",
    plant: () => vi.spyOn(Members.prototype, "goneOfEarlierLogs", "get").mockReturnValue(new Set()),
    seed: 279,
    breaks: "L1",
  },
];
