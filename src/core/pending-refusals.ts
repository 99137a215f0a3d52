import type { ConnectionId } from "./connections.js";
import type { ErrorCode } from "./errors.js";
import type { Limits } from "./limits.js";

/** Why there is no room for a connection. */
export interface PendingRefusal {
  readonly connection: ConnectionId;
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * Accepted connections for which there is no room, and that are to be told so in their own dialect, which their first byte
 * shows. Each waits for it a little; beyond a bound the oldest one waits no longer. No more than as many may linger when they
 * have been told, so that those who are refused do not use up what is short.
 */
export class PendingRefusals {
  /** In the order of their coming, which is also the order in which they run out. */
  readonly #waiting = new Map<ConnectionId, PendingRefusal & { readonly since: number }>();
  /** Those that have been told last, the oldest first; some of them may be gone. */
  readonly #told: ConnectionId[] = [];
  readonly #limits: Limits;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  add(refusal: PendingRefusal, now: number): void {
    this.#waiting.set(refusal.connection, { ...refusal, since: now });
  }

  /** Takes out the refusal of this connection, if it has one: it can be told, or is gone. */
  take(connection: ConnectionId): PendingRefusal | undefined {
    const refusal = this.#waiting.get(connection);
    this.#waiting.delete(connection);
    return refusal;
  }

  /** A refused connection has been told, and lingers. Returns one that is to linger no longer. */
  told(connection: ConnectionId): ConnectionId | undefined {
    this.#told.push(connection);
    return this.#told.length > this.#limits.refusalsPending ? this.#told.shift() : undefined;
  }

  nextTimeout(): number | undefined {
    const [oldest] = this.#waiting.values();
    return oldest === undefined ? undefined : oldest.since + this.#limits.refusalMs;
  }

  /** Takes out one that waits no longer, because its time is over or there are too many; undefined when there is none. */
  takeDue(now: number): PendingRefusal | undefined {
    const [oldest] = this.#waiting.values();
    if (oldest === undefined) return undefined;
    const isDue = oldest.since + this.#limits.refusalMs <= now;
    return isDue || this.#waiting.size > this.#limits.refusalsPending ? this.take(oldest.connection) : undefined;
  }
}
