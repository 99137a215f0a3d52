import { FullmeshError } from "./core/errors.js";
import type { Limits } from "./core/limits.js";
import type { Link as ClassicLink } from "./mesh/classic/links.js";
import type { Link as NativeLink } from "./mesh/native/link.js";
import type { MemberInput, MemberOutput } from "./mesh/vocabulary.js";
import { badOption } from "./options.js";
import type { Address } from "./protocol/address.js";
import { isTopic, longestTopic } from "./protocol/native/message.js";
import type { Driver } from "./runtime/driver.js";

/** Small writes are copied, so that the caller may reuse its buffer; large ones are worth a rule instead. */
const copyBelowBytes = 4_096;

/**
 * Writing on links within bounds: a peer that does not take what is sent costs its own queue, up to a limit, and nobody
 * else's. What waits for a classic peer is what has not left this process; for a native one, what it has not acknowledged.
 */
export class Writing {
  readonly #driver: Driver<MemberInput, MemberOutput>;
  readonly #limits: Limits;
  /** Peers whose writer has been told to wait. */
  readonly #slow = new Set<Address>();
  /** Bytes that the driver has, and the machine has not: written from within an event. */
  readonly #entering = new Map<Address, number>();

  constructor(driver: Driver<MemberInput, MemberOutput>, limits: Limits) {
    this.#driver = driver;
    this.#limits = limits;
  }

  /** False if so many bytes more would exceed the hard limit. */
  hasRoom(link: ClassicLink | NativeLink, bytes: number): boolean {
    return this.#waiting(link) + bytes <= this.#limits.queueHardBytes;
  }

  /** Writes bytes to a classic peer. Returns false above the soft limit. Throws `QUEUE_FULL` above the hard one. */
  write(link: ClassicLink, bytes: Uint8Array): boolean {
    if (!(bytes instanceof Uint8Array)) badOption("bytes", "a Uint8Array, such as a Buffer", bytes);
    const kept = bytes.length < copyBelowBytes ? new Uint8Array(bytes) : bytes;
    return this.#enter(link, link.peer, { type: "write", peer: link.peer, bytes: kept }, kept.length);
  }

  /** Sends a message to a native peer, within the same limits; the payload has been copied when this returns. */
  send(link: NativeLink, topic: string, payload: Uint8Array): boolean {
    const bytes = topic.length + payload.length;
    // A message sent from within an event is encoded after its sender has gone on.
    const kept = new Uint8Array(payload);
    const { address: peer } = link.peer;
    return this.#enter(link, peer, { type: "send", peer, topic, payload: kept }, bytes);
  }

  /** Throws `BAD_OPTION` or `MESSAGE_TOO_LARGE` for what is no message. */
  checkMessage(topic: string, payload: Uint8Array): void {
    if (typeof topic !== "string") badOption("topic", "a string", topic);
    if (!(payload instanceof Uint8Array)) badOption("payload", "a Uint8Array, such as a Buffer", payload);
    if (!isTopic(topic)) badOption("topic", `a string of at most ${longestTopic} bytes of UTF-8`, topic);
    const most = this.#limits.messageBytes - Buffer.byteLength(topic) - messageHeadBytes;
    if (payload.length <= most) return;
    throw new FullmeshError("MESSAGE_TOO_LARGE", `the payload has ${payload.length} bytes, and may have ${most}`);
  }

  /** The peer has taken all. Returns whether somebody waits to hear of it. */
  drained(peer: Address): boolean {
    return this.#slow.delete(peer);
  }

  /** There is no link with the peer any more. */
  forget(peer: Address): void {
    this.#slow.delete(peer);
  }

  #enter(link: ClassicLink | NativeLink, peer: Address, input: MemberInput, bytes: number): boolean {
    const waiting = this.#waiting(link) + bytes;
    if (waiting > this.#limits.queueHardBytes) {
      throw new FullmeshError("QUEUE_FULL", `${peer} would have ${waiting} bytes waiting`);
    }
    this.#count(peer, bytes);
    this.#driver.input(input, () => this.#count(peer, -bytes));
    if (waiting <= this.#limits.queueSoftBytes) return true;
    this.#slow.add(peer);
    return false;
  }

  #waiting(link: ClassicLink | NativeLink): number {
    if ("replay" in link) return link.replay.unacknowledgedBytes + (this.#entering.get(link.peer.address) ?? 0);
    return link.heldBytes + (this.#entering.get(link.peer) ?? 0) + this.#driver.queuedBytes(link.connection);
  }

  #count(peer: Address, bytes: number): void {
    const sum = (this.#entering.get(peer) ?? 0) + bytes;
    if (sum === 0) this.#entering.delete(peer);
    else this.#entering.set(peer, sum);
  }
}

/** The number and the length of the topic, in front of topic and payload. */
const messageHeadBytes = 7;
