import type { Limits } from "../core/limits.js";
import type { LinkWriter } from "../core/link-handler.js";
import type { BatchingSink } from "../core/machine.js";
import type { PeerBudget } from "./memory-budget.js";
import type { RequestTimeouts } from "./request-timeouts.js";
import type { MessagingEvent, PeerChannel } from "./types.js";

/** What all parts of one conversation share. */
export interface ChannelContext {
  readonly conversation: PeerChannel;
  readonly carriage: LinkWriter;
  readonly outputs: BatchingSink<MessagingEvent>;
  readonly limits: Limits;
  /** What is held for the peer. */
  readonly share: PeerBudget;
  /** With the calls of all conversations. */
  readonly patience: RequestTimeouts;
}
