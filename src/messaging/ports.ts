import type { LinkWriter } from "../core/carriage.js";
import type { Limits } from "../core/limits.js";
import type { BatchingSink } from "../core/machine.js";
import type { PeerBudget } from "./budget.js";
import type { PeerChannel } from "./conversation.js";
import type { RequestTimeouts } from "./patience.js";
import type { MessagingEvent } from "./vocabulary.js";

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
