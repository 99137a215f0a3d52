import { type ConnectionId, type ConnectionProgress, isSelfConnection, networkOf } from "../../core/connections.js";
import type { ErrorCode } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import type { Timers } from "../../core/timers.js";
import { type Address, endpointOf } from "../../protocol/address.js";
import type { ConnectionListener, Connections } from "../connections.js";
import { DialQueue, dialFailureCode } from "../dial-queue.js";

/** What the rest of the member must know of its dials. */
export interface OutgoingDialEvents {
  /** The connection is there, and nothing has been said on it; it needs another listener now. */
  connected(peer: Address, connection: ConnectionId, now: number): void;
  /** A dial has come to nothing, so often in a row. */
  failed(peer: Address, code: ErrorCode, reason: string, failures: number, now: number): void;
}

/** Dials to classic peers, up to the connection. */
export class OutgoingDials implements ConnectionListener {
  readonly #limits: Limits;
  readonly #connections: Connections;
  readonly #events: OutgoingDialEvents;
  readonly #queue: DialQueue<Address>;
  readonly #peers = new Map<ConnectionId, Address>();

  constructor(limits: Limits, seed: number, timers: Timers, connections: Connections, events: OutgoingDialEvents) {
    this.#limits = limits;
    this.#connections = connections;
    this.#events = events;
    this.#queue = new DialQueue(
      limits,
      seed,
      timers,
      (peer) => networkOf(endpointOf(peer)),
      (now) => this.#giveUpOverdue(now),
    );
  }

  /** The peer that is being dialed on this connection. */
  peerOf(connection: ConnectionId): Address | undefined {
    return this.#peers.get(connection);
  }

  /** The peers to be linked with, and to be dialed from here, are these. */
  want(peers: ReadonlySet<Address>, now: number): void {
    for (const connection of this.#queue.want(peers, now)) this.#abort(connection);
  }

  /** There is a link with this peer. */
  linked(peer: Address, now: number): void {
    this.#queue.linked(peer, now);
  }

  /** The link with this peer has ended. */
  unlinked(peer: Address, now: number): void {
    const { provenMs, relinkMs: pauseMs } = this.#limits;
    this.#queue.unlinked(peer, now, { provenMs, pauseMs });
  }

  /** Dials whoever is due, as many as may be dialed at once. */
  dial(now: number): void {
    for (let peer = this.#queue.next(now); peer !== undefined; peer = this.#queue.next(now)) {
      const connection = this.#connections.dial(endpointOf(peer), "member", this);
      this.#queue.started(peer, connection, now);
      this.#peers.set(connection, peer);
    }
  }

  handle(input: ConnectionProgress, now: number): void {
    const { connection } = input;
    const peer = this.#peers.get(connection);
    if (peer === undefined) return;
    if (input.type === "connected") {
      const { local, remote } = input;
      this.#peers.delete(connection);
      if (isSelfConnection(local, remote)) {
        this.#connections.abort(connection);
        this.#failed(peer, "SELF_CONNECT", "the dial met its own outgoing port", now);
      } else this.#events.connected(peer, connection, now);
    } else if (input.type === "closed") {
      this.#peers.delete(connection);
      this.#failed(peer, dialFailureCode(input.failure), input.failure ?? "closed", now);
    }
    this.dial(now);
  }

  /** Gives up what has taken too long, and dials what is due. */
  #giveUpOverdue(now: number): void {
    for (let due = this.#queue.takeOverdue(now); due !== undefined; due = this.#queue.takeOverdue(now)) {
      this.#abort(due.connection);
      this.#failed(due.peer, "DIAL_TIMEOUT", due.reason, now);
    }
    this.dial(now);
  }

  #abort(connection: ConnectionId | undefined): void {
    if (connection === undefined) return;
    this.#peers.delete(connection);
    this.#connections.abort(connection);
  }

  #failed(peer: Address, code: ErrorCode, reason: string, now: number): void {
    this.#events.failed(peer, code, reason, this.#queue.failed(peer, now), now);
  }
}
