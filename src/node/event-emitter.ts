import type { EventEmitter } from "node:events";
import type { MemberEvent } from "../mesh/types.js";
import { callListener } from "../nodejs/uncaught.js";
import type { ChangeLoops, NodeChange } from "./change-loops.js";
import type { NodeEvents, Peer } from "./events.js";
import type { LeaderTracker } from "./leader-tracker.js";
import type { PeerObjects } from "./peer-objects.js";

type LinkChangeEvent = Extract<MemberEvent, { type: "link" | "relink" | "broken" }>;

/** Tells whoever listens to a node, and whoever loops over its changes, what happens in the mesh. */
export class NodeEventEmitter {
  readonly #node: EventEmitter<NodeEvents>;
  readonly #peers: PeerObjects;
  readonly #standing: LeaderTracker;
  readonly #changes: ChangeLoops;

  constructor(node: EventEmitter<NodeEvents>, peers: PeerObjects, standing: LeaderTracker, changes: ChangeLoops) {
    this.#node = node;
    this.#peers = peers;
    this.#standing = standing;
    this.#changes = changes;
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
        this.#tell({ type: "peer:down", peer, reason, unacknowledged });
        break;
      }
      case "degraded":
        this.#tell({ type: "degraded", count: event.count, missing: event.missing });
        break;
      case "waiting":
      case "complete":
        this.#tell(event);
        break;
      case "closed":
        this.#changes.closed();
        callListener(() => this.#node.emit("closed"));
        break;
      default:
        this.#membership(event);
    }
  }

  /** What may bring another rank or another leader. */
  #membership(event: MemberEvent): void {
    if (event.type === "registered") this.#tell({ type: "registered", address: event.address });
    else if (event.type === "ended") this.#standing.ended();
    else if (event.type !== "directory" && event.type !== "fenced" && event.type !== "informed") return;
    if (event.type === "directory" || event.type === "fenced") this.#tell(event);
    this.#tellStanding();
    if (event.type === "ended") this.#tell({ type: "ended", reason: event.reason });
  }

  #tellStanding(): void {
    const rank = this.#standing.takeRank();
    if (rank !== undefined) this.#tell({ type: "rank", rank });
    if (this.#standing.takeLeaderChanged()) this.#tell({ type: "leader", leader: this.#standing.leader });
  }

  #link(event: LinkChangeEvent): void {
    this.#peers.forget(event.peer);
    const peer = this.#peers.at(event.peer) ?? (event.type === "broken" ? undefined : gonePeer(event));
    if (peer === undefined) return;
    if (event.type === "link") this.#tell({ type: "peer:up", peer });
    else if (event.type === "relink") this.#tell({ type: "peer:back", peer });
    else this.#tell({ type: "peer:unreachable", peer, reason: event.reason });
  }

  #tell(change: NodeChange): void {
    this.#changes.push(change);
    callListener(() => emit(this.#node, change));
  }
}

/** A peer whose link has ended before anybody could be told that it was up. */
function gonePeer({ peer, dialect, direction, cipher }: Exclude<LinkChangeEvent, { type: "broken" }>): Peer {
  return { address: peer, dialect, direction, state: "broken", ...(cipher === undefined ? {} : { cipher }) };
}

function emit(node: EventEmitter<NodeEvents>, change: NodeChange): void {
  switch (change.type) {
    case "registered":
      node.emit("registered", change.address);
      break;
    case "waiting":
      node.emit("waiting", change.place);
      break;
    case "directory":
      node.emit("directory", change.members);
      break;
    case "rank":
      node.emit("rank", change.rank);
      break;
    case "leader":
      node.emit("leader", change.leader);
      break;
    case "complete":
      node.emit("complete", change);
      break;
    case "degraded":
      node.emit("degraded", { count: change.count, missing: change.missing });
      break;
    case "fenced":
    case "ended":
      node.emit(change.type, change.reason);
      break;
    default:
      emitPeer(node, change);
  }
}

type PeerChange = Extract<NodeChange, { type: `peer:${string}` }>;

function emitPeer(node: EventEmitter<NodeEvents>, change: PeerChange): void {
  if (change.type === "peer:down") node.emit("peer:down", change.peer, change.reason, change.unacknowledged);
  else if (change.type === "peer:unreachable") node.emit("peer:unreachable", change.peer, change.reason);
  else node.emit(change.type, change.peer);
}
