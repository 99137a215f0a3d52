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

/** What a node tells. */
export interface NodeEvents {
  /** Also when the node follows its machine to another address. */
  listening: [address: Address];
  registered: [address: Address];
  /** It stands in line for a slot; 1 is the next to get in. */
  waiting: [place: number];
  /** All members in join order. */
  directory: [members: readonly Address[]];
  /** This node's place among the members, 0 for the oldest; -1 when it is none any more. */
  rank: [rank: number];
  /** The oldest member; undefined when this node cannot know who that is. A hint, not a lock; see `MeshNode.leader`. */
  leader: [leader: Address | undefined];
  "peer:up": [peer: Peer];
  /** The connection under the link is gone. Nothing is lost yet: messages wait for the next one. */
  "peer:unreachable": [peer: Peer, reason: string];
  /** The link has a new connection. */
  "peer:back": [peer: Peer];
  /** The link has ended for good, with so many messages of ours not known to have been delivered. */
  "peer:down": [peer: Address, reason: string, unacknowledged: number];
  /** A message from a native peer: once, and in order for each peer. What nobody listens for is not kept. */
  message: [message: Message];
  /** Bytes from a classic peer, in order; listen for them right after `join`, for what nobody listens to is not kept. Such a link is a pipe of bytes: it keeps no boundaries between writes. */
  bytes: [message: { readonly peer: Address; readonly bytes: Uint8Array }];
  /**
   * Go on, after a `send` that returned false or threw `QUEUE_FULL`: what waits for a native peer has fallen to half of the
   * soft limit. After a `write` that did so: everything written to the classic peer has left this process.
   */
  drain: [peer: Address];
  /** The mesh is whole: by the server's word (`scope` `mesh`), or as far as a classic node can see (`own`). */
  complete: [completeness: CompletenessReport];
  /** Some pairs have been missing for a while. */
  degraded: [degradation: Degradation];
  /**
   * This incarnation is over: it was removed from the mesh while it was away, somebody else has proved its address, or its
   * machine has another address now. Its links have ended, and it joins anew.
   */
  fenced: [reason: string];
  /** The mesh has ended for this node; what was on its way may follow, and `closed` is the last. */
  ended: [reason: string];
  closed: [];
  /** Something was noticed that belongs in a log. */
  note: [record: LogRecord];
}
