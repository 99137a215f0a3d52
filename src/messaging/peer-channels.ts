import type { Limits } from "../core/limits.js";
import type { LinkHandlerFactory, LinkWriter } from "../core/link-handler.js";
import type { BatchingSink } from "../core/machine.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import { type ChannelSet, LinkChannel } from "./link-channel.js";
import { MemoryBudget } from "./memory-budget.js";
import type { MessagingEvent } from "./types.js";

/**
 * The channels of a member: one for each native peer that the directory lists, up to the end of the link with it.
 *
 * It is no machine of its own: links give it frames and memory for frames, the application calls it directly, and its
 * events go to the member's outputs, in order with what happens to the links.
 */
export class PeerChannels implements LinkHandlerFactory, ChannelSet {
  readonly outputs: BatchingSink<MessagingEvent>;
  readonly limits: Limits;
  readonly budget: MemoryBudget;
  readonly requestTimers: KeyedTimers<LinkChannel>;
  readonly #channels = new Map<string, LinkChannel>();

  constructor(outputs: BatchingSink<MessagingEvent>, limits: Limits, timers: Timers) {
    this.outputs = outputs;
    this.limits = limits;
    this.budget = new MemoryBudget(limits);
    this.requestTimers = timers.keyed((channel, now) => channel.expire(now));
  }

  /** The channel with a peer, by its address; undefined if it is not listed, and when its link has ended. */
  at(peer: string): LinkChannel | undefined {
    return this.#channels.get(peer);
  }

  get channels(): Iterable<LinkChannel> {
    return this.#channels.values();
  }

  attach(peer: string, isOwner: boolean, link: LinkWriter): LinkChannel {
    const channel = new LinkChannel(peer, isOwner, link, this);
    this.#channels.set(peer, channel);
    return channel;
  }

  /** The next incarnation at an address may be attached already. */
  remove(channel: LinkChannel): void {
    if (this.#channels.get(channel.peer) === channel) this.#channels.delete(channel.peer);
  }
}
