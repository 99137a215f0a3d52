import { badOption } from "../api/options.js";
import type { ConnectionId } from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { ClassicLink } from "../mesh/classic/links.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import type { MemberInput } from "../mesh/types.js";
import type { Address } from "../protocol/address.js";
import { isReferenced } from "../protocol/native/payload.js";
import type { SkippedPeer } from "./messages.js";
import type { PeerName, Peers } from "./peers.js";

/** What gets bytes to the machine, and knows how many have not left this process. */
interface WriteContext {
  input(input: MemberInput, done?: () => void): void;
  queuedBytes(connection: ConnectionId): number;
}

/**
 * Writing to classic peers within bounds: one that does not take what is written costs its own queue, up to a limit, and
 * nobody else's. What waits for a peer is what has not left this process.
 */
export class ClassicWriter {
  readonly #machine: MemberMachine<unknown>;
  readonly #peers: Peers;
  readonly #driver: WriteContext;
  readonly #limits: Limits;
  /** Peers whose writer has been told to wait. */
  readonly #slow = new Set<Address>();
  /** Bytes that the driver has, and the machine has not: written from within an event. */
  readonly #entering = new Map<Address, number>();
  #hasEnded = false;

  constructor(machine: MemberMachine<unknown>, peers: Peers, driver: WriteContext, limits: Limits) {
    this.#machine = machine;
    this.#peers = peers;
    this.#driver = driver;
    this.#limits = limits;
  }

  /** See `MeshNode.write`. */
  write(to: PeerName, bytes: Uint8Array): boolean {
    if (this.#hasEnded) throw new FullmeshError("ENDED", "this node has ended: nothing can be written any more");
    const peer = this.#peers.addressOf(to);
    const link = this.#machine.classicLink(peer);
    if (link !== undefined) return this.#write(link, bytes);
    if (this.#machine.nativeLink(peer) === undefined) this.#peers.refuseUnlinked(peer, "write bytes to");
    throw new FullmeshError("NATIVE_PEER", `cannot write bytes to ${peer}: it is a native member`);
  }

  /** See `MeshNode.writeAll`. */
  writeAll(bytes: Uint8Array): SkippedPeer[] {
    if (this.#hasEnded) return [];
    const links = [...this.#machine.classicLinks];
    const full = links.filter((link) => this.#waiting(link) + bytes.length > this.#limits.queueHardBytes);
    for (const link of links) if (!full.includes(link)) this.#write(link, bytes);
    return full.flatMap((link) => {
      const peer = this.#peers.at(link.peer);
      return peer === undefined ? [] : [{ peer, code: "QUEUE_FULL" }];
    });
  }

  /** The peer has taken all. Returns whether somebody waits to hear of it. */
  drained(peer: Address): boolean {
    return this.#slow.delete(peer);
  }

  /** There is no link with the peer any more. */
  forget(peer: Address): void {
    this.#slow.delete(peer);
  }

  /** The mesh has ended for this node. */
  ended(): void {
    this.#hasEnded = true;
  }

  #write(link: ClassicLink, bytes: Uint8Array): boolean {
    if (!(bytes instanceof Uint8Array)) badOption("bytes", "a Uint8Array, such as a Buffer", bytes);
    const { peer } = link;
    const waiting = this.#waiting(link) + bytes.length;
    if (waiting > this.#limits.queueHardBytes) {
      throw new FullmeshError("QUEUE_FULL", `${peer} would have ${waiting} bytes waiting`);
    }
    // Small writes are copied, so that the caller may reuse its buffer; large ones are worth a rule instead.
    const kept = isReferenced(bytes) ? bytes : new Uint8Array(bytes);
    this.#count(peer, kept.length);
    this.#driver.input({ type: "write", peer, bytes: kept }, () => this.#count(peer, -kept.length));
    if (waiting <= this.#limits.queueSoftBytes) return true;
    this.#slow.add(peer);
    return false;
  }

  #waiting(link: ClassicLink): number {
    return link.heldBytes + (this.#entering.get(link.peer) ?? 0) + this.#driver.queuedBytes(link.connection);
  }

  #count(peer: Address, bytes: number): void {
    const sum = (this.#entering.get(peer) ?? 0) + bytes;
    if (sum === 0) this.#entering.delete(peer);
    else this.#entering.set(peer, sum);
  }
}
