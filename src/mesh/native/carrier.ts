import { Deadlines, earliest } from "../../core/deadlines.js";
import type { Limits } from "../../core/limits.js";
import type { Control } from "../../protocol/native/control.js";
import { encodeAcknowledgement, type Message } from "../../protocol/native/message.js";
import type { Channel, ChannelOwner } from "./channel.js";
import type { Link } from "./link.js";

/** What the rest of the member must know of what links carry. */
export interface CarrierWatch {
  delivered(link: Link, topic: string, payload: Uint8Array): void;
  /** The peer has acknowledged all that was sent to it. */
  drained(link: Link): void;
  /** The peer has said goodbye; the link drains. */
  leaving(link: Link, now: number): void;
  /** The connection under the link is gone, and the link has taken its step. */
  broken(link: Link, reason: string, now: number): void;
}

/**
 * What happens on the connections of links that are up: messages and acknowledgements, goodbyes, and the connection's end.
 */
export class Carrier implements ChannelOwner {
  readonly #limits: Limits;
  readonly #watch: CarrierWatch;
  readonly #links = new Map<Channel, Link>();
  /** Bytes that have been delivered and not acknowledged yet. */
  readonly #owed = new Map<Link, number>();
  readonly #acknowledgements = new Deadlines<Link>();
  /** By when a link that drains must have drained. */
  readonly #drains = new Deadlines<Link>();

  constructor(limits: Limits, watch: CarrierWatch) {
    this.#limits = limits;
    this.#watch = watch;
  }

  /** The link has a new connection. What the peer has not acknowledged goes out again, in order. */
  carry(link: Link, channel: Channel, now: number): void {
    this.#links.set(channel, link);
    channel.owner = this;
    channel.watch(now);
    for (const frame of link.replay.frames) channel.sendFrame(frame);
  }

  /** The link's connection is of no more use to it: nothing more is read from it. */
  drop(link: Link): void {
    this.#acknowledgements.clear(link);
    this.#drains.clear(link);
    this.#owed.delete(link);
    const { channel } = link;
    link.channel = undefined;
    if (channel === undefined) return;
    this.#links.delete(channel);
    channel.abort();
  }

  send(link: Link, topic: string, payload: Uint8Array): void {
    const frame = link.replay.add(topic, payload);
    if (link.isCarried) link.channel?.sendFrame(frame);
  }

  /** This node sends no more messages on the link, which ends when the peer says the same. */
  sayGoodbye(link: Link, reason: string, now: number): void {
    if (link.hasSaidGoodbye || link.channel === undefined) return;
    link.hasSaidGoodbye = true;
    link.endReason ??= reason;
    this.#drains.set(link, now + this.#limits.drainMs);
    this.#clearOwed(link);
    link.channel.send({ type: "goodbye", reason, received: link.replay.received });
    if (link.hasHeardGoodbye) link.channel.finish(now);
  }

  /** The log says that the peer has left; its goodbye is on the way, unless its connection is cut. */
  awaitGoodbye(link: Link, now: number): void {
    this.#drains.set(link, now + this.#limits.drainMs);
  }

  control(channel: Channel, control: Control, now: number): void {
    const link = this.#links.get(channel);
    if (link === undefined) return;
    if (control.type === "goodbye") {
      this.#heardGoodbye(link, control.reason, control.received, now);
    } else if (control.type === "refuse") {
      channel.close(now);
      this.gone(channel, `${control.code} ${control.message}`, now);
    } else channel.unexpected(control.type, now);
  }

  message(channel: Channel, { number, topic, payload }: Message, now: number): void {
    const link = this.#links.get(channel);
    const verdict = link?.replay.take(number);
    if (link === undefined || verdict === "repeated") return;
    if (verdict === "gap") {
      this.#refuse(channel, `message ${number} came after ${link.replay.received}`, now);
      return;
    }
    this.#owe(link, topic.length + payload.length, now);
    this.#watch.delivered(link, topic, payload);
  }

  acknowledged(channel: Channel, number: number, now: number): void {
    const link = this.#links.get(channel);
    if (link === undefined) return;
    const before = link.replay.unacknowledged;
    if (!link.replay.acknowledge(number)) this.#refuse(channel, `an acknowledgement of ${number} cannot be`, now);
    else if (before > 0 && link.replay.unacknowledged === 0) this.#watch.drained(link);
  }

  gone(channel: Channel, reason: string, now: number): void {
    const link = this.#links.get(channel);
    if (link === undefined) return;
    this.drop(link);
    link.step("broken");
    this.#watch.broken(link, channel.failure === undefined ? reason : `${channel.failure}: ${reason}`, now);
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
      if (channel !== undefined) this.gone(channel, "did not say goodbye in time", now);
    }
  }

  #heardGoodbye(link: Link, reason: string, received: number, now: number): void {
    link.replay.acknowledge(received);
    link.hasHeardGoodbye = true;
    link.endReason ??= reason;
    if (link.hasSaidGoodbye) {
      this.#acknowledge(link);
      link.channel?.finish(now);
      return;
    }
    link.step("left");
    this.#watch.leaving(link, now);
    this.sayGoodbye(link, reason, now);
  }

  /** What the peer says cannot be; the owner starts over with its next attempt. */
  #refuse(channel: Channel, message: string, now: number): void {
    channel.refuse("SESSION_LOST", message, now);
    this.gone(channel, `SESSION_LOST ${message}`, now);
  }

  /** A message has been delivered: that is acknowledged after some bytes or some time, whichever is first. */
  #owe(link: Link, bytes: number, now: number): void {
    const before = this.#owed.get(link);
    const owed = (before ?? 0) + bytes;
    if (before === undefined) this.#acknowledgements.set(link, now + this.#limits.acknowledgeMs);
    this.#owed.set(link, owed);
    if (owed >= this.#limits.acknowledgeBytes) this.#acknowledge(link);
  }

  #acknowledge(link: Link): void {
    this.#clearOwed(link);
    link.channel?.sendFrame(encodeAcknowledgement(link.replay.received));
  }

  #clearOwed(link: Link): void {
    this.#owed.delete(link);
    this.#acknowledgements.clear(link);
  }
}
