import type { Limits } from "../core/limits.js";
import type { LinkHandlerFactory, LinkWriter } from "../core/link-handler.js";
import type { BatchingSink } from "../core/machine.js";
import { LinkChannel } from "./link-channel.js";
import { MemoryBudget, PeerBudget } from "./memory-budget.js";
import { RequestTimeouts } from "./request-timeouts.js";
import type { MessagingEvent } from "./types.js";

/**
 * What a member says to its peers and hears from them: one conversation for each native peer that
 * the directory lists, up to the end of the link with it.
 *
 * It is no machine of its own: links give it frames and memory for frames, the application calls it directly, and what
 * arrives goes to the member's outputs, in order with what happens to the links.
 */
export class PeerChannels implements LinkHandlerFactory {
  readonly #outputs: BatchingSink<MessagingEvent>;
  readonly #limits: Limits;
  readonly #conversations = new Map<string, LinkChannel>();
  readonly #patience = new RequestTimeouts();
  readonly #budget: MemoryBudget;

  constructor(outputs: BatchingSink<MessagingEvent>, limits: Limits) {
    this.#outputs = outputs;
    this.#limits = limits;
    this.#budget = new MemoryBudget(limits);
  }

  /** The conversation with a peer, by its address; undefined if it is not listed, and when its link has ended. */
  at(peer: string): LinkChannel | undefined {
    return this.#conversations.get(peer);
  }

  get conversations(): Iterable<LinkChannel> {
    return this.#conversations.values();
  }

  attach(peer: string, isOwner: boolean, carriage: LinkWriter): LinkChannel {
    const conversation = new LinkChannel({
      peer,
      isOwner,
      carriage,
      outputs: this.#outputs,
      limits: this.#limits,
      patience: this.#patience,
      share: new PeerBudget(this.#budget),
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

  /** The next incarnation at an address may be attached already. */
  readonly #leave = (conversation: LinkChannel): void => {
    const { peer } = conversation;
    if (this.#conversations.get(peer) === conversation) this.#conversations.delete(peer);
  };
}
