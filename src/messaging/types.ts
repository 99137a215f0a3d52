import type { Limits } from "../core/limits.js";
import type { LinkWriter } from "../core/link-handler.js";
import type { BatchingSink } from "../core/machine.js";
import type { PayloadForm } from "../protocol/native/payload.js";
import type { PeerBudget } from "./memory-budget.js";
import type { StreamState } from "./stream-states.js";

export type { PayloadForm };

/**
 * What came of a message: it is on its way (`taken`), it is taken but the peer is behind (`slow`), or too much waits
 * already and nothing was taken (`full`). After the last two a `drained` follows when it is time to go on.
 */
export type SendResult = "taken" | "slow" | "full";

/** A message of the peer. */
export interface ReceivedMessage {
  readonly topic: string;
  readonly form: PayloadForm;
  readonly payload: Uint8Array;
  /** To be given to `PeerChannel.consumed` once the application has consumed the message. */
  readonly bytes: number;
}

/**
 * Everything that the application exchanges with one peer: messages, requests and streams. What the peer does comes as
 * `MessagingEvent`s. When the link has ended, its methods do nothing any more.
 */
export interface PeerChannel {
  /** The peer's address. */
  readonly peer: string;
  /** False once nothing new can be sent: one of the two ends leaves, or the link has ended. */
  readonly isOpen: boolean;
  /** Bytes of messages that wait for the peer's credit here, and are not on the link yet. */
  readonly waitingBytes: number;
  /** How many messages these are. They are lost when the link ends. */
  readonly waiting: number;
  /** Requests of ours without a reply, requests of the peer without one, and open streams. */
  readonly underWay: { readonly pending: number; readonly served: number; readonly streams: number };
  /**
   * Sends a message. A payload from 4 KiB on goes by reference, and must not change until it is acknowledged. `topic`: the
   * UTF-8 of an `isTopic`. With form 2 the payload is empty. After `slow` and `full` a `drained` arrives; `full` takes nothing.
   */
  send(topic: Uint8Array, form: PayloadForm, payload: Uint8Array): SendResult;
  /** The application has taken so many messages of so many bytes together, as their events said; also after the end. */
  consumed(bytes: number, messages?: number): void;
  /**
   * Sends a request, and returns its number. `reply` or `failed` arrives for it, unless it is cancelled. `timeoutMs` may be
   * Infinity. `full`: too much is under way, and nothing was sent. Payload as in `send`. `caller` comes back with the event.
   */
  request(
    topic: Uint8Array,
    form: PayloadForm,
    payload: Uint8Array,
    timeoutMs: number,
    now: number,
    caller?: unknown,
  ): number | "full";
  /** Nobody waits for this reply any more. No event arrives for it. */
  cancel(request: number): void;
  /**
   * Answers a request of the peer. If it was cancelled, nothing is sent; but only now, or with `fail`, does it stop to count
   * as in work. Payload as in `send`.
   */
  reply(request: number, form: PayloadForm, payload: Uint8Array): void;
  /** Answers a request of the peer with a failure. `code`: see `isCode`. */
  fail(request: number, code: string, message: string): void;
  /** Opens a stream. If it cannot be opened, it is gone at once, and `aborted` arrives (`OVERLOADED`, `PEER_DOWN`). */
  open(topic: Uint8Array): PeerStream;
}

/** A channel as its own parts see it. */
export interface ChannelContext extends PeerChannel {
  readonly link: LinkWriter;
  readonly outputs: BatchingSink<MessagingEvent>;
  readonly limits: Limits;
  readonly budget: PeerBudget;
  /** The peer is so far behind with what we have sent that it gets nothing new to answer or to stream. */
  readonly isBehind: boolean;
  /** False if so many bytes more would be over the limit on what may be kept for the peer, or for all of them. */
  hasSpaceFor(bytes: number): boolean;
  /** Something has been taken that waits for the link to be up, or waits no longer. All links share one bound for that. */
  countBeforeUp(): void;
  /** At this moment, on the machine's time, requests may run out of time. */
  expireAt(at: number): void;
  /**
   * Refuses the request or the stream of this number, or says what is wrong with the peer. A refusal is a frame that is kept
   * until it is acknowledged; a peer that asks on and acknowledges nothing would fill our memory with them, so they are counted.
   */
  refuse(kind: number, number: number): string | undefined;
}

/** A stream of bytes with a peer, in both directions. */
export interface PeerStream {
  /** Its number on the link. */
  readonly id: number;
  readonly peer: PeerChannel;
  readonly state: StreamState;
  /** Bytes that were written and wait here for credit or for their turn. */
  readonly waitingBytes: number;
  /**
   * Sends bytes, or keeps them until they may go. Fewer than 4 KiB are copied; more must not change until they have arrived.
   * False if enough waits: `writable` follows. False also, and nothing follows, when nothing can be written any more: after
   * the end, and once the link is being left, because the goodbye waits for what was written before.
   */
  write(bytes: Uint8Array): boolean;
  /** Nothing more is written; what waits still goes. The other direction goes on. */
  end(): void;
  /** Ends both directions at once. What waits is dropped, and what still comes is ignored. `code`: see `isCode`. */
  abort(code: string, message: string): void;
  /** The application has taken so many bytes of what came: the peer may send more. */
  read(bytes: number): void;
  /** The application reads nothing more of what has come. */
  skip(): void;
}

/** What happens on a channel, in order. Bytes are contiguous, and the listener may keep them. */
export type MessagingEvent =
  /** Messages that came one behind the other: one read of a socket may hold thousands, which go up together. */
  | { readonly type: "messages"; readonly from: PeerChannel; readonly messages: readonly ReceivedMessage[] }
  /** To be answered with `reply` or `fail`, once. */
  | {
      readonly type: "request";
      readonly from: PeerChannel;
      readonly request: number;
      readonly topic: string;
      readonly form: PayloadForm;
      readonly payload: Uint8Array;
    }
  /** Nobody waits for the reply to this request any more. Until it is answered all the same, it counts as in work. */
  | { readonly type: "cancelled"; readonly from: PeerChannel; readonly request: number }
  | {
      readonly type: "reply";
      readonly from: PeerChannel;
      readonly request: number;
      /** What was given with the request. */
      readonly caller: unknown;
      readonly form: PayloadForm;
      readonly payload: Uint8Array;
    }
  /** There is no reply: the peer has failed it, or `TIMED_OUT`, or `PEER_DOWN` because the link has ended. */
  | {
      readonly type: "failed";
      readonly from: PeerChannel;
      readonly request: number;
      readonly caller: unknown;
      /** False if the code comes from the peer, which may use the same codes. */
      readonly isOwn: boolean;
      readonly code: string;
      readonly message: string;
    }
  /** The peer has opened a stream. */
  | { readonly type: "stream"; readonly stream: PeerStream; readonly topic: string }
  /** To be given back with `PeerStream.read` once the application has consumed them. */
  | { readonly type: "data"; readonly stream: PeerStream; readonly bytes: Uint8Array }
  /** The peer sends nothing more on the stream. */
  | { readonly type: "finished"; readonly stream: PeerStream }
  /** By the peer, or `PEER_DOWN` because the link has ended. */
  | { readonly type: "aborted"; readonly stream: PeerStream; readonly code: string; readonly message: string }
  /** After a `write` that returned false: there is room for more. */
  | { readonly type: "writable"; readonly stream: PeerStream }
  /** After a message that was `slow` or `full`: the peer has caught up. */
  | { readonly type: "drained"; readonly from: PeerChannel };
