import type { BufferPool } from "../../core/buffer-pool.js";
import type { LinkHandler, LinkHandlerFactory, LinkWriter } from "../../core/link-handler.js";
import { nextState } from "../../core/transitions.js";
import type { Member } from "../../protocol/directory.js";
import type { Direction } from "../types.js";
import type { NativeConnection } from "./connection.js";
import { acceptorTransitions, type LinkState, type LinkTrigger, ownerTransitions } from "./link-states.js";
import { ResumeState } from "./resume-state.js";
import { SendBuffer } from "./send-buffer.js";

/** Why a link is not up: how far it has come, and what is in its way. */
export interface LinkFailure {
  readonly stage: string;
  readonly reason: string;
}

/**
 * The mesh edge between this incarnation and one other. It outlives the connections that carry it, one after the other.
 */
export class Link implements LinkWriter {
  readonly peer: Member;
  /** True if this node is the earlier one of the two. */
  readonly isOwner: boolean;
  readonly outflow: SendBuffer;
  readonly replay: ResumeState;
  /** What handles its frames, and lets the application send. */
  readonly handler: LinkHandler;
  /** True once it has been up: its peer counts as met. */
  hasBeenUp = false;
  /** The number of the newest attempt: as owner the last one used, otherwise the highest one taken. */
  attempt = 0;
  /** The connection of the newest attempt, if there is one. */
  channel: NativeConnection | undefined;
  /** What is in the way while it is not up. */
  trouble: LinkFailure | undefined;
  /** True once this end wants to say goodbye: what has been begun goes out before, and nobody begins anything new. */
  isLeaving = false;
  /** Each end says goodbye once, when it sends no more messages. */
  hasSaidGoodbye = false;
  hasHeardGoodbye = false;
  /** Why it ends, once that is known. */
  endReason: string | undefined;
  /** How many frames had been taken when the present connection began: of the peer's here, and of ours by the peer. */
  receivedBefore = 0;
  acknowledgedBefore = 0;
  /** The last connection ended because one end refused what came, and had taken nothing new on it. */
  wasInVain = false;
  /** True while a frame comes in parts that has been taken before. */
  isRepeating = false;
  /** Bytes of the peer's frames that have been taken and not acknowledged yet. */
  owedBytes = 0;
  /** Bytes that have been given to the present connection since it last had none left. */
  handedBytes = 0;
  /** True while something on it waits for the end of the step: frames to be handed to the connection, or a measurement. */
  isAwake = false;
  /** True if the round trip is to be measured. */
  wantsMeasure = false;
  readonly #wake: (link: Link) => void;
  #state: LinkState;

  /** `wake` hears when a link that had nothing to do has something to send. */
  constructor(
    peer: Member,
    isOwner: boolean,
    pages: BufferPool,
    handlers: LinkHandlerFactory,
    wake: (link: Link) => void,
  ) {
    this.peer = peer;
    this.isOwner = isOwner;
    this.outflow = new SendBuffer(pages);
    this.replay = new ResumeState(this.outflow);
    this.#wake = wake;
    this.#state = isOwner ? "idle" : "waiting";
    this.handler = handlers.attach(peer.address, isOwner, this);
  }

  get state(): LinkState {
    return this.#state;
  }

  get direction(): Direction {
    return this.isOwner ? "dialed" : "accepted";
  }

  /** What the application is told: `waiting` before it is up for the first time, then `up` or `broken`. */
  get reachability(): "waiting" | "up" | "broken" {
    if (this.#state === "up") return "up";
    return this.hasBeenUp ? "broken" : "waiting";
  }

  /** True while a connection carries messages. */
  get isCarried(): boolean {
    return this.#state === "up" || this.#state === "draining";
  }

  // What its handler sees.

  get memory(): Uint8Array {
    return this.outflow.memory;
  }

  get isOpen(): boolean {
    return !this.isLeaving && this.#state !== "draining" && this.#state !== "ended";
  }

  get unacknowledgedBytes(): number {
    return this.outflow.unacknowledgedBytes;
  }

  get waitingBytes(): number {
    return this.outflow.waitingBytes;
  }

  get begunBytes(): number {
    return this.outflow.begunBytes;
  }

  get roundTripMs(): number | undefined {
    return this.channel?.roundTripMs;
  }

  begin(kind: number, bytes: number, tail?: Uint8Array): number {
    if (!this.isAwake) this.#wake(this);
    return this.outflow.begin(kind, bytes, tail);
  }

  measure(): void {
    this.wantsMeasure = true;
    if (!this.isAwake) this.#wake(this);
  }

  step(event: LinkTrigger): void {
    const table = this.isOwner ? ownerTransitions : acceptorTransitions;
    this.#state = nextState<LinkState, LinkTrigger>(table, this.#state, event, `link with ${this.peer.address}`);
  }
}
