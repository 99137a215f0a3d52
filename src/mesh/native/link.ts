import type { ErrorCode } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import { type LinkHandler, type LinkHandlerFactory, type LinkWriter, retryLater } from "../../core/link-handler.js";
import { type PagePool, pageBytes } from "../../core/page-pool.js";
import type { KeyedTimers } from "../../core/timers.js";
import { nextState } from "../../core/transitions.js";
import type { Address } from "../../protocol/address.js";
import type { Member } from "../../protocol/directory.js";
import type { LinkFailure } from "../../protocol/missing-pair.js";
import { encodeAcknowledgement } from "../../protocol/native/acknowledgement.js";
import type { Control } from "../../protocol/native/control.js";
import { numberBytes, readUint48 } from "../../protocol/native/numbered-frames.js";
import type { Direction } from "../types.js";
import type { NativeConnection, NativeConnectionOwner } from "./connection.js";
import { acceptorTransitions, endsLink, type LinkState, type LinkTrigger, ownerTransitions } from "./link-states.js";
import { ResendBuffer } from "./resend-buffer.js";
import { ResumeState } from "./resume-state.js";

/** Why a link is not up: how far it has come, and what is in its way. */
export type DownState = Pick<LinkFailure, "stage" | "reason">;

/** What becomes of links and of the attempts to make them, for whoever keeps them. */
export interface LinkEvents {
  /** The other end has answered an attempt: the link is up. */
  answered(link: Link, now: number): void;
  /** An attempt has come to nothing. */
  failed(link: Link, now: number): void;
  /** The peer has said goodbye; the link drains. */
  leaving(link: Link, now: number): void;
  /** The connection under the link is gone, and the link has taken its step. */
  broken(link: Link, reason: string, now: number): void;
  /** The two ends do not agree on what has been taken, or on what it means, or cannot go on: the link must end. */
  lost(link: Link, reason: string, now: number): void;
}

/** What all links of a member share. */
export interface LinkContext {
  readonly limits: Limits;
  readonly pages: PagePool;
  readonly handlers: LinkHandlerFactory;
  /** Links with something to send: `flush` is to be called on each at the end of the step, and empties this. */
  readonly scheduled: Link[];
  /** By when each link must acknowledge what has come, and by when one that drains must have drained. */
  readonly acknowledgements: KeyedTimers<Link>;
  readonly drains: KeyedTimers<Link>;
  readonly events: LinkEvents;
  note(code: ErrorCode, message: string, remote: Address): void;
}

/**
 * The mesh edge between this incarnation and one other. It outlives the connections that carry it, one after the other.
 *
 * Frames are begun at any time, and handed to the connection at the end of a step, all of them together. The connection
 * gets a bounded part at once and the next when that has gone out, so that pings, pongs and acknowledgements, which are sent
 * directly, never wait behind all that is under way.
 *
 * `begin` to `measure` are its handler's side, `control` to `gone` its connection's, the rest its member's.
 */
export class Link implements LinkWriter, NativeConnectionOwner {
  readonly peer: Member;
  /** True if this node is the earlier one of the two. */
  readonly isOwner: boolean;
  readonly resendBuffer: ResendBuffer;
  readonly resumeState: ResumeState;
  /** What handles its frames, and lets the application send. */
  readonly handler: LinkHandler;
  /** True once it has been up: its peer counts as met. */
  hasBeenUp = false;
  /** The other end has said, on the newest connection, that it takes batches of messages. */
  takesBatches = false;
  /** The number of the newest attempt: as owner the last one used, otherwise the highest one taken. */
  attempt = 0;
  /** The connection of the newest attempt, if there is one. */
  connection: NativeConnection | undefined;
  /** As owner: the next attempt is the other end's to open, because that worked last, or dialing did not. */
  isReverseDue = false;
  /** What is in the way while it is not up, and since when. */
  downState: DownState;
  downSince: number;
  /** True once the peer has said that it sends nothing more. */
  hasReadGoodbye = false;
  /** Why it ends, once that is known. */
  endReason: string | undefined;
  /** The last connection ended because one end refused what came, and had taken nothing new on it. */
  madeNoProgress = false;
  readonly #context: LinkContext;
  #state: LinkState;
  /** True once this end wants to say goodbye: what has been begun goes out before, and nobody begins anything new. */
  #isLeaving = false;
  /** Each end says goodbye once, when it sends nothing more. */
  #hasSaidGoodbye = false;
  /** How many frames had been taken when the present connection began: of the peer's here, and of ours by the peer. */
  #receivedBefore = 0;
  #acknowledgedBefore = 0;
  /** True while a frame comes in parts that has been taken before. */
  #isRepeating = false;
  /** Bytes of the peer's frames that have been taken and not acknowledged yet. */
  #unansweredBytes = 0;
  /** Bytes that have been given to the present connection since it last had none left. */
  #handedBytes = 0;
  /** True while something waits for the end of the step: frames to be handed to the connection, or a measurement. */
  #isScheduled = false;
  #isMeasureDue = false;

