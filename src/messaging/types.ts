import type { PayloadKind } from "../protocol/native/payload.js";
import type { PeerChannel } from "./peer-channel.js";
import type { Stream } from "./stream.js";

export type { PayloadKind as Form };

/**
 * What came of a message: it is on its way (`taken`), it is taken but the peer is behind (`slow`), or too much waits
 * already and nothing was taken (`full`). After the last two a `drained` follows when it is time to go on.
 */
export type SendResult = "taken" | "slow" | "full";

/** A message of the peer. */
export interface ReceivedMessage {
  readonly topic: string;
  readonly form: PayloadKind;
  readonly payload: Uint8Array;
  /** To be given to `PeerChannel.consumed` once the application has had the message. */
  readonly bytes: number;
}

/** What a conversation with a peer brings, in order. Bytes are contiguous and the listener's to keep. */
export type MessagingEvent =
  /** Messages that came one behind the other: one read of a socket may hold thousands, which go up together. */
  | { readonly type: "messages"; readonly from: PeerChannel; readonly messages: readonly ReceivedMessage[] }
  /** To be answered with `reply` or `fail`, once. */
  | {
      readonly type: "request";
      readonly from: PeerChannel;
      readonly request: number;
      readonly topic: string;
      readonly form: PayloadKind;
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
      readonly form: PayloadKind;
      readonly payload: Uint8Array;
    }
  /** There is no reply: the peer says so, or `TIMED_OUT`, or `PEER_DOWN` because the link has ended. */
  | {
      readonly type: "failed";
      readonly from: PeerChannel;
      readonly request: number;
      readonly caller: unknown;
      /** False if the peer says so: its words may be the same as ours. */
      readonly isOwn: boolean;
      readonly code: string;
      readonly message: string;
    }
  /** The peer has opened a stream. */
  | { readonly type: "stream"; readonly stream: Stream; readonly topic: string }
  /** To be given back with `Stream.read` once the application has had them. */
  | { readonly type: "data"; readonly stream: Stream; readonly bytes: Uint8Array }
  /** The peer has said that it sends nothing more on the stream. */
  | { readonly type: "finished"; readonly stream: Stream }
  /** By the peer, or `PEER_DOWN` because the link has ended. */
  | { readonly type: "aborted"; readonly stream: Stream; readonly code: string; readonly message: string }
  /** After a `write` that returned false: there is room for more. */
  | { readonly type: "writable"; readonly stream: Stream }
  /** After a message that was `slow` or `full`: the peer has caught up. */
  | { readonly type: "drained"; readonly from: PeerChannel };
