import { type ConnectionId, isLoopback, networkOf } from "./connections.js";
import type { Limits } from "./limits.js";
import { TimerTable } from "./timer-table.js";

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
  readonly #deadlines = new TimerTable<ConnectionId>();
  readonly #perHost = new Map<string, number>();
  readonly #limits: Limits;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get pending(): number {
    return this.#silent.size + this.#speaking.size;
  }

  /** Takes a place for a new connection; false when there is none. `host` is where it comes from. */
  begin(connection: ConnectionId, host: string, now: number): boolean {
    const network = networkOf(host);
    const fromHost = this.#perHost.get(network) ?? 0;
    if (this.pending >= this.#limits.handshakesPending) return false;
    if (fromHost >= this.#limits.handshakesPendingPerHost && !isLoopback(host)) return false;
    this.#perHost.set(network, fromHost + 1);
    this.#silent.set(connection, { network, since: now });
    return true;
  }

  /** The first byte has arrived. */
  spoke(connection: ConnectionId, now: number): void {
    const pending = this.#silent.get(connection);
    if (pending === undefined) return;
    this.#silent.delete(connection);
    this.#speaking.set(connection, pending);
    this.#deadlines.set(connection, now + this.#limits.handshakeMs);
  }

  /** The other side has identified itself, or is gone. Frees the place; returns whether there was one. */
  end(connection: ConnectionId): boolean {
    const pending = this.#silent.get(connection) ?? this.#speaking.get(connection);
    if (pending === undefined) return false;
    this.#silent.delete(connection);
    this.#speaking.delete(connection);
    this.#deadlines.clear(connection);
    const left = (this.#perHost.get(pending.network) ?? 1) - 1;
    if (left === 0) this.#perHost.delete(pending.network);
    else this.#perHost.set(pending.network, left);
    return true;
  }

  nextTimeout(): number | undefined {
    const speaking = this.#deadlines.next();
    const [oldest] = this.#silent.values();
    if (oldest === undefined) return speaking;
    return Math.min(oldest.since + this.#firstByteTimeoutMs(), speaking ?? Number.POSITIVE_INFINITY);
  }

  /** Takes out, and frees, one connection that has run out of time; undefined when there is none. */
  takeDue(now: number): ConnectionId | undefined {
    let due = this.#deadlines.takeDue(now);
    if (due === undefined) {
      const [oldest] = this.#silent;
      if (oldest !== undefined && oldest[1].since + this.#firstByteTimeoutMs() <= now) due = oldest[0];
    }
    if (due !== undefined) this.end(due);
    return due;
  }

  #firstByteTimeoutMs(): number {
    const isCrowded = this.pending >= this.#limits.handshakesCrowded;
    return isCrowded ? this.#limits.firstByteCrowdedMs : this.#limits.firstByteMs;
  }
}
