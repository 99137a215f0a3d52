/**
 * The life of a stream as one end sees it, as data: from each state, what may happen and where it leads. The two directions
 * end one by one, or both at once.
 */
export const streamTransitions = {
  /** Both ends may send. */
  open: { end: "ending", finished: "halfClosedRemote", abort: "closed", aborted: "closed" },
  /** The application has ended its side; some of what it wrote waits here. */
  ending: { flushed: "halfClosedLocal", finished: "closing", abort: "closed", aborted: "closed" },
  /** Our side has ended. The peer may go on. */
  halfClosedLocal: { finished: "closed", abort: "closed", aborted: "closed" },
  /** The peer has ended its side. We may go on. */
  halfClosedRemote: { end: "closing", abort: "closed", aborted: "closed" },
  /** Both have ended their sides; some of what the application wrote waits here. */
  closing: { flushed: "closed", abort: "closed", aborted: "closed" },
  /** Over in both directions. What still comes for it is what the peer sent before it knew. */
  closed: {},
} as const;

export type StreamState = keyof typeof streamTransitions;
export type StreamTrigger = "end" | "flushed" | "finished" | "abort" | "aborted";

/** Where an event leads; undefined if it is impossible in this state. */
export function nextStreamState(state: StreamState, event: StreamTrigger): StreamState | undefined {
  const table: Partial<Record<StreamTrigger, StreamState>> = streamTransitions[state];
  return table[event];
}

/** The peer may still send. */
export function isReadable(state: StreamState): boolean {
  return state === "open" || state === "ending" || state === "halfClosedLocal";
}

/** The application has ended its side, and that has not been sent yet. */
export function isEnding(state: StreamState): boolean {
  return state === "ending" || state === "closing";
}

/** The application may still write. */
export function isWritable(state: StreamState): boolean {
  return state === "open" || state === "halfClosedRemote";
}
