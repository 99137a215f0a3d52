import type { Limits } from "../core/limits.js";
import type { Id } from "../protocol/directory.js";

/** A member that has replaced another one which was connected. */
interface Displacement {
  /** So many times in a row, each soon after the one before. */
  readonly times: number;
  readonly at: number;
}

/**
 * Detects two programs that share one address, for example behind a load balancer: each proves the address in turn, and
 * replaces the other while that is connected. A restarted program is different: the old connection is gone.
 */
export class SharedAddressDetector {
  readonly #limits: Limits;
  readonly #displacements = new Map<Id, Displacement>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** A member has taken the place of another one. Returns how many times in a row that was so; 0 if it is nothing strange. */
  replaced(old: Id, wasConnected: boolean, by: Id, now: number): number {
    const before = this.#displacements.get(old);
    this.#displacements.delete(old);
    if (!wasConnected) return 0;
    const isAgain = before !== undefined && now - before.at < this.#limits.admissionProvenMs;
    const times = isAgain ? before.times + 1 : 1;
    this.#displacements.set(by, { times, at: now });
    return times >= this.#limits.sharedAddressTimes ? times : 0;
  }

  /** A member has been removed. */
  forget(id: Id): void {
    this.#displacements.delete(id);
  }
}
