import type { ConnectionInput, ConnectionOutput } from "../core/connections.js";
import type { Note } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { Address } from "../protocol/address.js";
import type { AdmissionRules } from "./admission.js";
import type { Change, Dialect, LogEntry } from "./log.js";

/** What a rendezvous takes: what happens to its connections, what its log answers, and its owner's wishes. */
export type RendezvousInput =
  | ConnectionInput
  | { readonly type: "appended"; readonly entry: LogEntry }
  /** End the mesh: tell every node, then close. */
  | { readonly type: "teardown"; readonly reason: string }
  /** Stop serving without ending the mesh by word; classic nodes take the closing as the end. */
  | { readonly type: "close" };

/** What is worth telling about a mesh. */
export type RendezvousEvent =
  | { readonly type: "joined"; readonly address: Address; readonly order: number; readonly dialect: Dialect }
  /** A member said that it goes (`left`), or its connection broke (`lost`). */
  | {
      readonly type: "left" | "lost";
      readonly address: Address;
      readonly order: number;
      readonly dialect: Dialect;
      readonly reason: string;
    }
  /** A newcomer stands in line; `place` 1 is the next to get in. Told again when the place changes, to the first ten. */
  | { readonly type: "waiting"; readonly address: Address; readonly dialect: Dialect; readonly place: number }
  /** The end has begun. `unverified` counts the pairs whose link only the members themselves know of. */
  | { readonly type: "teardown"; readonly reason: string; readonly members: number; readonly unverified: number }
  /** Every connection is gone. */
  | { readonly type: "closed" };

/** What a rendezvous wants done, appended to its log, told to its owner, or written to the log file. */
export type RendezvousOutput =
  | ConnectionOutput
  | { readonly type: "append"; readonly change: Change }
  | { readonly type: "event"; readonly event: RendezvousEvent }
  | { readonly type: "note"; readonly note: Note };

/** How a rendezvous is to behave. */
export interface RendezvousRules extends Omit<AdmissionRules, "listBytes"> {
  /** The word that ends a mesh; see `isEndWord`. */
  readonly endWord: string;
  readonly limits: Limits;
}
