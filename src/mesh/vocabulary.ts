import type { ConnectionInput, ConnectionOutput, Endpoint } from "../core/connections.js";
import type { ErrorCode, Note } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { Address } from "../protocol/address.js";

/** What a member takes: what happens to its connections, and its owner's steps and wishes. */
export type MemberInput =
  | ConnectionInput
  | { readonly type: "connectToServer"; readonly to: Endpoint }
  /** The driver listens here now. */
  | { readonly type: "listening"; readonly on: Endpoint }
  | { readonly type: "register" }
  | { readonly type: "write"; readonly peer: Address; readonly bytes: Uint8Array }
  | { readonly type: "leave" };

/** Who dialed whom, seen from here. */
export type Direction = "dialed" | "accepted";

/** What is worth telling about a member. */
export type MemberEvent =
  | { readonly type: "connected"; readonly local: Endpoint }
  /** The server could not be reached; the step may be tried again. */
  | { readonly type: "unreachable"; readonly message: string }
  /** A list names this node. */
  | { readonly type: "registered"; readonly address: Address }
  /** The newest list, in join order. */
  | { readonly type: "directory"; readonly members: readonly Address[] }
  | { readonly type: "link"; readonly peer: Address; readonly direction: Direction }
  | { readonly type: "unlink"; readonly peer: Address; readonly reason: string }
  | { readonly type: "bytes"; readonly peer: Address; readonly bytes: Uint8Array }
  /** Everything written to the peer has been handed to the kernel. */
  | { readonly type: "drained"; readonly peer: Address }
  /** This node is linked with every other address of the newest list. */
  | { readonly type: "complete"; readonly members: number }
  /** The end has begun: told by the server or wished by the owner; with `failure`, gone wrong. */
  | { readonly type: "ended"; readonly reason: string; readonly failure?: ErrorCode }
  /** Every connection is gone. */
  | { readonly type: "closed" };

/** What a member wants done, told to its owner, or written to the log. */
export type MemberOutput =
  | ConnectionOutput
  | { readonly type: "event"; readonly event: MemberEvent }
  | { readonly type: "note"; readonly note: Note };

/** How a member is to behave. */
export interface MemberRules {
  /** The address to register, if it differs from where the node listens. */
  readonly advertise?: Address;
  /** Any number; jitter comes from it. */
  readonly seed: number;
  readonly limits: Limits;
}
