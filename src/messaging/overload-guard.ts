import { encodeReason } from "../protocol/native/reason.js";
import type { ChannelContext } from "./channel-context.js";

/**
 * What is refused to a peer that asks for too much. A refusal is a frame that we keep until it is acknowledged; a peer that
 * asks on and on and acknowledges nothing would have us keep ever more of them, so even these are counted.
 */
export class OverloadGuard {
  readonly #ports: ChannelContext;
  /** How many in a row the peer has brought about while it was behind. */
  #inVain = 0;

  constructor(ports: ChannelContext) {
    this.#ports = ports;
  }

  /** The peer is so far behind with what we have sent that it gets nothing new to answer or to stream. */
  get isDue(): boolean {
    const { carriage, limits, share } = this.#ports;
    const { unacknowledgedBytes } = carriage;
    share.sent(unacknowledgedBytes);
    return unacknowledgedBytes > limits.queueHardBytes;
  }

  /** Refuses the request or the stream of this number, or says what is wrong with the peer. */
  refuse(kind: number, number: number): string | undefined {
    const { carriage, limits } = this.#ports;
    this.#inVain = this.isDue ? this.#inVain + 1 : 0;
    // Whoever keeps to its own limits has no more than these under way, and each is refused once.
    if (this.#inVain > limits.requestsInFlight + limits.streamsOpen)
      return "it asks on without hearing that it is refused";
    encodeReason(carriage, kind, { number, code: "OVERLOADED", message: "too many are under way" });
    return undefined;
  }
}
