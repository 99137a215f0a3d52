import type { ConnectionId, ConnectionOutput } from "../../core/connections.js";
import type { OutputSink } from "../../core/machine.js";

/**
 * What the server still has to say to one simple reader, which takes one `recv()` for one message.
 *
 * Two messages are kept apart in time, because TCP would glue them together: the next one goes out `gapMs` after the last
 * one has left this process. While a list waits, a newer one takes its place, so a reader that is slow or gone costs one
 * list. The last word never takes the place of a list, and nothing follows it.
 */
export class ClassicWriter {
  readonly #connection: ConnectionId;
  readonly #outputs: OutputSink<ConnectionOutput>;
  readonly #gapMs: number;
  #listIsDue = false;
  #lastWord: Uint8Array | undefined;
  #isFlushing = false;
  #isClosed = false;
  #readyAt = Number.NEGATIVE_INFINITY;

  constructor(connection: ConnectionId, outputs: OutputSink<ConnectionOutput>, gapMs: number) {
    this.#connection = connection;
    this.#outputs = outputs;
    this.#gapMs = gapMs;
  }

  /** The newest list is to be sent. */
  listDue(): void {
    if (this.#lastWord === undefined) this.#listIsDue = true;
  }

  /** The end is to be sent, after a list that is due. */
  end(lastWord: Uint8Array): void {
    this.#lastWord ??= lastWord;
  }

  /** What was sent has left this process. */
  flushed(now: number): void {
    this.#isFlushing = false;
    this.#readyAt = now + this.#gapMs;
  }

  /** True when everything has been sent and has left this process. */
  get isEmpty(): boolean {
    const isSaid = !this.#listIsDue && (this.#lastWord === undefined || this.#isClosed);
    return isSaid && !this.#isFlushing;
  }

  /** When the next message may go; undefined if there is none, or if the last one has not left yet. */
  nextTimeout(): number | undefined {
    const isWaiting = this.#listIsDue || (this.#lastWord !== undefined && !this.#isClosed);
    return isWaiting && !this.#isFlushing ? this.#readyAt : undefined;
  }

  /** Sends what may go now, if anything, and says what it was. `list` gives the newest list, encoded. */
  advance(now: number, list: () => Uint8Array): "list" | "end" | undefined {
    const readyAt = this.nextTimeout();
    if (readyAt === undefined || readyAt > now) return undefined;
    const sent = this.#listIsDue ? "list" : "end";
    const bytes = this.#listIsDue ? list() : this.#lastWord;
    if (this.#listIsDue) this.#listIsDue = false;
    else this.#isClosed = true;
    this.#isFlushing = true;
    if (bytes !== undefined) this.#outputs.push({ type: "send", connection: this.#connection, bytes });
    return sent;
  }
}
