import { FullmeshError } from "../core/errors.js";
import type { CompletenessReport } from "../mesh/types.js";
import type { Address } from "../protocol/address.js";
import { AsyncQueue } from "./async-queue.js";
import type { Degradation, Peer } from "./events.js";

/** What happens to a node and its mesh, each under the name of the event that tells it; not what peers say. */
export type NodeChange =
  | { readonly type: "registered"; readonly address: Address }
  /** It stands in line for a slot; 1 is the next to get in. */
  | { readonly type: "waiting"; readonly place: number }
  /** All members in join order. */
  | { readonly type: "directory"; readonly members: readonly Address[] }
  | { readonly type: "rank"; readonly rank: number }
  | { readonly type: "leader"; readonly leader: Address | undefined }
  | { readonly type: "peer:up"; readonly peer: Peer }
  | { readonly type: "peer:unreachable"; readonly peer: Peer; readonly reason: string }
  | { readonly type: "peer:back"; readonly peer: Peer }
  | {
      readonly type: "peer:down";
      readonly peer: Address;
      readonly reason: string;
      readonly unacknowledged: number;
    }
  | CompletenessReport
  | ({ readonly type: "degraded" } & Degradation)
  | { readonly type: "fenced"; readonly reason: string }
  | { readonly type: "ended"; readonly reason: string };

/** The loops over what happens to a node. */
export class ChangeLoops {
  readonly #most: number;
  readonly #loops = new Set<AsyncQueue<NodeChange>>();
  #isClosed = false;

  /** `most`: so many changes may one loop leave unread. */
  constructor(most: number) {
    this.#most = most;
  }

  /** See `MeshNode.changes`. */
  loop(signal: AbortSignal | undefined): AsyncQueue<NodeChange> {
    const loop = new AsyncQueue<NodeChange>(signal, (ended) => this.#loops.delete(ended));
    if (this.#isClosed) loop.finish();
    if (!loop.isFinished) this.#loops.add(loop);
    return loop;
  }

  push(change: NodeChange): void {
    for (const loop of this.#loops) {
      if (loop.size < this.#most) loop.push(change);
      else loop.fail(new FullmeshError("UNREAD_CHANGES", `${loop.size} changes have not been read`));
    }
  }

  /** Nothing more happens. */
  closed(): void {
    this.#isClosed = true;
    for (const loop of [...this.#loops]) loop.finish();
  }
}
