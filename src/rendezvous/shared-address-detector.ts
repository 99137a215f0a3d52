import type { Limits } from "../core/limits.js";
import type { Id } from "../protocol/directory.js";

/** A member that has pushed another one out which was connected. */
interface Displacement {
  /** So many times in a row, each soon after the one before. */
  readonly times: number;
  readonly at: number;
}

/**
 * Notices when two programs answer at one address, as those behind a balancer do: each proves the address in turn, and
 * pushes the other one out while that is connected. A program that was started anew does not look like that: the
 * connection of the one before is gone.
 */
export class SharedAddressDetector {
  readonly #limits: Limits;
  readonly #pushOuts = new Map<Id, Displacement>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** A member has taken the place of another one. Returns how many times in a row that was so; 0 if it is nothing strange. */
  replaced(old: Id, wasConnected: boolean, by: Id, now: number): number {
    const before = this.#pushOuts.get(old);
    this.#pushOuts.delete(old);
    if (!wasConnected) return 0;
    const isAgain = before !== undefined && now - before.at < this.#limits.admissionProvenMs;
    const times = isAgain ? before.times + 1 : 1;
    this.#pushOuts.set(by, { times, at: now });
    return times >= this.#limits.sharedAddressTimes ? times : 0;
  }

  /** A member has been removed. */
  forget(id: Id): void {
    this.#pushOuts.delete(id);
  }
}
