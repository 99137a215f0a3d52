import type { ConnectionId, ConnectionOutput } from "./connections.js";
import type { OutputSink } from "./machine.js";
import type { KeyedTimers, Timers } from "./timers.js";

/**
 * Connections on which this end sends nothing more.
 *
 * Closing a socket that holds unread input sends a reset, and a reset overtakes the last message: the other side then
 * never reads why it was refused, or that the mesh has ended. So: half-close, read until the other side closes too, and
 * only when it takes too long, abort.
 */
export class GracefulCloses {
  readonly #deadlines: KeyedTimers<ConnectionId>;
  readonly #open = new Set<ConnectionId>();
  /** Those of which something has not left this process yet. */
  readonly #draining = new Set<ConnectionId>();
  readonly #outputs: OutputSink<ConnectionOutput>;
  readonly #lingerMs: number;

  /** `unsent` is called for a connection that is aborted before all that was sent on it has left this process. */
  constructor(
    outputs: OutputSink<ConnectionOutput>,
    lingerMs: number,
    timers: Timers,
    unsent?: (connection: ConnectionId) => void,
  ) {
    this.#outputs = outputs;
    this.#lingerMs = lingerMs;
    this.#deadlines = timers.keyed((connection) => {
      // It stays in the set until the driver says that it is gone.
      this.#outputs.push({ type: "abort", connection });
      if (this.#draining.has(connection)) unsent?.(connection);
    });
  }

  get size(): number {
    return this.#open.size;
  }

  has(connection: ConnectionId): boolean {
    return this.#open.has(connection);
  }

  /**
   * Half-closes the connection, behind all that was sent on it, and aborts it if it is not gone within so many
   * milliseconds, or within the linger time.
   */
  begin(connection: ConnectionId, now: number, withinMs = this.#lingerMs): void {
    if (this.#open.has(connection)) return;
    this.#open.add(connection);
    this.#outputs.push({ type: "halfClose", connection });
    this.#deadlines.set(connection, now + withinMs);
  }

  /** The same with something still on its way out: that may take `drainMs`, and the linger time begins with `flushed`. */
  drain(connection: ConnectionId, now: number, drainMs: number): void {
    if (this.#open.has(connection)) return;
    this.#draining.add(connection);
    this.begin(connection, now, drainMs);
  }

  /** All that was sent has left this process. */
  flushed(connection: ConnectionId, now: number): void {
    if (this.#draining.delete(connection)) this.#deadlines.set(connection, now + this.#lingerMs);
  }

  /** The connection is gone. Returns whether it was lingering. */
  closed(connection: ConnectionId): boolean {
    this.#deadlines.clear(connection);
    this.#draining.delete(connection);
    return this.#open.delete(connection);
  }
}
