import type { Direction } from "./mesh/vocabulary.js";
import type { Address } from "./protocol/address.js";
import type { LogRecord } from "./runtime/notes.js";

/** Another member of the mesh with which there is a link. */
export interface Peer {
  readonly address: Address;
  /** Who opened the connection: the member that joined earlier. */
  readonly direction: Direction;
}

/** What a node tells. */
export interface NodeEvents {
  listening: [address: Address];
  registered: [address: Address];
  /** The newest list: all members in join order. */
  directory: [members: readonly Address[]];
  "peer:up": [peer: Peer];
  "peer:down": [peer: Address, reason: string];
  /** Bytes from a peer, in order; listen for them right after `join`, for what nobody listens to is not kept. A link is a pipe of bytes: it keeps no boundaries between writes. */
  bytes: [message: { readonly peer: Address; readonly bytes: Uint8Array }];
  /** Everything written to the peer has left this process. */
  drain: [peer: Address];
  /** This node is linked with every other address of the newest list, which has this many. */
  complete: [members: number];
  /** The mesh has ended for this node; `bytes` that were on their way may follow, and `closed` is the last. */
  ended: [reason: string];
  closed: [];
  /** Something was noticed that belongs in a log. */
  note: [record: LogRecord];
}
