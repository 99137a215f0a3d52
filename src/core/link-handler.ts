/**
 * What a native link and those who ride on it tell one another: the whole vocabulary between links and messages.
 *
 * A link carries numbered frames. Each arrives once, and in the order in which it was begun, as long as both ends live,
 * whatever happens to the connections under the link. What is in them is the riders' business.
 */

/** A link, as a rider sees it. */
export interface LinkWriter {
  /** Where the frame that was begun last is to be written. Another one after each `begin`. */
  readonly memory: Uint8Array;
  /**
   * False once the application may send nothing more: one of the two ends leaves, or the link has ended. What the rider has
   * taken before may still be begun, until the link has ended.
   */
  readonly isOpen: boolean;
  /** Bytes of frames that the other end is not known to have. */
  readonly unacknowledgedBytes: number;
  /** Those of them that have not gone to a connection yet. */
  readonly waitingBytes: number;
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
  /** Measures the round trip, unless that is under way. */
  measure(): void;
}

/** What `take` returns for a frame that this end cannot hold now. The connection breaks, and the frame comes again later. */
export const notNow: unique symbol = Symbol("not now");

/** What rides on one link. */
export interface LinkHandler {
  /** Messages that the application has given and that have not been begun; they are lost when the link ends. */
  readonly waiting: number;
  /** False while something that was given waits, which who leaves says goodbye behind: messages, and what is on streams. */
  readonly isDone: boolean;
  /**
   * The next frame of the other end has come; its content is what lies in `bytes` from `from` to `to`, and may be kept.
   * `rest` bytes more are still to come by `takeMore`, unless the connection breaks: then it comes again from its beginning.
   * Returns what is wrong with it, or undefined if nothing is.
   */
  take(kind: number, bytes: Uint8Array, from: number, to: number, rest: number): string | typeof notNow | undefined;
  /** The next part of that frame. */
  takeMore(bytes: Uint8Array, from: number, to: number, rest: number): string | undefined;
  /** Some frames have gone to the connection, or have been acknowledged: there may be room for more. */
  moved(): void;
  /** The link has ended; nothing more comes. */
  ended(reason: string): void;
}

/** Those who ride on all links of a member. */
export interface LinkHandlerFactory {
  /** A link is up for the first time. `isOwner`: this end is the earlier of the two. */
  board(peer: string, isOwner: boolean, carriage: LinkWriter): LinkHandler;
  nextTimeout(): number | undefined;
  handleTimeout(now: number): void;
}
