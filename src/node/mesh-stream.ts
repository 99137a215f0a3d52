import { Duplex } from "node:stream";
import { FullmeshError, messageOf } from "../core/errors.js";
import { ByteQueue } from "../messaging/byte-queue.js";
import type { Stream } from "../messaging/stream.js";
import { detachIfSmall, isReferenced } from "../protocol/native/payload.js";
import type { Peer } from "./events.js";
import type { MessagingContext } from "./messaging-context.js";
import { codeToSend, errorFromPeer } from "./remote-errors.js";

/** What Node may hold of what is written, in bytes: one frame. */
const bufferBytes = 65_536;

type Callback = (error?: Error | null) => void;

/** What happens to a stream at the other end. */
export interface StreamEvents {
  arrived(bytes: Uint8Array): void;
  /** The peer sends nothing more. */
  finished(): void;
  /** There is room for more, after there was none. */
  drained(): void;
  /** The peer has given the stream up, or the link has ended. */
  aborted(error: FullmeshError): void;
}

/**
 * A stream of bytes to one peer and from it, with a pace of its own: it neither waits for messages nor keeps them waiting.
 *
 * Both directions end on their own: `end()` says that this side writes nothing more. A chunk below 4 KiB is copied by the
 * time that the callback of its `write` is called; a larger one is referenced until the peer has it, and must not change.
 * `destroy()` and `abort()` give both directions up at once, and so does the end of the link; then the other end gets an
 * error with the code `STREAM_ABORTED` or `PEER_DOWN`. What a peer has said to its end before the link's is read to its end
 * first; then there is that error if something that this side has written or its end cannot go any more, and otherwise the
 * stream is closed. Nobody has to listen for the error: a peer's failure never ends this process.
 */
export class MeshStream extends Duplex {
  /** The member at the other end. */
  readonly peer: Peer;
  /** What it was opened for. */
  readonly topic: string;
  readonly #stream: Stream;
  readonly #context: MessagingContext;
  readonly #open: Map<Stream, StreamEvents>;
  /**
   * What has come and is not wanted yet; the peer may not send more for it. Short pieces are put together, because a peer
   * pays credit for bytes only, and a list of single bytes takes two hundred times its length.
   */
  readonly #arrived = new ByteQueue();
  /** True while somebody reads. */
  #isWanted = false;
  #hasFinished = false;
  #hasEnded = false;
  /** True once nothing can be said on the stream any more. */
  #isOver = false;
  /** Waits until there is room for more. */
  #written: Callback | undefined;
  /** Why it can go on no more, while what had come before, all of it, is still to be read. */
  #failure: FullmeshError | undefined;

  /** Made by `MeshNode.openStream` and for `MeshNode.onStream`. `open`: where it is found as long as something can happen to it. */
  constructor(stream: Stream, peer: Peer, topic: string, context: MessagingContext, open: Map<Stream, StreamEvents>) {
    // Nothing is kept by Node for who may read later, so that it is kept here, where short pieces are put together.
    super({ allowHalfOpen: true, readableHighWaterMark: 0, writableHighWaterMark: bufferBytes });
    this.#stream = stream;
    this.peer = peer;
    this.topic = topic;
    this.#context = context;
    this.#open = open;
    open.set(stream, {
      arrived: (bytes) => this.#arrive(bytes),
      finished: () => this.#finish(),
      drained: () => this.#goOn(),
      aborted: (error) => this.#lose(error),
    });
    this.on("error", () => {});
    this.on("end", () => {
      // An error fails whoever still hands on what was read, so there is one only if something was not written.
      if (this.#failure === undefined) return;
      if (this.#hasEnded || this.#written !== undefined) this.destroy(this.#failure);
      else this.destroy();
    });
  }

  /**
   * Gives both directions up at once. The other end gets an error with the code `STREAM_ABORTED`, whose cause has the
   * message of this reason, and its own `code` (see `RemoteError`); and so does this end.
   */
  abort(reason: unknown = "no reason was given"): this {
    const cause = reason instanceof Error ? reason : new Error(messageOf(reason));
    return this.destroy(
      new FullmeshError("STREAM_ABORTED", `this end has aborted the stream: ${cause.message}`, { cause }),
    );
  }

  /**
   * Loops over the chunks. A loop that is left destroys the stream; one that comes to the end does not, because this side
   * may still have something to say, which is where it differs from other streams of Node.
   */
  override async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    let hasEnded = false;
    try {
      yield* this.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
      hasEnded = true;
    } finally {
      if (!hasEnded) this.destroy();
    }
  }

  /** What a listener throws is logged, and aborts the stream, as what its handler throws does. */
  override emit(event: string | symbol, ...values: unknown[]): boolean {
    try {
      // eslint-disable-next-line no-restricted-syntax -- an event has a few values, whoever emits it
      return super.emit(event as never, ...(values as never[]));
    } catch (error) {
      this.fail(error);
      return true;
    }
  }

  /** Logs what this program has thrown, and aborts the stream with it. */
  fail(thrown: unknown): void {
    this.#context.log.writeThrown(
      `a stream ${JSON.stringify(this.topic)} with ${this.peer.address}`,
      thrown,
      this.peer.address,
    );
    this.destroy(new FullmeshError("HANDLER_FAILED", messageOf(thrown), { cause: thrown }));
  }

