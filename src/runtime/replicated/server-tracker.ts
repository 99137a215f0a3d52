import type { Id } from "../../protocol/directory.js";
import type { SharingServer } from "../../rendezvous/types.js";
import type { Presence } from "./store-keys.js";

interface TrackedServer {
  presence: Presence;
  /** When its beat was last seen to change. */
  changedAt: number;
  /** Its key is still in the store, as far as is known. */
  isStored: boolean;
}

/**
 * Which other servers are there, judged by their beats alone: a lease may run out early or late, and a delete may not be
 * reported. A server is gone if its beat has not changed for a lease while this server could have seen it, or if it has said
 * that it goes.
 */
export class ServerTracker {
  readonly #leaseMs: number;
  readonly #servers = new Map<Id, TrackedServer>();
  /** Since when everything that is written would have been seen here. */
  #steadySince = 0;

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /** The store was away until now: nobody is judged for a whole lease. */
  steady(now: number): void {
    this.#steadySince = now;
  }

  seen(id: Id, presence: Presence, now: number): void {
    const known = this.#servers.get(id);
    const isNew = known === undefined || known.presence.beat !== presence.beat;
    this.#servers.set(id, { presence, changedAt: isNew ? now : known.changedAt, isStored: true });
  }

  /** Its key is gone: it does not come back as what it was, but that is no sign that it is gone. */
  deleted(id: Id): void {
    const known = this.#servers.get(id);
    if (known !== undefined) known.isStored = false;
  }

  /** What the store holds now. */
  restore(servers: ReadonlyMap<Id, Presence>, now: number): void {
    for (const id of this.#servers.keys()) if (!servers.has(id)) this.deleted(id);
    for (const [id, presence] of servers) this.seen(id, presence, now);
  }

  /** Those that are there, by their ids; `self` is left out, and whoever is gone for good is forgotten. */
  judge(self: Id, now: number): SharingServer[] {
    const others: SharingServer[] = [];
    for (const [id, { presence, changedAt, isStored }] of this.#servers) {
      const isGone = presence.leaving === true || now - Math.max(changedAt, this.#steadySince) > this.#leaseMs;
      if (isGone && !isStored) this.#servers.delete(id);
      if (!isGone && id !== self) others.push({ id, address: presence.address });
    }
    return others.sort((a, b) => (a.id < b.id ? -1 : 1));
  }
}
