import type { Carriage } from "../core/carriage.js";
import type { Deadlines } from "../core/deadlines.js";
import type { Limits } from "../core/limits.js";
import type { Sink } from "../core/machine.js";
import type { Call } from "./calls.js";
import type { Conversation } from "./conversation.js";
import type { Arrival } from "./vocabulary.js";

/** What all parts of one conversation share. */
export interface Ports {
  readonly conversation: Conversation;
  readonly carriage: Carriage;
  readonly outputs: Sink<Arrival>;
  readonly limits: Limits;
  /** Of the calls of all conversations. */
  readonly deadlines: Deadlines<Call>;
}
