import type { ConnectionId, ConnectionOutput } from "./connections.js";
import { Deadlines } from "./deadlines.js";
import type { Sink } from "./machine.js";

/**
 * Connections on which we have said our last word.
 *
 * Closing a socket that holds unread input sends a reset, and a reset overtakes the last message: the other side then
 * never reads why it was refused, or that the mesh has ended. So: half-close, read until the other side closes too, and
 * only when it takes too long, abort.
 */
export class Lingering {
  readonly #deadlines = new Deadlines<ConnectionId>();
  readonly #open = new Set<ConnectionId>();
  readonly #outputs: Sink<ConnectionOutput>;
  readonly #lingerMs: number;

  constructor(outputs: Sink<ConnectionOutput>, lingerMs: number) {
    this.#outputs = outputs;
    this.#lingerMs = lingerMs;
  }

  get size(): number {
    return this.#open.size;
  }

  has(connection: ConnectionId): boolean {
    return this.#open.has(connection);
  }

  /** Half-closes the connection now, and aborts it if it is not gone when the linger time has passed. */
  begin(connection: ConnectionId, now: number): void {
    if (this.#open.has(connection)) return;
    this.#open.add(connection);
    this.#outputs.push({ type: "halfClose", connection });
    this.#deadlines.set(connection, now + this.#lingerMs);
  }

  /** The connection is gone. Returns whether it was lingering. */
  closed(connection: ConnectionId): boolean {
    this.#deadlines.clear(connection);
    return this.#open.delete(connection);
  }

  nextTimeout(): number | undefined {
    return this.#deadlines.next();
  }

  handleTimeout(now: number): void {
    for (let due = this.#deadlines.takeDue(now); due !== undefined; due = this.#deadlines.takeDue(now)) {
      // It stays in the set until the driver says that it is gone.
      this.#outputs.push({ type: "abort", connection: due });
    }
  }
}
