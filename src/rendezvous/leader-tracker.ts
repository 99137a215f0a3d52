import { type Limits, leaderLeaseMs } from "../core/limits.js";
import type { KeyedTimers } from "../core/timers.js";
import type { Id } from "../protocol/directory.js";
import type { MemberRecord } from "./member-record.js";
import type { Members } from "./members.js";
import type { MeshTimer } from "./types.js";

/**
 * Finds the leader: the oldest member that this server has heard within a lease. A classic member, which may be silent for
 * ever, counts as heard while its connection is open, and one at another server while it is there.
 */
export class LeaderTracker {
  readonly #leaseMs: number;
  readonly #members: Members;
  readonly #timers: KeyedTimers<MeshTimer>;
  #leader: Id | undefined;

  constructor(limits: Limits, members: Members, timers: KeyedTimers<MeshTimer>) {
    this.#leaseMs = leaderLeaseMs(limits);
    this.#members = members;
    this.#timers = timers;
  }

  /** The leader now; undefined while no member has been heard for a lease. Sets the timer of the next review. */
  review(now: number): Id | undefined {
    const leader = this.#oldestHeard(now);
    const isSame = leader?.id === this.#leader;
    this.#leader = leader?.id;
    // A sign of life of the same leader does not move the timer: when it fires, the leader is reviewed again.
    if (leader === undefined) this.#timers.clear("leader");
    else if (!isSame || !this.#timers.has("leader")) this.#timers.set("leader", this.#passedOverAt(leader));
    return this.#leader;
  }

  #oldestHeard(now: number): MemberRecord | undefined {
    for (const { id } of this.#members.directory.members) {
      const record = this.#members.get(id);
      if (record?.isStanding === true && (this.#passedOverAt(record) ?? Number.POSITIVE_INFINITY) > now) return record;
    }
    return undefined;
  }

  /** When the member is passed over unless it is heard again; undefined: not before it is removed. */
  #passedOverAt(record: MemberRecord): number | undefined {
    const isKept = record.isElsewhere || (record.dialect === "classic" && record.session !== undefined);
    return isKept ? undefined : record.heardAt + this.#leaseMs;
  }
}
