/**
 * The life of a stream as one end sees it, as data: from each state, what may happen and where it leads. The two directions
 * end one by one, or both at once.
 */
export const streamTransitions = {
  /** Both ends may send. */
  open: { end: "ending", finished: "speaking", abort: "gone", aborted: "gone" },
  /** The application has said its last; some of it waits here. */
  ending: { flushed: "hearing", finished: "closing", abort: "gone", aborted: "gone" },
  /** Our end is said. The peer may go on. */
  hearing: { finished: "gone", abort: "gone", aborted: "gone" },
  /** The peer has said its end. We may go on. */
  speaking: { end: "closing", abort: "gone", aborted: "gone" },
  /** The peer has said its end, and the application its last; some of it waits here. */
  closing: { flushed: "gone", abort: "gone", aborted: "gone" },
  /** Over in both directions. What still comes for it is what the peer sent before it knew. */
  gone: {},
} as const;

export type StreamState = keyof typeof streamTransitions;
export type StreamTrigger = "end" | "flushed" | "finished" | "abort" | "aborted";

/** Where an event leads; undefined if it cannot be in this state. */
export function nextStreamState(state: StreamState, event: StreamTrigger): StreamState | undefined {
  const table: Partial<Record<StreamTrigger, StreamState>> = streamTransitions[state];
  return table[event];
}

/** The peer may still send. */
export function isReadable(state: StreamState): boolean {
  return state === "open" || state === "ending" || state === "hearing";
}

/** The application has said its last, and that has not gone yet. */
export function isEnding(state: StreamState): boolean {
  return state === "ending" || state === "closing";
}

/** The application may still write. */
export function isWritable(state: StreamState): boolean {
  return state === "open" || state === "speaking";
}