  constructor(peer: Member, isOwner: boolean, context: LinkContext, now: number) {
    this.peer = peer;
    this.isOwner = isOwner;
    this.downState = { stage: "waiting", reason: isOwner ? "not dialed yet" : "no hello from its owner yet" };
    this.downSince = now;
    this.resendBuffer = new ResendBuffer(context.pages);
    this.resumeState = new ResumeState(this.resendBuffer);
    this.#context = context;
    this.#state = isOwner ? "idle" : "waiting";
    this.handler = context.handlers.attach(peer.address, isOwner, this);
  }

  get state(): LinkState {
    return this.#state;
  }

  get direction(): Direction {
    return this.isOwner ? "dialed" : "accepted";
  }

  /** The state that the application sees: `waiting` before it is up for the first time, then `up` or `broken`. */
  get reachability(): "waiting" | "up" | "broken" {
    if (this.#state === "up") return "up";
    return this.hasBeenUp ? "broken" : "waiting";
  }

  /** True while a connection carries messages. */
  get isCarried(): boolean {
    return this.#state === "up" || this.#state === "draining";
  }

  step(event: LinkTrigger): void {
    const table = this.isOwner ? ownerTransitions : acceptorTransitions;
    this.#state = nextState<LinkState, LinkTrigger>(table, this.#state, event, `link with ${this.peer.address}`);
  }

  // What its handler sees.

  get memory(): Uint8Array {
    return this.resendBuffer.memory;
  }

  get isOpen(): boolean {
    return !this.#isLeaving && this.#state !== "draining" && this.#state !== "ended";
  }

  get unacknowledgedBytes(): number {
    return this.resendBuffer.unacknowledgedBytes;
  }

  get waitingBytes(): number {
    return this.resendBuffer.waitingBytes;
  }

  get isPushDue(): boolean {
    const { resendBuffer, isCarried } = this;
    return resendBuffer.waitingBytes >= pageBytes && isCarried && this.#handedBytes < this.#context.limits.handedBytes;
  }

  /** What `hello` and `answer` say of batches. */
  get batchesField(): { readonly batches?: true } {
    return this.#context.limits.batchBytes > 0 ? { batches: true } : {};
  }

  get begunBytes(): number {
    return this.resendBuffer.begunBytes;
  }

  get roundTripMs(): number | undefined {
    return this.connection?.roundTripMs;
  }

  get awaitsFlush(): boolean {
    return this.#handedBytes > 0;
  }

  begin(kind: number, bytes: number, tail?: Uint8Array): number {
    this.#schedule();
    return this.resendBuffer.begin(kind, bytes, tail);
  }

  extend(kind: number, bytes: number, most: number): number | undefined {
    return this.resendBuffer.extend(kind, bytes, most);
  }

  measure(): void {
    this.#isMeasureDue = true;
    this.#schedule();
  }

  // What its member wants.

  /** The link has a new connection. What the peer has not acknowledged goes out again, in order. */
  carry(connection: NativeConnection, now: number): void {
    connection.owner = this;
    connection.watch(now);
    this.resendBuffer.rewind();
    this.#handedBytes = 0;
    this.#receivedBefore = this.resumeState.received;
    this.#acknowledgedBefore = this.resendBuffer.acknowledged;
    this.madeNoProgress = false;
    this.#schedule();
  }

  /** The connection is of no more use to the link: nothing more is read from it. */
  drop(): void {
    const { connection } = this;
    this.#clearUnanswered();
    this.#context.drains.clear(this);
    this.connection = undefined;
    connection?.abort();
  }

  /** This node sends no more messages on the link, which ends when the peer says the same. */
  sayGoodbye(reason: string, now: number): void {
    if (this.#isLeaving || this.connection === undefined) return;
    this.#isLeaving = true;
    this.endReason ??= reason;
    this.awaitGoodbye(now);
    this.#schedule();
  }

  /** The peer's goodbye is on the way, unless its connection is cut. */
  awaitGoodbye(now: number): void {
    this.#context.drains.set(this, now + this.#context.limits.drainMs);
  }

  /** The peer's goodbye has not come in time. */
  drainOverdue(now: number): void {
    const { connection } = this;
    connection?.abort();
    if (connection !== undefined) this.gone(connection, "did not say goodbye in time", now);
  }

  /** Tells the peer how much has been taken. */
  acknowledge(): void {
    this.#clearUnanswered();
    this.connection?.sendFrame(encodeAcknowledgement(this.resumeState.received));
  }

  /** Hands what has been begun to the connection, as far as that has room. */
  flush(now: number): void {
    this.#isScheduled = false;
    const { connection, resendBuffer } = this;
    if (connection === undefined || !this.isCarried) return;
    if (this.#isMeasureDue) connection.measure(now);
    this.#isMeasureDue = false;
    const before = this.#handedBytes;
    // A frame that has been begun goes out to its end: until then nothing else can be sent on the connection.
    while (this.#handedBytes < this.#context.limits.handedBytes || resendBuffer.isWithinFrame) {
      const piece = resendBuffer.nextSegment();
      if (piece === undefined) break;
      if (piece === "changed") {
        this.#payloadChanged(connection, now);
        return;
      }
      this.#handedBytes += piece.length;
      connection.sendFrame(piece);
    }
    if (this.#handedBytes > before) this.handler.moved();
    if (!this.#isLeaving || this.#hasSaidGoodbye) return;
    if (resendBuffer.waitingBytes === 0 && this.handler.isDone) this.#goodbye(connection, now);
  }

  // What comes on its connection.

  control(connection: NativeConnection, control: Control, now: number): void {
    if (control.type === "goodbye") {
      this.#readGoodbye(connection, control.reason, control.received, now);
    } else if (control.type === "refuse") {
      const reason = `${control.code} ${control.message}`;
      this.madeNoProgress = this.resendBuffer.acknowledged === this.#acknowledgedBefore;
      connection.close(now);
      if (endsLink(control.code)) this.#context.events.lost(this, reason, now);
      else this.gone(connection, reason, now);
    } else connection.unexpected(control.type, now);
  }

  numbered(
    connection: NativeConnection,
    kind: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
    now: number,
  ): void {
    const number = readUint48(bytes, from);
    const verdict = this.resumeState.judge(number);
    if (rest > 0) this.#isRepeating = verdict === "repeated";
    if (verdict === "repeated") return;
    const fault =
      verdict === "gap"
        ? `frame ${number} came after ${this.resumeState.received}`
        : this.handler.take(kind, bytes, from + numberBytes, to, rest);
    this.#taken(connection, to - from, rest, fault, now);
  }

  more(connection: NativeConnection, bytes: Uint8Array, from: number, to: number, rest: number, now: number): void {
    if (this.#isRepeating) return;
    this.#taken(connection, to - from, rest, this.handler.takeMore(bytes, from, to, rest), now);
  }

  acknowledged(connection: NativeConnection, number: number, now: number): void {
    if (this.resendBuffer.acknowledge(number)) this.handler.moved();
    else this.#refuse(connection, `an acknowledgement of ${number} cannot be`, now);
  }

  /** All that was handed to the connection has gone out. */
  flushed(): void {
    this.#handedBytes = 0;
    this.resendBuffer.sent();
    this.#schedule();
  }

  gone(connection: NativeConnection, reason: string, now: number): void {
    const { failure } = connection;
    if (failure !== undefined && endsLink(failure)) {
      this.#context.events.lost(this, `${failure} ${reason}`, now);
      return;
    }
    this.drop();
    this.step("broken");
    this.#context.events.broken(this, failure === undefined ? reason : `${failure}: ${reason}`, now);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#context.scheduled.push(this);
  }

  #readGoodbye(connection: NativeConnection, reason: string, received: number, now: number): void {
    if (!this.resendBuffer.acknowledge(received)) {
      this.#refuse(connection, `a goodbye that acknowledges ${received} cannot be`, now);
      return;
    }
    this.hasReadGoodbye = true;
    this.endReason ??= reason;
    if (this.#hasSaidGoodbye) {
      this.acknowledge();
      connection.finish(now);
      return;
    }
    this.step("left");
    this.#context.events.leaving(this, now);
    this.sayGoodbye(reason, now);
  }

  #goodbye(connection: NativeConnection, now: number): void {
    this.#hasSaidGoodbye = true;
    this.#clearUnanswered();
    connection.send({ type: "goodbye", reason: this.endReason ?? "", received: this.resumeState.received });
    if (this.hasReadGoodbye) connection.finish(now);
  }

  /** A payload that was lent to the link is gone: its frame can never go out, and so nothing behind it. */
  #payloadChanged(connection: NativeConnection, now: number): void {
    const message = "a payload that was under way has been transferred or resized by this program";
    this.#context.note("PAYLOAD_CHANGED", message, this.peer.address);
    this.#refuse(connection, "a frame cannot go out any more", now, `PAYLOAD_CHANGED ${message}`);
  }

  /** What the peer sent is impossible. Going on would lose messages in silence, so the link ends, at both ends. */
  #refuse(connection: NativeConnection, message: string, now: number, reason = `SESSION_LOST ${message}`): void {
    connection.refuse("SESSION_LOST", message, now);
    this.#context.events.lost(this, reason, now);
  }

  /** The handler has been given so many bytes of a frame, and has found a fault with them or not. */
  #taken(
    connection: NativeConnection,
    bytes: number,
    rest: number,
    fault: string | typeof retryLater | undefined,
    now: number,
  ): void {
    if (fault !== undefined) {
      if (fault === retryLater) this.#putOff(connection, now);
      else this.#refuse(connection, fault, now);
      return;
    }
    if (rest === 0) this.resumeState.advance();
    const { acknowledgements, limits } = this.#context;
    // It is acknowledged after some bytes or some time, whichever is first.
    if (this.#unansweredBytes === 0) acknowledgements.set(this, now + limits.acknowledgeMs);
    this.#unansweredBytes += bytes;
    if (this.#unansweredBytes >= limits.acknowledgeBytes) this.acknowledge();
    // What the goodbye waits for may have been given up by the peer: then nothing goes out, but the goodbye.
    if (this.#isLeaving && !this.#hasSaidGoodbye) this.#schedule();
  }

  /**
   * What comes cannot be kept now. Only the connection ends: the peer keeps what is not acknowledged, and sends it again on
   * the next one. Pauses grow while connections take nothing of it.
   */
  #putOff(connection: NativeConnection, now: number): void {
    const message = "this node holds as much for its peers as it may, until its program takes some of it";
    this.#context.note("OVERLOADED", message, this.peer.address);
    this.madeNoProgress = this.resumeState.received === this.#receivedBefore;
    this.acknowledge();
    connection.refuse("OVERLOADED", message, now);
    this.gone(connection, message, now);
  }

  #clearUnanswered(): void {
    this.#unansweredBytes = 0;
    this.#context.acknowledgements.clear(this);
  }
}
