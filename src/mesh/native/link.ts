import type { Member } from "../../protocol/directory.js";
import type { Direction } from "../vocabulary.js";
import type { Channel } from "./channel.js";
import { acceptorTransitions, type LinkEvent, type LinkState, ownerTransitions } from "./link-states.js";
import { Replay } from "./replay.js";

/** Why a link is not up: how far it has come, and what is in its way. */
export interface Trouble {
  readonly stage: string;
  readonly reason: string;
}

/**
 * The mesh edge between this incarnation and one other. It outlives the connections that carry it, one after the other.
 */
export class Link {
  readonly peer: Member;
  /** True if this node is the earlier one of the two. */
  readonly isOwner: boolean;
  readonly replay = new Replay();
  /** The number of the newest attempt: as owner the last one used, otherwise the highest one taken. */
  attempt = 0;
  /** The connection of the newest attempt, if there is one. */
  channel: Channel | undefined;
  /** True once it has been up: its peer counts as met, and is told of. */
  hasBeenUp = false;
  /** What is in the way while it is not up. */
  trouble: Trouble | undefined;
  /** Each end says goodbye once, when it sends no more messages. */
  hasSaidGoodbye = false;
  hasHeardGoodbye = false;
  /** Why it ends, once that is known. */
  endReason: string | undefined;
  #state: LinkState;

  constructor(peer: Member, isOwner: boolean) {
    this.peer = peer;
    this.isOwner = isOwner;
    this.#state = isOwner ? "idle" : "waiting";
  }

  get state(): LinkState {
    return this.#state;
  }

  get direction(): Direction {
    return this.isOwner ? "dialed" : "accepted";
  }

  /** True while a connection carries messages. */
  get isCarried(): boolean {
    return this.#state === "up" || this.#state === "draining";
  }

  step(event: LinkEvent): void {
    const table: Partial<Record<LinkState, Partial<Record<LinkEvent, LinkState>>>> = this.isOwner
      ? ownerTransitions
      : acceptorTransitions;
    const next = table[this.#state]?.[event];
    if (next === undefined) throw new Error(`link with ${this.peer.address}: no ${event} in state ${this.#state}`);
    this.#state = next;
  }
}
