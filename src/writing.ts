import { FullmeshError } from "./core/errors.js";
import type { Limits } from "./core/limits.js";
import type { Link } from "./mesh/links.js";
import type { MemberInput, MemberOutput } from "./mesh/vocabulary.js";
import { badOption } from "./options.js";
import type { Address } from "./protocol/address.js";
import type { Driver } from "./runtime/driver.js";

/** Small writes are copied, so that the caller may reuse its buffer; large ones are worth a rule instead. */
const copyBelowBytes = 4_096;

/**
 * Writing on links within bounds: a peer that does not read costs its own queue, up to a limit, and nobody else's.
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
  hasRoom(link: Link, bytes: number): boolean {
    return this.#waiting(link) + bytes <= this.#limits.queueHardBytes;
  }

  /** Writes, and returns false above the soft limit. Throws `QUEUE_FULL` above the hard one, and takes nothing. */
  write(link: Link, bytes: Uint8Array): boolean {
    if (!(bytes instanceof Uint8Array)) badOption("bytes", "a Uint8Array, such as a Buffer", bytes);
    const waiting = this.#waiting(link) + bytes.length;
    if (waiting > this.#limits.queueHardBytes) {
      throw new FullmeshError("QUEUE_FULL", `${link.peer} would have ${waiting} bytes waiting`);
    }
    const kept = bytes.length < copyBelowBytes ? new Uint8Array(bytes) : bytes;
    this.#enter(link.peer, kept.length);
    this.#driver.input({ type: "write", peer: link.peer, bytes: kept }, () => this.#enter(link.peer, -kept.length));
    if (waiting <= this.#limits.queueSoftBytes) return true;
    this.#slow.add(link.peer);
    return false;
  }

  /** The peer has taken all. Returns whether somebody waits to hear of it. */
  drained(peer: Address): boolean {
    return this.#slow.delete(peer);
  }

  /** There is no link with the peer any more. */
  forget(peer: Address): void {
    this.#slow.delete(peer);
  }

  #waiting(link: Link): number {
    return link.heldBytes + (this.#entering.get(link.peer) ?? 0) + this.#driver.queuedBytes(link.connection);
  }

  #enter(peer: Address, bytes: number): void {
    const sum = (this.#entering.get(peer) ?? 0) + bytes;
    if (sum === 0) this.#entering.delete(peer);
    else this.#entering.set(peer, sum);
  }
}
