import type { Limits } from "../../core/limits.js";
import { notNow } from "../../core/link-handler.js";
import { earliest, TimerTable } from "../../core/timer-table.js";
import { encodeAcknowledgement } from "../../protocol/native/acknowledgement.js";
import type { Control } from "../../protocol/native/control.js";
import { numberBytes, readNumber } from "../../protocol/native/numbered.js";
import type { NativeConnection, NativeConnectionContext, NativeConnectionOwner } from "./connection.js";
import type { Link } from "./link.js";
import { endsLink } from "./link-states.js";

/** What the rest of the member must know of what links carry. */
export interface LinkTransportEvents {
  /** The peer has said goodbye; the link drains. */
  leaving(link: Link, now: number): void;
  /** The connection under the link is gone, and the link has taken its step. */
  broken(link: Link, reason: string, now: number): void;
  /** The two ends do not agree on what has been taken, or on what it means, or cannot go on: the link is to end. */
  lost(link: Link, reason: string, now: number): void;
}

/**
 * What happens on the connections of links that are up: numbered frames and their acknowledgements, goodbyes, and the
 * connection's end.
 *
 * Frames are begun on links at any time, and handed to connections at the end of a step, all of them together. A
 * connection gets a bounded part at once and the next when that has gone out, so that probes, their answers and
 * acknowledgements, which are sent directly, never wait behind all that is under way.
 */
export class LinkTransport {
  readonly #limits: Limits;
  readonly #note: NativeConnectionContext["note"];
  readonly #watch: LinkTransportEvents;
  /** Links with something to send. */
  #awake: Link[] = [];
  readonly #acknowledgements = new TimerTable<Link>();
  /** By when a link that drains must have drained. */
  readonly #drains = new TimerTable<Link>();

  constructor({ limits, note }: Pick<NativeConnectionContext, "limits" | "note">, watch: LinkTransportEvents) {
    this.#limits = limits;
    this.#note = note;
    this.#watch = watch;
  }

  /** The link has a new connection. What the peer has not acknowledged goes out again, in order. */
  carry(link: Link, channel: NativeConnection, now: number): void {
    channel.owner = new CarriedLink(this, link);
    channel.watch(now);
    link.outflow.rewind();
    link.handedBytes = 0;
    link.receivedBefore = link.replay.received;
    link.acknowledgedBefore = link.outflow.acknowledged;
    link.wasInVain = false;
    this.wake(link);
  }

  /** The link's connection is of no more use to it: nothing more is read from it. */
  drop(link: Link): void {
    this.#clearOwed(link);
    this.#drains.clear(link);
    const { channel } = link;
    link.channel = undefined;
    channel?.abort();
  }

  /** This link has something to send. */
  wake(link: Link): void {
    if (link.isAwake) return;
    link.isAwake = true;
    this.#awake.push(link);
  }

  /** Hands what has been begun to the connections, as far as they have room. */
  flush(now: number): void {
    while (this.#awake.length > 0) {
      const links = this.#awake;
      this.#awake = [];
      for (const link of links) {
        link.isAwake = false;
        this.#pump(link, now);
      }
    }
  }

  /** This node sends no more messages on the link, which ends when the peer says the same. */
  sayGoodbye(link: Link, reason: string, now: number): void {
    if (link.isLeaving || link.channel === undefined) return;
    link.isLeaving = true;
    link.endReason ??= reason;
    this.#drains.set(link, now + this.#limits.drainMs);
    this.wake(link);
  }

  /** The log says that the peer has left; its goodbye is on the way, unless its connection is cut. */
  awaitGoodbye(link: Link, now: number): void {
    this.#drains.set(link, now + this.#limits.drainMs);
  }

  control(link: Link, channel: NativeConnection, control: Control, now: number): void {
    if (control.type === "goodbye") {
      this.#heardGoodbye(link, channel, control.reason, control.received, now);
    } else if (control.type === "refuse") {
      const reason = `${control.code} ${control.message}`;
      link.wasInVain = link.outflow.acknowledged === link.acknowledgedBefore;
      channel.close(now);
      if (endsLink(control.code)) this.#watch.lost(link, reason, now);
      else this.gone(link, channel, reason, now);
    } else channel.unexpected(control.type, now);
  }

