import type { ConnectionId, ConnectionOutput } from "../../core/connections.js";
import type { OutputSink } from "../../core/machine.js";

/**
 * Writes to one classic member, which may take one `recv()` for one message.
 *
 * Messages are kept apart in time, because TCP would join them: the next one goes out `gapMs` after the last one has left
 * this process. A newer list replaces one that waits, so a peer that does not read costs one list. The last message never
 * replaces a list, and nothing follows it.
 */
export class ClassicWriter {
  readonly #connection: ConnectionId;
  readonly #outputs: OutputSink<ConnectionOutput>;
  readonly #gapMs: number;
  #listIsDue = false;
  #lastMessage: Uint8Array | undefined;
  #isFlushing = false;
  #isClosed = false;
  #readyAt = Number.NEGATIVE_INFINITY;

  constructor(connection: ConnectionId, outputs: OutputSink<ConnectionOutput>, gapMs: number) {
    this.#connection = connection;
    this.#outputs = outputs;
    this.#gapMs = gapMs;
  }

  /** Queues the newest list. */
  queueList(): void {
    if (this.#lastMessage === undefined) this.#listIsDue = true;
  }

  /** Queues the last message, behind a list that is due. */
  end(lastMessage: Uint8Array): void {
    this.#lastMessage ??= lastMessage;
  }

  /** What was sent has left this process. */
  flushed(now: number): void {
    this.#isFlushing = false;
    this.#readyAt = now + this.#gapMs;
  }

  /** True when everything has been sent and has left this process. */
  get isEmpty(): boolean {
    const isSent = !this.#listIsDue && (this.#lastMessage === undefined || this.#isClosed);
    return isSent && !this.#isFlushing;
  }

  /** When the next message may go; undefined if there is none, or if the last one has not left yet. */
  nextTimeout(): number | undefined {
    const isWaiting = this.#listIsDue || (this.#lastMessage !== undefined && !this.#isClosed);
    return isWaiting && !this.#isFlushing ? this.#readyAt : undefined;
  }

  /** Sends what may go now, and returns what it was. `list` returns the newest list, encoded. */
  advance(now: number, list: () => Uint8Array): "list" | "end" | undefined {
    const readyAt = this.nextTimeout();
    if (readyAt === undefined || readyAt > now) return undefined;
    const sent = this.#listIsDue ? "list" : "end";
    const bytes = this.#listIsDue ? list() : this.#lastMessage;
    if (this.#listIsDue) this.#listIsDue = false;
    else this.#isClosed = true;
    this.#isFlushing = true;
    if (bytes !== undefined) this.#outputs.push({ type: "send", connection: this.#connection, bytes });
    return sent;
  }
}
