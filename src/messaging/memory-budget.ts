import type { Limits } from "../core/limits.js";
import type { LinkWriter } from "../core/link-handler.js";

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

/** What one peer has of the budget, and what may wait for it. It outlives the link: what came on that may still wait for the program. */
export class PeerBudget {
  readonly #budget: MemoryBudget;
  readonly #link: LinkWriter;
  readonly #limits: Limits;
  readonly #roughBytes: number;
  #leastBytes: number;
  #bytes = 0;
  #sentBytes = 0;
  #beforeUpBytes = 0;
  /** Bytes of messages that wait for credit. */
  waitingBytes = 0;
  /** Bytes of requests that wait for the link to be up. */
  unsentBytes = 0;

  constructor(budget: MemoryBudget, link: LinkWriter, limits: Limits) {
    this.#budget = budget;
    this.#link = link;
    this.#limits = limits;
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

  /** False if so many bytes more would be over the limit on what may be kept for the peer, or for all of them. */
  hasSpaceFor(bytes: number): boolean {
    const { hasBeenUp, unacknowledgedBytes } = this.#link;
    const most = this.#limits.queueHardBytes;
    this.sent(unacknowledgedBytes);
    if (!hasBeenUp && this.#budget.beforeUpBytes + bytes > most) return false;
    return unacknowledgedBytes + this.waitingBytes + bytes <= most && bytes <= this.room;
  }

  /** The peer is so far behind with what we have sent that it gets nothing new to answer or to stream. */
  get isBehind(): boolean {
    const { unacknowledgedBytes } = this.#link;
    this.sent(unacknowledgedBytes);
    return unacknowledgedBytes > this.#limits.queueHardBytes;
  }

  /** So many bytes have gone to the peer and are not acknowledged. This changes with each frame, and is counted roughly. */
  sent(bytes: number): void {
    const difference = Math.abs(bytes - this.#sentBytes);
    if (difference === 0 || (difference < this.#roughBytes && bytes > 0)) return;
    this.change(bytes - this.#sentBytes);
    this.#sentBytes = bytes;
  }

  /** Something has been taken that waits for the link to be up, or waits no longer. All links share one bound for that. */
  countBeforeUp(): void {
    this.#waitForUp(this.#link.unacknowledgedBytes + this.waitingBytes + this.unsentBytes);
  }

  /** The link is up: nothing waits for that any more. */
  up(): void {
    this.#waitForUp(0);
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
    this.#waitForUp(0);
    const bytes = this.#bytes;
    this.change(-bytes);
    this.#leastBytes = 0;
    this.change(bytes);
  }

  #waitForUp(bytes: number): void {
    this.#budget.beforeUpBytes += bytes - this.#beforeUpBytes;
    this.#beforeUpBytes = bytes;
  }
}