  numbered(
    link: Link,
    channel: NativeConnection,
    kind: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
    now: number,
  ): void {
    const number = readNumber(bytes, from);
    const verdict = link.replay.judge(number);
    if (rest > 0) link.isRepeating = verdict === "repeated";
    if (verdict === "repeated") return;
    const fault =
      verdict === "gap"
        ? `frame ${number} came after ${link.replay.received}`
        : link.handler.take(kind, bytes, from + numberBytes, to, rest);
    this.#taken(link, channel, to - from, rest, fault, now);
  }

  more(
    link: Link,
    channel: NativeConnection,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
    now: number,
  ): void {
    if (link.isRepeating) return;
    this.#taken(link, channel, to - from, rest, link.handler.takeMore(bytes, from, to, rest), now);
  }

  acknowledged(link: Link, channel: NativeConnection, number: number, now: number): void {
    if (link.outflow.acknowledge(number)) link.handler.moved();
    else this.#refuse(link, channel, `an acknowledgement of ${number} cannot be`, now);
  }

  /** All that was handed to the connection has gone out. */
  flushed(link: Link): void {
    link.handedBytes = 0;
    link.outflow.sent();
    this.wake(link);
  }

  gone(link: Link, channel: NativeConnection, reason: string, now: number): void {
    const { failure } = channel;
    if (failure !== undefined && endsLink(failure)) {
      this.#watch.lost(link, `${failure} ${reason}`, now);
      return;
    }
    this.drop(link);
    link.step("broken");
    this.#watch.broken(link, failure === undefined ? reason : `${failure}: ${reason}`, now);
  }

  nextTimeout(): number | undefined {
    return earliest(this.#acknowledgements.next(), this.#drains.next());
  }

  handleTimeout(now: number): void {
    const owed = this.#acknowledgements;
    for (let due = owed.takeDue(now); due !== undefined; due = owed.takeDue(now)) this.#acknowledge(due);
    for (let due = this.#drains.takeDue(now); due !== undefined; due = this.#drains.takeDue(now)) {
      const { channel } = due;
      channel?.abort();
      if (channel !== undefined) this.gone(due, channel, "did not say goodbye in time", now);
    }
  }

  #heardGoodbye(link: Link, channel: NativeConnection, reason: string, received: number, now: number): void {
    if (!link.outflow.acknowledge(received)) {
      this.#refuse(link, channel, `a goodbye that acknowledges ${received} cannot be`, now);
      return;
    }
    link.hasHeardGoodbye = true;
    link.endReason ??= reason;
    if (link.hasSaidGoodbye) {
      this.#acknowledge(link);
      channel.finish(now);
      return;
    }
    link.step("left");
    this.#watch.leaving(link, now);
    this.sayGoodbye(link, reason, now);
  }

