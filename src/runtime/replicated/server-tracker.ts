import type { Limits } from "../../core/limits.js";
import type { Address } from "../../protocol/address.js";
import type { Id } from "../../protocol/directory.js";
import type { ObservedServer } from "../../rendezvous/types.js";
import type { Presence } from "./store-keys.js";

/** A server is late once so many beats of this one have come back without one of it. */
const lateRounds = 3;

/**
 * What a life that is over has sent may come after its successor: one transaction, and that it goes. A life with more beats
 * than these behind the entry of another one at its address goes on, and so there are two servers with one address.
 */
const lastBeats = 2;

/** That one life of a server is there, and the revision of the store at which it has entered. */
export interface StoredPresence {
  readonly presence: Presence;
  readonly created: number;
}

interface TrackedServer extends StoredPresence {
  /** When its beat was last seen to change, and how many beats of this server had come back by then. */
  changedAt: number;
  changedRound: number;
  /** Its key is still in the store, as far as is known. */
  isStored: boolean;
  /** The newest life at its address that has entered after it, and how often this one has beaten since. */
  successor?: { readonly id: Id; beats: number };
}

/**
 * Which other servers are there, judged by their beats alone: a lease may run out early or late, and a delete may not be
 * reported. A server is gone if its beat has not changed for a lease while this server could have seen it, if it has said
 * that it goes, or if a newer life at its address has taken its place.
 */
export class ServerTracker {
  readonly #limits: Pick<Limits, "storeLeaseMs" | "storeBeatMs">;
  readonly #address: Address | undefined;
  readonly #servers = new Map<Id, TrackedServer>();
  /** Since when everything that is written would have been seen here. */
  #steadySince = 0;
  /** Counts beats of this server that have come back, each at least `storeBeatMs` after the one before. */
  #round = 0;
  #roundAt = 0;

  /** `address`: where members reach this server. */
  constructor(limits: Pick<Limits, "storeLeaseMs" | "storeBeatMs">, address: Address | undefined) {
    this.#limits = limits;
    this.#address = address;
  }

  /** The store was away until now: nobody is judged for a whole lease. */
  steady(now: number): void {
    this.#steadySince = now;
    for (const server of this.#servers.values()) server.changedRound = this.#round;
  }

  seen(id: Id, { presence, created }: StoredPresence, now: number): void {
    const known = this.#servers.get(id);
    if (known?.presence.beat === presence.beat) {
      this.#servers.set(id, { ...known, presence, isStored: true });
      return;
    }
    const { successor } = known ?? {};
    if (successor !== undefined) successor.beats += 1;
    const changed = { changedAt: now, changedRound: this.#round, isStored: true };
    this.#servers.set(id, { presence, created, ...changed, ...(successor === undefined ? {} : { successor }) });
    this.#succeed(id, { presence, created });
  }

  /** A beat of this server has come back. */
  returned(now: number): void {
    if (now - this.#roundAt < this.#limits.storeBeatMs) return;
    this.#roundAt = now;
    this.#round += 1;
  }

  /** Its key is gone: it does not come back as what it was, but that is no sign that it is gone. */
  deleted(id: Id): void {
    const known = this.#servers.get(id);
    if (known !== undefined) known.isStored = false;
  }

  /** What the store holds now. */
  restore(servers: ReadonlyMap<Id, StoredPresence>, now: number): void {
    for (const id of this.#servers.keys()) if (!servers.has(id)) this.deleted(id);
    const inOrder = [...servers].sort(([, a], [, b]) => a.created - b.created);
    for (const [id, stored] of inOrder) this.seen(id, stored, now);
  }

  /** Those that are there, by their ids; what lives at the address of this one is left out, and whoever is gone for good is forgotten. */
  judge(self: Id, now: number): ObservedServer[] {
    const others: ObservedServer[] = [];
    for (const [id, server] of this.#servers) {
      const isGone = this.#isGone(server, now);
      if (isGone && !server.isStored) this.#servers.delete(id);
      const { address } = server.presence;
      if (isGone || id === self || (address !== undefined && address === this.#address)) continue;
      const isLate = this.#round - server.changedRound >= lateRounds;
      others.push({ id, address, ...(isLate ? { isLate } : {}) });
    }
    return others.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** True if this life has entered at the address of a server that goes on living. */
  isIntruder(self: Id): boolean {
    return Array.from(this.#servers.values()).some(
      ({ successor, presence }) => successor?.id === self && successor.beats > lastBeats && presence.leaving !== true,
    );
  }

  /** The older lives at its address end with its second beat: the first one alone may be of a life that was given up. */
  #succeed(id: Id, { presence: { address, beat }, created }: StoredPresence): void {
    if (address === undefined || beat === 0) return;
    for (const older of this.#servers.values()) {
      if (older.presence.address !== address || older.created >= created || older.successor?.id === id) continue;
      older.successor = { id, beats: 0 };
    }
  }

  #isGone({ presence, changedAt, successor }: TrackedServer, now: number): boolean {
    if (presence.leaving === true || (successor !== undefined && successor.beats <= lastBeats)) return true;
    return now - Math.max(changedAt, this.#steadySince) > this.#limits.storeLeaseMs;
  }
}
