import type { CompletenessReport, Direction } from "../mesh/types.js";
import type { Address } from "../protocol/address.js";
import type { Dialect, Id, Meta } from "../protocol/directory.js";
import type { MissingPair } from "../protocol/missing-pair.js";

/** One incarnation of a member, as the directory lists it. A classic node knows nothing but addresses. */
export interface Member {
  readonly address: Address;
  readonly dialect: Dialect;
  /** The id of this incarnation, 32 hexadecimal digits. */
  readonly id?: Id;
  /** Larger than that of every member that joined before. */
  readonly order?: number;
  /** What it says of itself. */
  readonly name?: string;
  readonly meta?: Meta;
}

/** Another member, and the link with it. The object is a snapshot: a change of the link brings a new one. */
export interface Peer extends Member {
  /** Who opens the connections of the link: the member that joined earlier. */
  readonly direction: Direction;
  /**
   * `waiting`: the link has not been up yet. `broken`: its connection is gone. To a native peer in either state messages
   * wait for the next connection, unless the link has ended for good.
   */
  readonly state: "waiting" | "up" | "broken";
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

/** How many pairs of members are not linked, and the first of them. */
export interface Degradation {
  readonly count: number;
  readonly missing: readonly MissingPair<Member>[];
}

/** What happens to a node and its mesh: `on`, `once` and `events()` give the same objects. */
export type NodeEvent =
  /** The node listens. Also when it follows its machine to another address. */
  | { readonly type: "listening"; readonly address: Address }
  /** The server has taken this node in. */
  | { readonly type: "registered"; readonly address: Address }
  /** The mesh is full, and this node waits for a slot; place 1 is the next to get in. */
  | { readonly type: "waiting"; readonly place: number }
  /** All members in join order, this node included. */
  | { readonly type: "directory"; readonly members: readonly Member[] }
  /** This node's place among the members, 0 for the oldest; -1 when it is none any more. */
  | { readonly type: "rank"; readonly rank: number }
  /** Another member leads, perhaps this one; undefined: this node cannot know who. A hint, not a lock; see `MeshNode.leader`. */
  | { readonly type: "leader"; readonly leader: Member | undefined }
  /** The session with the server has broken, since when (ms since the epoch) and why. Links go on; the server is looked for. */
  | { readonly type: "server:lost"; readonly since: number; readonly reason: string }
  /**
   * The server has taken this node back, after so many milliseconds. `server`: its `host:port`; another one than before if
   * several share the log of the mesh.
   */
  | { readonly type: "server:back"; readonly awayMs: number; readonly server: string }
  /**
   * The server has gone, and has left the mesh to its members: what they have goes on, nobody joins, and no server is looked
   * for. From now on a peer is a member for as long as the link with it lasts.
   */
  | { readonly type: "released"; readonly reason: string }
  /** A member, perhaps this one, holds a key. */
  | { readonly type: "claimed"; readonly key: string; readonly holder: Member; readonly token: number }
  /** It holds it no more, and why. */
  | {
      readonly type: "unclaimed";
      readonly key: string;
      readonly holder: Member;
      readonly token: number;
      readonly reason: string;
    }
  /** A link is up for the first time. */
  | { readonly type: "peer:up"; readonly peer: Peer }
  /** The connection under the link is gone. Nothing is lost yet: messages wait for the next one. */
  | { readonly type: "peer:unreachable"; readonly peer: Peer; readonly reason: string }
  /**
   * The link has not been up since `since` (ms since the epoch), which is `limits.brokenMs` ago, and the directory lists the peer
   * still. Told once for each outage, also for a link that has never been up.
   */
  | { readonly type: "peer:outage"; readonly peer: Peer; readonly reason: string; readonly since: number }
  /** The link has a new connection. */
  | { readonly type: "peer:back"; readonly peer: Peer }
  /**
   * The link has ended for good, with so many messages of ours not known to have been delivered. `wasUp`: false for a link
   * that has never been up; then none of these messages was sent.
   */
  | {
      readonly type: "peer:down";
      readonly peer: Peer;
      readonly reason: string;
      readonly unacknowledged: number;
      readonly wasUp: boolean;
    }
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
  readonly peer: Peer;
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
};

const isNodeEvent: { readonly [Type in keyof NodeEvents]: true } = {
  listening: true,
  registered: true,
  waiting: true,
  directory: true,
  rank: true,
  leader: true,
  claimed: true,
  unclaimed: true,
  "peer:up": true,
  "peer:unreachable": true,
  "peer:outage": true,
  "peer:back": true,
  "peer:down": true,
  "server:lost": true,
  "server:back": true,
  released: true,
  drain: true,
  complete: true,
  degraded: true,
  fenced: true,
  ended: true,
  closed: true,
  message: true,
  bytes: true,
};

/** What a node emits. */
export const nodeEventNames: readonly string[] = Object.keys(isNodeEvent);