  #pump(link: Link, now: number): void {
    const { channel } = link;
    if (channel === undefined || !link.isCarried) return;
    if (link.wantsMeasure) channel.measure(now);
    link.wantsMeasure = false;
    const before = link.handedBytes;
    // A frame that has been begun goes out to its end: until then nothing else can be said on the connection.
    while (link.handedBytes < this.#limits.handedBytes || link.outflow.isWithinFrame) {
      const piece = link.outflow.hand();
      if (piece === undefined) break;
      if (piece === "changed") {
        this.#spoiled(link, channel, now);
        return;
      }
      link.handedBytes += piece.length;
      channel.sendFrame(piece);
    }
    if (link.handedBytes > before) link.handler.moved();
    if (!link.isLeaving || link.hasSaidGoodbye) return;
    if (link.outflow.waitingBytes === 0 && link.handler.isDone) this.#goodbye(link, channel, now);
  }

  #goodbye(link: Link, channel: NativeConnection, now: number): void {
    link.hasSaidGoodbye = true;
    this.#clearOwed(link);
    channel.send({ type: "goodbye", reason: link.endReason ?? "", received: link.replay.received });
    if (link.hasHeardGoodbye) channel.finish(now);
  }

  /** A payload that was lent to the link is gone: its frame can never go out, and so nothing behind it. */
  #spoiled(link: Link, channel: NativeConnection, now: number): void {
    const message = "a payload that was under way has been transferred or resized by this program";
    this.#note("PAYLOAD_CHANGED", message, link.peer.address);
    this.#refuse(link, channel, "a frame cannot go out any more", now, `PAYLOAD_CHANGED ${message}`);
  }

  /** What the peer says cannot be. To go on would be to lose it in silence, so the link ends, at both ends. */
  #refuse(
    link: Link,
    channel: NativeConnection,
    message: string,
    now: number,
    reason = `SESSION_LOST ${message}`,
  ): void {
    channel.refuse("SESSION_LOST", message, now);
    this.#watch.lost(link, reason, now);
  }

  /** The handler has been given so many bytes of a frame, and has found a fault with them or not. */
  #taken(
    link: Link,
    channel: NativeConnection,
    bytes: number,
    rest: number,
    fault: string | typeof notNow | undefined,
    now: number,
  ): void {
    if (fault === notNow) {
      this.#putOff(link, channel, now);
      return;
    }
    if (fault !== undefined) {
      this.#refuse(link, channel, fault, now);
      return;
    }
    if (rest === 0) link.replay.advance();
    this.#owe(link, bytes, now);
    // What the goodbye waits for may have been given up by the peer: then nothing goes out, but the goodbye.
    if (link.isLeaving && !link.hasSaidGoodbye) this.wake(link);
  }

  /**
   * What comes cannot be held now. Only the connection ends: the peer keeps what is not acknowledged, and sends it again on
   * the next one. Pauses grow while connections take nothing of it.
   */
  #putOff(link: Link, channel: NativeConnection, now: number): void {
    const message = "this node holds as much for its peers as it may, until its program takes some of it";
    this.#note("OVERLOADED", message, link.peer.address);
    link.wasInVain = link.replay.received === link.receivedBefore;
    this.#acknowledge(link);
    channel.refuse("OVERLOADED", message, now);
    this.gone(link, channel, message, now);
  }

  /** Something has been taken: that is acknowledged after some bytes or some time, whichever is first. */
  #owe(link: Link, bytes: number, now: number): void {
    if (link.owedBytes === 0) this.#acknowledgements.set(link, now + this.#limits.acknowledgeMs);
    link.owedBytes += bytes;
    if (link.owedBytes >= this.#limits.acknowledgeBytes) this.#acknowledge(link);
  }

  #acknowledge(link: Link): void {
    this.#clearOwed(link);
    link.channel?.sendFrame(encodeAcknowledgement(link.replay.received));
  }

  #clearOwed(link: Link): void {
    link.owedBytes = 0;
    this.#acknowledgements.clear(link);
  }
}

/** The owner of a connection that carries a link: it knows which link that is. */
class CarriedLink implements NativeConnectionOwner {
  readonly #transport: LinkTransport;
  readonly #link: Link;

  constructor(transport: LinkTransport, link: Link) {
    this.#transport = transport;
    this.#link = link;
  }

  control(channel: NativeConnection, control: Control, now: number): void {
    this.#transport.control(this.#link, channel, control, now);
  }

  numbered(
    channel: NativeConnection,
    kind: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
    now: number,
  ): void {
    this.#transport.numbered(this.#link, channel, kind, bytes, from, to, rest, now);
  }

  more(channel: NativeConnection, bytes: Uint8Array, from: number, to: number, rest: number, now: number): void {
    this.#transport.more(this.#link, channel, bytes, from, to, rest, now);
  }

  acknowledged(channel: NativeConnection, number: number, now: number): void {
    this.#transport.acknowledged(this.#link, channel, number, now);
  }

  gone(channel: NativeConnection, reason: string, now: number): void {
    this.#transport.gone(this.#link, channel, reason, now);
  }

  flushed(): void {
    this.#transport.flushed(this.#link);
  }
}
