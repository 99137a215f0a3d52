import type { CompletenessReport, Direction } from "../mesh/types.js";
import type { Address } from "../protocol/address.js";
import type { Dialect, Id, Meta } from "../protocol/directory.js";
import type { LogRecord } from "../runtime/log-rate-limiter.js";

/** Another member of the mesh with which there is a link. */
export interface Peer {
  readonly address: Address;
  readonly dialect: Dialect;
  /** Who opens the connections of the link: the member that joined earlier. */
  readonly direction: Direction;
  /** `broken`: the connection under the link is gone, and messages wait for the next one. */
  readonly state: "up" | "broken";
  /** This incarnation of the peer, its order in the mesh, and what it says of itself; absent where only classic is spoken. */
  readonly id?: Id;
  readonly order?: number;
  readonly name?: string;
  readonly meta?: Meta;
  /** How the present connection is encrypted, if it is. */
  readonly cipher?: string;
}

/** A message from a native peer. */
export interface Message<Payload = unknown> {
  readonly type: "message";
  readonly peer: Peer;
  readonly topic: string;
  /**
   * Bytes as a `Uint8Array`, any other value as it was sent, or undefined for nothing. Bytes are contiguous, and yours to
   * keep; few of them share their memory with others that came with them.
   */
  readonly payload: Payload;
}

/** Pairs of members that are not linked, and why; the first of them by name. */
export interface Degradation {
  readonly count: number;
  readonly missing: readonly (readonly [a: Address, b: Address, reason: string])[];
}

/** What happens to a node and its mesh: `on`, `once` and `events()` give the same objects. */
export type NodeEvent =
  /** The node listens. Also when it follows its machine to another address. */
  | { readonly type: "listening"; readonly address: Address }
  /** The server has taken this node in. */
  | { readonly type: "registered"; readonly address: Address }
  /** The mesh is full, and this node waits for a slot; place 1 is the next to get in. */
  | { readonly type: "waiting"; readonly place: number }
  /** All members in join order. */
  | { readonly type: "directory"; readonly members: readonly Address[] }
  /** This node's place among the members, 0 for the oldest; -1 when it is none any more. */
  | { readonly type: "rank"; readonly rank: number }
  /** The oldest member; undefined when this node cannot know who that is. A hint, not a lock; see `MeshNode.leader`. */
  | { readonly type: "leader"; readonly leader: Address | undefined }
  /** A link is up for the first time. */
  | { readonly type: "peer:up"; readonly peer: Peer }
  /** The connection under the link is gone. Nothing is lost yet: messages wait for the next one. */
  | { readonly type: "peer:unreachable"; readonly peer: Peer; readonly reason: string }
  /** The link has a new connection. */
  | { readonly type: "peer:back"; readonly peer: Peer }
  /** The link has ended for good, with so many messages of ours not known to have been delivered. */
  | { readonly type: "peer:down"; readonly peer: Peer; readonly reason: string; readonly unacknowledged: number }
  /**
   * Go on, after a `send` that returned false or threw `QUEUE_FULL`: what waits for a native peer has fallen to half of the
   * soft limit. After a `write` that did so: everything written to the classic peer has left this process.
   */
  | { readonly type: "drain"; readonly peer: Peer }
  /** The mesh is whole: by the server's word (`scope` `mesh`), or as far as a classic node can see (`own`). */
  | CompletenessReport
  /** Some pairs have been missing for a while. */
  | ({ readonly type: "degraded" } & Degradation)
  /**
   * This incarnation is over: it was removed from the mesh while it was away, somebody else has proved its address, or its
   * machine has another address now. Its links have ended, and it joins anew.
   */
  | { readonly type: "fenced"; readonly reason: string }
  /** The mesh has ended for this node; what was on its way may follow, and `closed` is the last. */
  | { readonly type: "ended"; readonly reason: string }
  /** Every connection is closed. */
  | { readonly type: "closed" };

/** Bytes from a classic peer, in order. Such a link is a pipe of bytes: it keeps no boundaries between writes. */
export interface ReceivedBytes {
  readonly type: "bytes";
  readonly peer: Address;
  readonly bytes: Uint8Array;
}

/** The listeners of a node, by the type of the event. */
export type NodeEvents = {
  readonly [Type in NodeEvent["type"]]: [event: Extract<NodeEvent, { readonly type: Type }>];
} & {
  /** Messages of all topics from native peers: once, and in order for each peer. See `MeshNode.onMessage` for one topic. */
  message: [message: Message];
  /** Listen right after `join`: what nobody listens for is not kept. */
  bytes: [bytes: ReceivedBytes];
  /** Something was noticed that belongs in a log. */
  note: [record: LogRecord];
};
