/**
 * The interface between a native link and what handles its frames.
 *
 * A link carries numbered frames. Each arrives once, and in the order in which it was begun, as long as both ends live,
 * whatever happens to the connections under the link. The handler alone knows what is in them.
 */

/**
 * A link, as its handler sees it. It exists from the moment the directory lists the peer, so frames may be begun before it
 * is up: they wait, and go out first once it is up, to this incarnation of the peer only.
 */
export interface LinkWriter {
  /** True once the link has been up. Until then nothing has gone out, and the peer may never be reached. */
  readonly hasBeenUp: boolean;
  /** Where the frame that was begun last is to be written. Another one after each `begin`. */
  readonly memory: Uint8Array;
  /**
   * False once the application may send nothing more: one of the two ends leaves, or the link has ended. What the handler
   * has taken before may still be begun, until the link has ended.
   */
  readonly isOpen: boolean;
  /** Bytes of frames that the other end is not known to have. */
  readonly unacknowledgedBytes: number;
  /** Those of them that have not gone to a connection yet. */
  readonly waitingBytes: number;
  /** The other end takes batches of messages. Only known once the link has been up, and the same from then on. */
  readonly takesBatches: boolean;
  /** True when so many of these wait that they should go out at once, and the connection has room for them. */
  readonly isPushDue: boolean;
  /** Bytes of all frames that have ever been begun. */
  readonly begunBytes: number;
  /** The shortest round trip on the present connection in milliseconds; undefined before the first is measured. */
  readonly roundTripMs: number | undefined;
  /**
   * Begins the next frame, and returns where in `memory` its content starts. All `bytes` of that, at most 65,525, must be
   * written before anything else happens. `tail` is more content behind it, which is not copied and must not change until it
   * is acknowledged; longer content goes there.
   */
  begin(kind: number, bytes: number, tail?: Uint8Array): number;
  /**
   * Adds so many bytes to the frame that was begun last, and returns where in `memory` they are to be written. Undefined if it
   * is of another kind, goes on in a tail, has gone to the connection, or would have a body of more than `most` bytes.
   */
  extend(kind: number, bytes: number, most: number): number | undefined;
  /** Measures the round trip, unless that is under way. */
  measure(): void;
}

/** What `take` returns for a frame that this end cannot hold now. The connection breaks, and the frame comes again later. */
export const retryLater: unique symbol = Symbol("retry later");

/**
 * What handles the frames of one link. Calls come in this order: `up` once, if the link ever comes up; then `take`,
 * `takeMore` and `moved`; `ended` once, last. A link that was never up gets `ended` alone. A handler that must not send
 * something before the link is up holds it back until `up`.
 */
export interface LinkHandler {
  /** Messages that the application has given and that have not been begun; they are lost when the link ends. */
  readonly waiting: number;
  /** What they weigh. */
  readonly waitingBytes: number;
  /** False while messages or stream bytes wait here. A member that leaves says goodbye only behind them. */
  readonly isDone: boolean;
  /**
   * The next frame of the other end has come; its content is what lies in `bytes` from `from` to `to`, and may be kept.
   * `rest` bytes more are still to come by `takeMore`, unless the connection breaks: then it comes again from its beginning.
   * Returns what is wrong with it, or undefined if nothing is.
   */
  take(kind: number, bytes: Uint8Array, from: number, to: number, rest: number): string | typeof retryLater | undefined;
  /** The next part of that frame. */
  takeMore(bytes: Uint8Array, from: number, to: number, rest: number): string | undefined;
  /** The link is up for the first time. Frames begun before, and in this call, go out in order. */
  up(): void;
  /** Some frames have gone to the connection, or have been acknowledged: there may be room for more. */
  moved(): void;
  /** The link has ended; nothing more comes. */
  ended(reason: string): void;
}

/** Makes the handlers of all links of a member. */
export interface LinkHandlerFactory {
  /**
   * The directory lists a native peer, and so there is a link with it, which is not up yet. `isOwner`: this end is the
   * earlier of the two. In a large mesh most handlers are idle: make their parts when they are first needed.
   */
  attach(peer: string, isOwner: boolean, link: LinkWriter): LinkHandler;
}
