import type { EventEmitter } from "node:events";
import type { MemberEvent } from "../mesh/types.js";
import { callListener } from "../nodejs/uncaught.js";
import type { Address } from "../protocol/address.js";
import type { EventLoops } from "./event-loops.js";
import type { NodeEvent, NodeEvents, Peer } from "./events.js";
import type { LeaderTracker } from "./leader-tracker.js";
import type { PeerObjects } from "./peer-objects.js";

type LinkChangeEvent = Extract<MemberEvent, { type: "link" | "relink" | "broken" }>;

/** Tells whoever listens to a node, and whoever loops over its changes, what happens in the mesh. */
export class NodeEventEmitter {
  readonly #node: EventEmitter<NodeEvents>;
  readonly #peers: PeerObjects;
  readonly #standing: LeaderTracker;
  readonly #loops: EventLoops;
  /** Each peer as it was last told of, until its link has ended. */
  readonly #told = new Map<Address, Peer>();

  constructor(node: EventEmitter<NodeEvents>, peers: PeerObjects, standing: LeaderTracker, loops: EventLoops) {
    this.#node = node;
    this.#peers = peers;
    this.#standing = standing;
    this.#loops = loops;
  }

  /** Hears everything that the machine tells, but for what classic peers send. */
  hear(event: MemberEvent): void {
    switch (event.type) {
      case "link":
      case "relink":
      case "broken":
        this.#link(event);
        break;
      case "unlink": {
        const { peer, reason, unacknowledged } = event;
        this.#peers.forget(peer);
        const last = this.#told.get(peer);
        this.#told.delete(peer);
        if (last !== undefined) this.tell({ type: "peer:down", peer: last, reason, unacknowledged });
        break;
      }
      case "degraded":
        this.tell({ type: "degraded", count: event.count, missing: event.missing });
        break;
      case "waiting":
      case "complete":
        this.tell(event);
        break;
      case "closed":
        this.tell(event);
        this.#loops.closed();
        break;
      default:
        this.#membership(event);
    }
  }

  /** What may bring another rank or another leader. */
  #membership(event: MemberEvent): void {
    if (event.type === "registered") this.tell({ type: "registered", address: event.address });
    else if (event.type === "ended") this.#standing.ended();
    else if (event.type !== "directory" && event.type !== "fenced" && event.type !== "informed") return;
    if (event.type === "directory" || event.type === "fenced") this.tell(event);
    this.#tellStanding();
    if (event.type === "ended") this.tell({ type: "ended", reason: event.reason });
  }

  #tellStanding(): void {
    const rank = this.#standing.takeRank();
    if (rank !== undefined) this.tell({ type: "rank", rank });
    if (this.#standing.takeLeaderChanged()) this.tell({ type: "leader", leader: this.#standing.leader });
  }

  #link(event: LinkChangeEvent): void {
    this.#peers.forget(event.peer);
    const peer = this.#peers.at(event.peer) ?? (event.type === "broken" ? undefined : gonePeer(event));
    if (peer === undefined) return;
    this.#told.set(event.peer, peer);
    if (event.type === "link") this.tell({ type: "peer:up", peer });
    else if (event.type === "relink") this.tell({ type: "peer:back", peer });
    else this.tell({ type: "peer:unreachable", peer, reason: event.reason });
  }

  /** Gives an event to all loops and listeners. */
  tell(event: NodeEvent): void {
    this.#loops.push(event);
    // Each type has its own listeners, and TypeScript knows only that the event is one of them.
    callListener(() => (this.#node as EventEmitter<Record<string, [NodeEvent]>>).emit(event.type, event));
  }
}

/** A peer whose link has ended before anybody could be told that it was up. */
function gonePeer({ peer, dialect, direction, cipher }: Exclude<LinkChangeEvent, { type: "broken" }>): Peer {
  return { address: peer, dialect, direction, state: "broken", ...(cipher === undefined ? {} : { cipher }) };
}
