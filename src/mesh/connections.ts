import type { ConnectionId, ConnectionProgress, Endpoint, Role } from "../core/connections.js";
import { GracefulCloses } from "../core/graceful-closes.js";
import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import type { MemberOutput } from "./types.js";

/** The part of a member that hears of a connection. */
export interface ConnectionListener {
  handle(input: ConnectionProgress, now: number): void;
}

/** Hears of a connection on which nothing matters any more. */
const nobody: ConnectionListener = { handle: () => {} };

/**
 * The member's connections: which of its parts hears of each, and the ways in which one begins and ends.
 *
 * A connection that is given up is given to nobody in the same step. What was read from it, and not yet understood, is
 * then never understood: that is how a link stops reading the old connection before it answers on the new one.
 */
export class Connections {
  readonly #outputs: OutputSink<MemberOutput>;
  readonly #mesh: string;
  readonly #lingering: GracefulCloses;
  readonly #parties = new Map<ConnectionId, ConnectionListener>();
  #dialed = 0;

  constructor(outputs: OutputSink<MemberOutput>, mesh: string, limits: Limits) {
    this.#outputs = outputs;
    this.#mesh = mesh;
    this.#lingering = new GracefulCloses(outputs, limits.lingerMs);
  }

  /** Those that are not gone. */
  get size(): number {
    return this.#parties.size;
  }

  dial(to: Endpoint, role: Role, party: ConnectionListener): ConnectionId {
    this.#dialed += 1;
    const connection: ConnectionId = `out:${this.#dialed}`;
    this.#parties.set(connection, party);
    this.#outputs.push({ type: "dial", connection, to, identity: { mesh: this.#mesh, role } });
    return connection;
  }

  /** From now on this party hears of it. */
  give(connection: ConnectionId, party: ConnectionListener): void {
    this.#parties.set(connection, party);
  }

  send(connection: ConnectionId, bytes: Uint8Array): void {
    this.#outputs.push({ type: "send", connection, bytes });
  }

  /** Closes at once, and reads nothing more. */
  abort(connection: ConnectionId): void {
    if (!this.#parties.has(connection)) return;
    this.#parties.set(connection, nobody);
    this.#outputs.push({ type: "abort", connection });
  }

  /** Half-closes behind all that was sent; its party hears on until the other side closes too; see `GracefulCloses.begin`. */
  finish(connection: ConnectionId, now: number, withinMs?: number): void {
    this.#lingering.begin(connection, now, withinMs);
  }

  /** The same with something still on its way out; see `GracefulCloses.drain`. */
  drain(connection: ConnectionId, now: number, drainMs: number): void {
    this.#lingering.drain(connection, now, drainMs);
  }

  /** Half-closes behind all that was sent, and reads nothing more. */
  dismiss(connection: ConnectionId, now: number): void {
    this.#parties.set(connection, nobody);
    this.#lingering.begin(connection, now);
  }

  /** Tells the party of a connection what has happened to it. */
  progress(input: ConnectionProgress, now: number): void {
    const party = this.#parties.get(input.connection);
    if (party === undefined) return;
    if (input.type === "flushed") this.#lingering.flushed(input.connection, now);
    party.handle(input, now);
    if (input.type !== "closed") return;
    this.#lingering.closed(input.connection);
    this.#parties.delete(input.connection);
  }

  nextTimeout(): number | undefined {
    return this.#lingering.nextTimeout();
  }

  /** Returns the connections that were given up before all that was written on them had gone out. */
  handleTimeout(now: number): ConnectionId[] {
    return this.#lingering.handleTimeout(now);
  }
}
