import { type ConnectionId, type Endpoint, isOnThisMachine, networkOf } from "./connections.js";
import type { Limits } from "./limits.js";
import type { KeyedTimers, Timers } from "./timers.js";

interface Pending {
  /** Where it comes from, as bounds count it. */
  readonly network: string;
  readonly since: number;
}

/**
 * Accepted connections that have not identified themselves yet, and how long each may still take.
 *
 * While few of them are pending, a silent one may stay for minutes, so that a person can type the protocol by hand. Above
 * `handshakesCrowded` the short time-out applies.
 */
export class PendingConnections {
  /** Those that have sent nothing, in the order of their arrival, which is also the order in which they time out. */
  readonly #silent = new Map<ConnectionId, Pending>();
  /** Those that have sent their first byte. */
  readonly #speaking = new Map<ConnectionId, Pending>();
  readonly #silentTimer: KeyedTimers<"oldest">;
  readonly #speakingTimers: KeyedTimers<ConnectionId>;
  readonly #perHost = new Map<string, number>();
  readonly #limits: Limits;
  readonly #onTimeout: (connection: ConnectionId, now: number) => void;

  /** `onTimeout` is called for each connection that has run out of time, once its place is free. */
  constructor(limits: Limits, timers: Timers, onTimeout: (connection: ConnectionId, now: number) => void) {
    this.#limits = limits;
    this.#onTimeout = onTimeout;
    this.#silentTimer = timers.keyed((_, now) => this.#timedOut(this.#silent.keys().next().value, now));
    this.#speakingTimers = timers.keyed((connection, now) => this.#timedOut(connection, now));
  }

  get pending(): number {
    return this.#silent.size + this.#speaking.size;
  }

  /** Takes a place for a new connection; false when there is none. `remote` is where it comes from. */
  begin(connection: ConnectionId, remote: Endpoint, now: number): boolean {
    const network = networkOf(remote);
    const fromHost = this.#perHost.get(network) ?? 0;
    if (this.pending >= this.#limits.handshakesPending) return false;
    if (fromHost >= this.#limits.handshakesPendingPerHost && !isOnThisMachine(remote)) return false;
    this.#perHost.set(network, fromHost + 1);
    this.#silent.set(connection, { network, since: now });
    this.#scheduleSilent();
    return true;
  }

  /** The first byte has arrived. */
  spoke(connection: ConnectionId, now: number): void {
    const pending = this.#silent.get(connection);
    if (pending === undefined) return;
    this.#silent.delete(connection);
    this.#speaking.set(connection, pending);
    this.#speakingTimers.set(connection, now + this.#limits.handshakeMs);
    this.#scheduleSilent();
  }

  /** The other side has identified itself, or is gone. Frees the place; returns whether there was one. */
  end(connection: ConnectionId): boolean {
    const pending = this.#silent.get(connection) ?? this.#speaking.get(connection);
    if (pending === undefined) return false;
    this.#silent.delete(connection);
    this.#speaking.delete(connection);
    this.#speakingTimers.clear(connection);
    this.#scheduleSilent();
    const left = (this.#perHost.get(pending.network) ?? 1) - 1;
    if (left === 0) this.#perHost.delete(pending.network);
    else this.#perHost.set(pending.network, left);
    return true;
  }

  /** The timer of the one that has been silent for longest. It depends on how many are pending. */
  #scheduleSilent(): void {
    const [oldest] = this.#silent.values();
    const isCrowded = this.pending >= this.#limits.handshakesCrowded;
    const timeoutMs = isCrowded ? this.#limits.firstByteCrowdedMs : this.#limits.firstByteMs;
    this.#silentTimer.set("oldest", oldest === undefined ? undefined : oldest.since + timeoutMs);
  }

  #timedOut(connection: ConnectionId | undefined, now: number): void {
    if (connection !== undefined && this.end(connection)) this.#onTimeout(connection, now);
  }
}
