import type { Limits } from "../core/limits.js";
import type { LinkHandlerFactory, LinkWriter } from "../core/link-handler.js";
import type { BatchingSink } from "../core/machine.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import { MemoryBudget } from "./memory-budget.js";
import { type ChannelResources, MessagingChannel } from "./messaging-channel.js";
import type { MessagingEvent } from "./types.js";

/**
 * The channels of a member: one for each native peer that the directory lists, up to the end of the link with it.
 *
 * It is no machine of its own: links give it frames and memory for frames, the application calls it directly, and its
 * events go to the member's outputs, in order with what happens to the links.
 */
export class MessagingChannels implements LinkHandlerFactory, ChannelResources {
  readonly outputs: BatchingSink<MessagingEvent>;
  readonly limits: Limits;
  readonly budget: MemoryBudget;
  readonly requestTimers: KeyedTimers<MessagingChannel>;
  readonly #channels = new Map<string, MessagingChannel>();

  constructor(outputs: BatchingSink<MessagingEvent>, limits: Limits, timers: Timers) {
    this.outputs = outputs;
    this.limits = limits;
    this.budget = new MemoryBudget(limits);
    this.requestTimers = timers.keyed((channel, now) => channel.expire(now));
  }

  /** The channel with a peer, by its address; undefined if it is not listed, and when its link has ended. */
  at(peer: string): MessagingChannel | undefined {
    return this.#channels.get(peer);
  }

  get channels(): Iterable<MessagingChannel> {
    return this.#channels.values();
  }

  attach(peer: string, isOwner: boolean, link: LinkWriter): MessagingChannel {
    const channel = new MessagingChannel(peer, isOwner, link, this);
    this.#channels.set(peer, channel);
    return channel;
  }

  /** The next incarnation at an address may be attached already. */
  remove(channel: MessagingChannel): void {
    if (this.#channels.get(channel.peer) === channel) this.#channels.delete(channel.peer);
  }
}
