import type { Carriage, Riders } from "../core/carriage.js";
import { Deadlines } from "../core/deadlines.js";
import type { Limits } from "../core/limits.js";
import type { Sink } from "../core/machine.js";
import type { Call } from "./calls.js";
import { Conversation } from "./conversation.js";
import type { Arrival } from "./vocabulary.js";

/**
 * What a member says to its peers and hears from them: one conversation for each link that has been up and has not ended.
 *
 * It is no machine of its own: links give it frames and memory for frames, the application calls it directly, and what
 * arrives goes to the member's outputs, in order with what happens to the links.
 */
export class Messaging implements Riders {
  readonly #outputs: Sink<Arrival>;
  readonly #limits: Limits;
  readonly #conversations = new Map<string, Conversation>();
  readonly #deadlines = new Deadlines<Call>();

  constructor(outputs: Sink<Arrival>, limits: Limits) {
    this.#outputs = outputs;
    this.#limits = limits;
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
      deadlines: this.#deadlines,
      leave: (left) => this.#leave(left),
    });
    this.#conversations.set(peer, conversation);
    return conversation;
  }

  nextTimeout(): number | undefined {
    return this.#deadlines.next();
  }

  handleTimeout(now: number): void {
    const deadlines = this.#deadlines;
    for (let due = deadlines.takeDue(now); due !== undefined; due = deadlines.takeDue(now)) due.calls.expire(due);
  }

  /** The next incarnation at an address may have boarded already. */
  #leave(conversation: Conversation): void {
    const { peer } = conversation;
    if (this.#conversations.get(peer) === conversation) this.#conversations.delete(peer);
  }
}
