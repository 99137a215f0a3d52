import { FullmeshError } from "../core/errors.js";
import { AsyncQueue } from "./async-queue.js";
import type { NodeEvent } from "./events.js";

/** The loops over what happens to a node. */
export class EventLoops {
  readonly #most: number;
  readonly #loops = new Set<AsyncQueue<NodeEvent>>();
  #isClosed = false;

  /** `most`: so many events may one loop leave unread. */
  constructor(most: number) {
    this.#most = most;
  }

  /** See `MeshNode.events`. */
  loop(signal: AbortSignal | undefined): AsyncQueue<NodeEvent> {
    const loop = new AsyncQueue<NodeEvent>(signal, (ended) => this.#loops.delete(ended));
    if (this.#isClosed) loop.finish();
    if (!loop.isFinished) this.#loops.add(loop);
    return loop;
  }

  push(event: NodeEvent): void {
    for (const loop of this.#loops) {
      if (loop.size < this.#most) loop.push(event);
      else loop.fail(new FullmeshError("UNREAD_CHANGES", `${loop.size} events have not been read`));
    }
  }

  /** Nothing more happens. */
  closed(): void {
    this.#isClosed = true;
    for (const loop of [...this.#loops]) loop.finish();
  }
}