  override _read(): void {
    this.#isWanted = true;
    while (this.#isWanted && this.#arrived.bytes > 0) {
      const bytes = this.#arrived.take(Number.POSITIVE_INFINITY);
      if (bytes === undefined) {
        const detail = "what had come and was not read yet lay in memory that this program has transferred or resized";
        this.destroy(new FullmeshError("PAYLOAD_CHANGED", detail));
        return;
      }
      this.#hand(bytes);
    }
    if (this.#isWanted && this.#hasFinished) this.push(null);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    if (chunk.length === 0) callback();
    else this.#wrote(this.#stream.write(chunk), callback);
  }

  override _writev(chunks: { readonly chunk: Buffer }[], callback: Callback): void {
    let hasRoom = true;
    let small: Buffer[] = [];
    let smallBytes = 0;
    const flush = (): void => {
      // Many small chunks go as one.
      if (smallBytes > 0) hasRoom = this.#stream.write(Buffer.concat(small, smallBytes)) && hasRoom;
      small = [];
      smallBytes = 0;
    };
    for (const { chunk } of chunks) {
      if (isReferenced(chunk)) {
        flush();
        hasRoom = this.#stream.write(chunk) && hasRoom;
      } else {
        small.push(chunk);
        smallBytes += chunk.length;
        if (smallBytes >= bufferBytes) flush();
      }
    }
    flush();
    this.#wrote(hasRoom, callback);
  }

  override _final(callback: Callback): void {
    this.#hasEnded = true;
    this.#stream.end();
    this.#context.wake();
    if (this.#failure === undefined) callback();
    else this.#wrote(false, callback);
  }

  override _destroy(error: Error | null, callback: Callback): void {
    const isComplete = this.#hasEnded && this.#hasFinished;
    if (!this.#isOver && !isComplete) {
      const { code, message } = reasonToSend(error);
      this.#stream.abort(code, message);
      this.#context.wake();
    }
    this.#isOver = true;
    this.#arrived.clear();
    this.#stream.skip();
    this.#open.delete(this.#stream);
    callback(error);
    this.#goOn(error ?? new FullmeshError("ABORTED", "the stream was destroyed before this had gone"));
  }

  #arrive(bytes: Uint8Array): void {
    if (this.#isWanted) this.#hand(bytes);
    else if (!this.destroyed) this.#arrived.push(isReferenced(bytes) ? detachIfSmall(bytes) : bytes);
  }

  /**
   * The other end has given it up, or the link has ended. If all that the other end had to say has come before the link's
   * end, it is read to its end, and only then is there the error. Not if nobody reads, but somebody waits to write.
   */
  #lose(error: FullmeshError): void {
    const isWhole = this.#hasFinished && !this.readableEnded && error.code !== "STREAM_ABORTED";
    this.#isOver = true;
    if (!isWhole || (!this.#isRead && this.#written !== undefined)) {
      this.destroy(error);
      return;
    }
    this.#failure ??= error;
    // Nothing more happens to it: who never reads it to its end leaves nothing behind.
    this.#open.delete(this.#stream);
  }

  /** True if somebody has begun to read. */
  get #isRead(): boolean {
    return this.readableFlowing !== null || this.listenerCount("readable") > 0;
  }

  #finish(): void {
    this.#hasFinished = true;
    if (this.#isWanted) this.push(null);
  }

  /** Gives to who reads what the peer may then send again. */
  #hand(bytes: Uint8Array): void {
    this.#isWanted = this.push(detachIfSmall(bytes));
    if (this.#isOver) return;
    this.#stream.read(bytes.length);
    this.#context.wake();
  }

  /** The last write has been taken, or never will be. */
  #goOn(error?: Error): void {
    const written = this.#written;
    this.#written = undefined;
    written?.(error);
  }

  #wrote(hasRoom: boolean, callback: Callback): void {
    this.#context.wake();
    if (this.#failure !== undefined && !this.#isRead) callback(this.#failure);
    else if (hasRoom) callback();
    else this.#written = callback;
  }
}

/** What the other end is told: of an `abort`, and of a handler that has failed, what this program has given or thrown. */
function reasonToSend(error: Error | null): { readonly code: string; readonly message: string } {
  if (error === null) {
    return { code: "STREAM_ABORTED", message: "the stream was destroyed before both directions had ended" };
  }
  if (error instanceof FullmeshError) {
    const { code, message, cause } = error;
    if (code === "PAYLOAD_CHANGED") return { code, message };
    if (code === "HANDLER_FAILED") return { code: codeToSend(cause, "HANDLER_FAILED"), message };
    if (code === "STREAM_ABORTED" && cause instanceof Error) return reasonToSend(cause);
  }
  return { code: codeToSend(error, "STREAM_ABORTED"), message: messageOf(error) };
}

/** The error of a stream that the peer has given up, or whose link has ended. */
export function abortedError(peer: string, code: string, message: string): FullmeshError {
  if (code === "PEER_DOWN") return new FullmeshError("PEER_DOWN", message);
  const cause = errorFromPeer(code, message, "STREAM_ABORTED");
  return new FullmeshError("STREAM_ABORTED", `${peer} has aborted the stream: ${message}`, { cause });
}
