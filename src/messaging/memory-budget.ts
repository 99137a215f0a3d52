import type { Limits } from "../core/limits.js";

/**
 * What all peers together make this node hold, by weight: what has come and is not taken, and what goes and is not
 * acknowledged. Ids cost nothing, so no bound for one peer bounds that.
 *
 * Each peer may have a little of it whatever the others do. Of the rest each may have as much as is left: one alone gets half
 * of it, two a third each, and a newcomer always finds as much as the greediest has (dynamic thresholds, as in switches).
 */
export class MemoryBudget {
  /** What each peer may always have. */
  readonly leastBytes: number;
  readonly #heldBytes: number;
  readonly #sharedBytes: number;
  /** What is held in all, and what of that is beyond what each peer may always have. */
  #bytes = 0;
  #beyondBytes = 0;

  constructor({ heldBytes, heldPerPeerBytes }: Pick<Limits, "heldBytes" | "heldPerPeerBytes">) {
    this.leastBytes = heldPerPeerBytes;
    this.#heldBytes = heldBytes;
    this.#sharedBytes = heldBytes / 2;
  }

  /** What waits for links that were never up, in all. It may never go anywhere, so it has a bound of its own. */
  beforeUpBytes = 0;

  /** What is left to share. */
  get freeBytes(): number {
    return this.#sharedBytes - this.#beyondBytes;
  }

  /** What may still come from any peer before nothing more may. */
  get restBytes(): number {
    return this.#heldBytes - this.#bytes;
  }

  /** A share has become larger by so many bytes, and by so many beyond what is always its own; smaller, if below 0. */
  change(bytes: number, beyond: number): void {
    this.#bytes += bytes;
    this.#beyondBytes += beyond;
  }
}

/** What one peer has of the budget. It outlives the link: what came on that may still wait for the program. */
export class PeerBudget {
  readonly #budget: MemoryBudget;
  #leastBytes: number;
  #bytes = 0;
  #sentBytes = 0;
  #beforeUpBytes = 0;
  readonly #roughBytes: number;

  constructor(budget: MemoryBudget) {
    this.#budget = budget;
    this.#roughBytes = budget.leastBytes / 32;
    this.#leastBytes = budget.leastBytes;
  }

  /** What is held for the peer. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How much more may be held; less than 0 if the others have come to need what this one has. */
  get room(): number {
    const beyond = this.#bytes - this.#leastBytes;
    const { freeBytes, restBytes } = this.#budget;
    // Those that have gone may have left so much that there is not even the least for all.
    return Math.min(restBytes, beyond > 0 ? (freeBytes - beyond) / 2 : Math.max(0, freeBytes) / 2 - beyond);
  }

  /** So many bytes have gone to the peer and are not acknowledged. This changes with each frame, and is counted roughly. */
  sent(bytes: number): void {
    const difference = Math.abs(bytes - this.#sentBytes);
    if (difference === 0 || (difference < this.#roughBytes && bytes > 0)) return;
    this.change(bytes - this.#sentBytes);
    this.#sentBytes = bytes;
  }

  /** So many bytes wait for the link to be up for the first time. */
  waitForUp(bytes: number): void {
    this.#budget.beforeUpBytes += bytes - this.#beforeUpBytes;
    this.#beforeUpBytes = bytes;
  }

  /** How many bytes wait so for all peers together. */
  get beforeUpBytes(): number {
    return this.#budget.beforeUpBytes;
  }

  /** So many bytes more are held; fewer, if it is below 0. */
  change(bytes: number): void {
    const before = Math.max(0, this.#bytes - this.#leastBytes);
    this.#bytes += bytes;
    this.#budget.change(bytes, Math.max(0, this.#bytes - this.#leastBytes) - before);
  }

  /** The link has ended: ids that come and go have nothing that is always theirs. */
  end(): void {
    this.sent(0);
    this.waitForUp(0);
    const bytes = this.#bytes;
    this.change(-bytes);
    this.#leastBytes = 0;
    this.change(bytes);
  }
}
