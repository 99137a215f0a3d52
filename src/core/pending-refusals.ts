import type { ConnectionId } from "./connections.js";
import type { ErrorCode } from "./errors.js";
import type { Limits } from "./limits.js";
import type { KeyedTimers, Timers } from "./timers.js";

/** Why there is no room for a connection. */
export interface PendingRefusal {
  readonly connection: ConnectionId;
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * Accepted connections for which there is no room. Each is to be refused in its own dialect, which its first byte shows. It
 * waits for that a little; above a bound the oldest one waits no longer. No more than as many may linger after their refusal,
 * so that those who are refused do not use up what is short.
 */
export class PendingRefusals {
  readonly #limits: Limits;
  readonly #send: (refusal: PendingRefusal, now: number) => void;
  readonly #timers: KeyedTimers<ConnectionId>;
  /** In the order of their coming. */
  readonly #waiting = new Map<ConnectionId, PendingRefusal>();
  /** Those that were refused last, the oldest first; some of them may be gone. */
  readonly #refused: ConnectionId[] = [];

  /** `send` sends a refusal that waits no longer. */
  constructor(limits: Limits, timers: Timers, send: (refusal: PendingRefusal, now: number) => void) {
    this.#limits = limits;
    this.#send = send;
    this.#timers = timers.keyed((connection, now) => this.#sendNow(connection, now));
  }

  add(refusal: PendingRefusal, now: number): void {
    this.#waiting.set(refusal.connection, refusal);
    this.#timers.set(refusal.connection, now + this.#limits.refusalMs);
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size > this.#limits.refusalsPending && oldest !== undefined) this.#sendNow(oldest, now);
  }

  /** Takes out the refusal of this connection, if it has one: its dialect is known, or it is gone. */
  take(connection: ConnectionId): PendingRefusal | undefined {
    const refusal = this.#waiting.get(connection);
    this.#waiting.delete(connection);
    this.#timers.clear(connection);
    return refusal;
  }

  /** A connection was refused, and lingers. Returns one that is to linger no longer. */
  refused(connection: ConnectionId): ConnectionId | undefined {
    this.#refused.push(connection);
    return this.#refused.length > this.#limits.refusalsPending ? this.#refused.shift() : undefined;
  }

  #sendNow(connection: ConnectionId, now: number): void {
    const refusal = this.take(connection);
    if (refusal !== undefined) this.#send(refusal, now);
  }
}
