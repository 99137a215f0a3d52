import type { Carriage } from "../core/carriage.js";
import type { Limits } from "../core/limits.js";
import type { GatheringSink } from "../core/machine.js";
import type { Share } from "./budget.js";
import type { Conversation } from "./conversation.js";
import type { Patience } from "./patience.js";
import type { Arrival } from "./vocabulary.js";

/** What all parts of one conversation share. */
export interface Ports {
  readonly conversation: Conversation;
  readonly carriage: Carriage;
  readonly outputs: GatheringSink<Arrival>;
  readonly limits: Limits;
  /** What is held for the peer. */
  readonly share: Share;
  /** With the calls of all conversations. */
  readonly patience: Patience;
}
