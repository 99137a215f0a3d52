import type { Carriage, Riders } from "../core/carriage.js";
import type { Limits } from "../core/limits.js";
import type { GatheringSink } from "../core/machine.js";
import { Budget, Share } from "./budget.js";
import { Conversation } from "./conversation.js";
import { Patience } from "./patience.js";
import type { Arrival } from "./vocabulary.js";

/**
 * What a member says to its peers and hears from them: one conversation for each link that has been up and has not ended.
 *
 * It is no machine of its own: links give it frames and memory for frames, the application calls it directly, and what
 * arrives goes to the member's outputs, in order with what happens to the links.
 */
export class Messaging implements Riders {
  readonly #outputs: GatheringSink<Arrival>;
  readonly #limits: Limits;
  readonly #conversations = new Map<string, Conversation>();
  readonly #patience = new Patience();
  readonly #budget: Budget;

  constructor(outputs: GatheringSink<Arrival>, limits: Limits) {
    this.#outputs = outputs;
    this.#limits = limits;
    this.#budget = new Budget(limits);
  }

  /** The conversation with a peer, by its address; undefined before its link is up, and when that has ended. */
  at(peer: string): Conversation | undefined {
    return this.#conversations.get(peer);
  }

  get conversations(): Iterable<Conversation> {
    return this.#conversations.values();
  }

  board(peer: string, isOwner: boolean, carriage: Carriage): Conversation {
    const conversation = new Conversation({
      peer,
      isOwner,
      carriage,
      outputs: this.#outputs,
      limits: this.#limits,
      patience: this.#patience,
      share: new Share(this.#budget),
      leave: this.#leave,
    });
    this.#conversations.set(peer, conversation);
    return conversation;
  }

  nextTimeout(): number | undefined {
    return this.#patience.nextTimeout();
  }

  handleTimeout(now: number): void {
    if (!this.#patience.isDue(now)) return;
    for (const conversation of this.#conversations.values()) conversation.expire(now);
  }

  /** The next incarnation at an address may have boarded already. */
  readonly #leave = (conversation: Conversation): void => {
    const { peer } = conversation;
    if (this.#conversations.get(peer) === conversation) this.#conversations.delete(peer);
  };
}
