import type { EventEmitter } from "node:events";
import { callListeners } from "../api/application-calls.js";
import type { Log } from "../api/log.js";
import { FullmeshError } from "../core/errors.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import type { MemberEvent } from "../mesh/types.js";
import { publishEvent } from "./diagnostics.js";
import type { NodeEvent, NodeEvents } from "./events.js";
import type { Peers } from "./peers.js";
import { UnboundedAsyncQueue } from "./unbounded-async-queue.js";

/** Gives what happens in the mesh to the listeners of a node, and to the loops over `events()`. */
export class NodeEventEmitter {
  readonly #node: EventEmitter<NodeEvents>;
  readonly #machine: MemberMachine<unknown>;
  readonly #peers: Peers;
  readonly #log: Log;
  readonly #mostUnread: number;
  /** The rank that this node was given in its gang, if it is in one. */
  readonly #gangRank: number | undefined;
  readonly #loops = new Set<UnboundedAsyncQueue<NodeEvent>>();
  #rank = -1;
  #isClosed = false;

  /** `mostUnread`: so many events may one loop leave unread. */
  constructor(
    node: EventEmitter<NodeEvents>,
    machine: MemberMachine<unknown>,
    peers: Peers,
    log: Log,
    mostUnread: number,
    gangRank?: number,
  ) {
    this.#node = node;
    this.#machine = machine;
    this.#peers = peers;
    this.#log = log;
    this.#mostUnread = mostUnread;
    this.#gangRank = gangRank;
  }

  /** See `MeshNode.rank`. */
  get rank(): number {
    const place = this.#machine.rank;
    return place < 0 ? place : (this.#gangRank ?? place);
  }

  /** See `MeshNode.events`. */
  loop(signal: AbortSignal | undefined): UnboundedAsyncQueue<NodeEvent> {
    const loop = new UnboundedAsyncQueue<NodeEvent>(signal, (ended) => this.#loops.delete(ended));
    if (this.#isClosed) loop.finish();
    if (!loop.isFinished) this.#loops.add(loop);
    return loop;
  }

  /** Gives an event to all loops, tracers and listeners. */
  emit(event: NodeEvent): void {
    for (const loop of this.#loops) {
      if (loop.size < this.#mostUnread) loop.push(event);
      else loop.fail(new FullmeshError("UNREAD_EVENTS", `${loop.size} events have not been read`));
    }
    publishEvent(this.#node, event);
    callListeners(this.#log, this.#node, event.type, event);
  }

  /** Takes every event of the machine, with times in milliseconds since the epoch. Those that concern the inside of a node only are passed over. */
  handle(event: MemberEvent): void {
    switch (event.type) {
      case "link":
        this.emit({ type: "peer:up", peer: this.#peers.changed(event, "up") });
        break;
      case "relink":
        this.emit({ type: "peer:back", peer: this.#peers.changed(event, "up") });
        break;
      case "broken":
        this.emit({ type: "peer:unreachable", peer: this.#peers.changed(event, "broken"), reason: event.reason });
        break;
      case "outage": {
        const peer = this.#peers.changed(event, event.wasUp ? "broken" : "waiting");
        this.emit({ type: "peer:outage", peer, reason: event.reason, since: event.since });
        break;
      }
      case "unlink": {
        const { reason, unacknowledged, wasUp } = event;
        this.emit({ type: "peer:down", peer: this.#peers.ended(event), reason, unacknowledged, wasUp });
        break;
      }
      case "bytes": {
        const { peer: address, bytes } = event;
        const peer = this.#peers.at(address) ?? { address, dialect: "classic", direction: "accepted", state: "broken" };
        callListeners(this.#log, this.#node, "bytes", { type: "bytes", peer, bytes });
        break;
      }
      case "degraded":
        this.emit({ type: "degraded", count: event.count, missing: event.missing });
        break;
      case "serverLost":
        this.emit({ type: "server:lost", since: Date.now(), reason: event.reason });
        break;
      case "serverBack":
        this.emit({ type: "server:back", awayMs: event.awayMs, server: event.server });
        break;
      case "leader":
      case "released":
      case "waiting":
      case "complete":
      case "claimed":
      case "unclaimed":
        this.emit(event);
        break;
      case "registered":
        this.emit({ type: "registered", address: event.address });
        this.#emitRank();
        break;
      case "directory":
        this.#peers.prune();
        this.emit({ type: "directory", members: event.members });
        this.#emitRank();
        break;
      case "fenced":
        this.emit(event);
        this.#emitRank();
        break;
      case "ended":
        this.#emitRank();
        this.emit({ type: "ended", reason: event.reason });
        break;
      case "closed":
        this.emit(event);
        this.#isClosed = true;
        for (const loop of [...this.#loops]) loop.finish();
        break;
      default:
        break;
    }
  }

  /** Emits the rank, if it has changed. */
  #emitRank(): void {
    const { rank } = this;
    if (rank === this.#rank) return;
    this.#rank = rank;
    this.emit({ type: "rank", rank });
  }
}
