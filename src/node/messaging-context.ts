import type { Log } from "../api/log.js";
import { FullmeshError } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import type { MessagingChannel, MessagingChannels } from "../messaging/messaging-channel.js";
import type { Driver } from "../runtime/driver.js";
import type { PeerName, Peers } from "./peers.js";
import { TopicEncoder } from "./topics.js";

/** What messages, requests and streams of a node have in common. */
export class MessagingContext {
  readonly messaging: MessagingChannels;
  readonly peers: Peers;
  readonly limits: Limits;
  readonly topics = new TopicEncoder();
  readonly log: Log;
  readonly #driver: Pick<Driver<never, never>, "wake" | "push" | "now">;
  readonly #machine: MemberMachine<unknown>;
  #end: string | undefined;

  constructor(
    machine: MemberMachine<unknown>,
    driver: Pick<Driver<never, never>, "wake" | "push" | "now">,
    messaging: MessagingChannels,
    peers: Peers,
    limits: Limits,
    log: Log,
  ) {
    this.#machine = machine;
    this.#driver = driver;
    this.messaging = messaging;
    this.peers = peers;
    this.limits = limits;
    this.log = log;
  }

  /** What has been written goes out soon. To be called after everything that writes. */
  readonly wake = (): void => this.#driver.wake();

  /** The same, but at once: for more than fits into one buffer. */
  push(): void {
    this.#driver.push();
  }

  /** The machine's time in milliseconds. */
  now(): number {
    return this.#driver.now();
  }

  /** True once the mesh has ended for this node. */
  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** How many members there are besides this node. */
  get listedPeers(): number {
    return this.#machine.entries.length - 1;
  }

  /** This node, as messages name it. */
  get ownName(): string {
    return this.#machine.self?.name ?? this.#machine.own ?? "this node";
  }

  /** The mesh has ended for this node. */
  ended(reason: string): void {
    this.#end ??= reason;
  }

  /** The error of everything that is no longer possible. */
  endedError(): FullmeshError {
    return new FullmeshError("ENDED", `this node has ended: ${this.#end ?? "it is closed"}`);
  }

  requireRunning(): void {
    if (this.#end !== undefined) throw this.endedError();
  }

  /**
   * The channel with a peer, which is given by its address, by its name or as `peers` has it.
   *
   * @throws {FullmeshError} `UNKNOWN_PEER`, `AMBIGUOUS_PEER`, `PEER_GONE`, `NOT_LINKED`, `CLASSIC_PEER`, `ENDED`, `BAD_OPTION`
   */
  channelWith(peer: PeerName): MessagingChannel {
    // Nothing new is begun after our goodbye: it would be lost without a word.
    this.requireRunning();
    // As most often: by its address, or as the `Peer` that it is now. No search.
    const direct = typeof peer === "string" ? peer : this.peers.isCurrent(peer) ? peer.address : "";
    const known = this.messaging.at(direct);
    if (known?.isOpen === true) return known;
    const address = this.peers.addressOf(peer);
    const channel = this.messaging.at(address);
    if (channel?.isOpen === true) return channel;
    if (this.#machine.classicLink(address) !== undefined) {
      throw new FullmeshError("CLASSIC_PEER", `cannot send messages to ${address}: it is a classic member`);
    }
    return this.peers.refuseUnlinked(address, "send anything to");
  }

  /** The error of a payload that is longer than a frame may be; `most` bytes would fit. */
  tooLarge(bytes: number, most: number): FullmeshError {
    return new FullmeshError("MESSAGE_TOO_LARGE", `the payload has ${bytes} bytes, and may have ${most}`);
  }
}
