import type { ConnectionId, ConnectionOutput, ConnectionProgress, Endpoint, Role } from "../core/connections.js";
import { GracefulCloses } from "../core/graceful-closes.js";
import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import type { Timers } from "../core/timers.js";

/** The part of a member that handles what happens to a connection. */
export interface ConnectionListener {
  handle(input: ConnectionProgress, now: number): void;
  /** False if `flushed` would change nothing; undefined: it may. */
  readonly awaitsFlush?: boolean;
}

/** Handles a connection that nobody needs any more. */
const ignoring: ConnectionListener = { handle: () => {} };

/**
 * The member's connections: which of its parts handles each, and the ways in which one begins and ends.
 *
 * A connection that is given up loses its listener in the same step. What was read from it, and not yet decoded, is dropped:
 * that is how a link stops reading the old connection before it answers on the new one.
 */
export class Connections {
  readonly #outputs: OutputSink<ConnectionOutput>;
  readonly #mesh: string;
  readonly #gracefulCloses: GracefulCloses;
  readonly #listeners = new Map<ConnectionId, ConnectionListener>();
  #dialed = 0;

  /** `unsent` is called for a connection that is aborted before all that was sent on it has left this process. */
  constructor(
    outputs: OutputSink<ConnectionOutput>,
    mesh: string,
    limits: Limits,
    timers: Timers,
    unsent: (connection: ConnectionId) => void,
  ) {
    this.#outputs = outputs;
    this.#mesh = mesh;
    this.#gracefulCloses = new GracefulCloses(outputs, limits.lingerMs, timers, unsent);
  }

  /** Those that are not gone. */
  get size(): number {
    return this.#listeners.size;
  }

  dial(to: Endpoint, role: Role, listener: ConnectionListener): ConnectionId {
    this.#dialed += 1;
    const connection: ConnectionId = `out:${this.#dialed}`;
    this.#listeners.set(connection, listener);
    this.#outputs.push({ type: "dial", connection, to, identity: { mesh: this.#mesh, role } });
    return connection;
  }

  /** From now on this listener handles it. */
  give(connection: ConnectionId, listener: ConnectionListener): void {
    this.#listeners.set(connection, listener);
  }

  send(connection: ConnectionId, bytes: Uint8Array): void {
    this.#outputs.push({ type: "send", connection, bytes });
  }

  /** Closes at once, and reads nothing more. */
  abort(connection: ConnectionId): void {
    if (!this.#listeners.has(connection)) return;
    this.#listeners.set(connection, ignoring);
    this.#outputs.push({ type: "abort", connection });
  }

  /** Half-closes behind all that was sent; its listener goes on until the other side closes too; see `GracefulCloses.begin`. */
  finish(connection: ConnectionId, now: number, withinMs?: number): void {
    this.#gracefulCloses.begin(connection, now, withinMs);
  }

  /** The same with something still on its way out; see `GracefulCloses.drain`. */
  drain(connection: ConnectionId, now: number, drainMs: number): void {
    this.#gracefulCloses.drain(connection, now, drainMs);
  }

  /** Half-closes behind all that was sent, and reads nothing more. */
  dismiss(connection: ConnectionId, now: number): void {
    this.#listeners.set(connection, ignoring);
    this.#gracefulCloses.begin(connection, now);
  }

  /** See `Machine.awaitsFlush`. */
  awaitsFlush(connection: ConnectionId): boolean {
    if (this.#gracefulCloses.has(connection)) return true;
    return this.#listeners.get(connection)?.awaitsFlush !== false;
  }

  /** Gives the listener of a connection what has happened to it. */
  progress(input: ConnectionProgress, now: number): void {
    const listener = this.#listeners.get(input.connection);
    if (listener === undefined) return;
    if (input.type === "flushed") this.#gracefulCloses.flushed(input.connection, now);
    listener.handle(input, now);
    if (input.type !== "closed") return;
    this.#gracefulCloses.closed(input.connection);
    this.#listeners.delete(input.connection);
  }
}
