import { badOption } from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import type { Direction, LinkDescription } from "../mesh/types.js";
import { type Address, parseAddress } from "../protocol/address.js";
import type { Member, Peer } from "./events.js";

/** What a caller may name a peer by. */
export type PeerName = string | Member;

/**
 * The members of the mesh as the application sees them. One comes with every message, so the object of a peer is made once,
 * and anew when the state of its link changes.
 */
export class Peers {
  readonly #machine: MemberMachine<unknown>;
  readonly #kept = new Map<Address, Peer>();

  constructor(machine: MemberMachine<unknown>) {
    this.#machine = machine;
  }

  /** All that the directory lists, this node included, in join order. A classic node knows their addresses only. */
  get members(): Member[] {
    const { entries, members } = this.#machine;
    return entries.length > 0 ? [...entries] : members.map((address) => ({ address, dialect: "classic" }));
  }

  /** All but this node, in join order, and behind them classic peers that are linked though the newest list lacks them. */
  get all(): Peer[] {
    const { own, classicLinks, rank } = this.#machine;
    const listed = this.members;
    const peers = listed.flatMap((member, index) => (member.address === own ? [] : [this.#peer(member, index > rank)]));
    for (const { peer: address, direction } of classicLinks) {
      if (listed.some((member) => member.address === address)) continue;
      peers.push(this.#peer({ address, dialect: "classic" }, direction === "dialed"));
    }
    return peers;
  }

  /** The peer that is listed, or linked, at this address. */
  at(address: Address): Peer | undefined {
    return this.#kept.get(address) ?? this.#find(address);
  }

  /** The link with a peer has changed: what the peer is from now on. */
  changed(link: LinkDescription, state: Peer["state"]): Peer {
    const { peer: address, dialect, direction, cipher } = link;
    const member = link.member ?? this.#listed(address) ?? { address, dialect };
    return this.#keep({ ...member, direction, state, ...(cipher === undefined ? {} : { cipher }) });
  }

  /** The link with a peer has ended: what the peer was. */
  ended(link: LinkDescription): Peer {
    const next = this.#kept.get(link.peer);
    const peer = this.changed(link, "broken");
    // The next incarnation at the address may have its link already.
    if (next !== undefined && next.id !== peer.id) this.#keep(next);
    else if (this.#listed(link.peer)?.id !== peer.id) this.#kept.delete(link.peer);
    return peer;
  }

  /** The directory has changed: forgets those that are neither listed nor linked. */
  prune(): void {
    // This happens with every entry, and nearly all have a link.
    let listed: ReadonlySet<Address> | undefined;
    for (const address of this.#kept.keys()) {
      if (this.#machine.nativeLink(address) !== undefined || this.#machine.classicLink(address) !== undefined) continue;
      listed ??= new Set(this.#machine.members);
      if (!listed.has(address)) this.#kept.delete(address);
    }
  }

  /** True if this object is what `peers` has at its address. */
  isCurrent(peer: Member | null | undefined): boolean {
    return peer?.id !== undefined && this.at(peer.address)?.id === peer.id;
  }

  /**
   * The address of the peer that a caller names: by a `Peer`, which stands for one incarnation, by an address, or by a name.
   *
   * @throws {FullmeshError} `PEER_GONE` for a `Peer` whose incarnation is not listed any more, `AMBIGUOUS_PEER` for a name
   *   of several members, `UNKNOWN_PEER` for a name of none, `BAD_OPTION` for anything else
   */
  addressOf(peer: unknown): Address {
    if (typeof peer === "string") return parseAddress(peer) ?? this.#addressOfName(peer);
    const { address, id, name } = (peer ?? {}) as Partial<Peer>;
    if (typeof address !== "string") {
      return badOption("peer", "an address, a name, or a peer as `peers` has it", peer);
    }
    if (id !== undefined && !this.#machine.entries.some((entry) => entry.id === id)) {
      const who = name === undefined ? address : `${name} at ${address}`;
      const isTaken = this.#machine.members.includes(address);
      const now = isTaken ? "; another incarnation is at this address now" : "";
      throw new FullmeshError("PEER_GONE", `${who} has left the mesh, or was lost${now}`);
    }
    return address;
  }

  /**
   * Why nothing can be sent to a peer with which there is no link that is open.
   *
   * @throws {FullmeshError} `NOT_LINKED` for one that is listed, `UNKNOWN_PEER` for this node and for one that is not
   */
  refuseUnlinked(address: Address, what: string): never {
    if (address === this.#machine.own) {
      throw new FullmeshError("UNKNOWN_PEER", `cannot ${what} ${address}: that is this node itself`);
    }
    if (!this.#machine.members.includes(address)) {
      const unlisted = `cannot ${what} ${address}: the directory lists no member at this address`;
      throw new FullmeshError("UNKNOWN_PEER", unlisted);
    }
    throw new FullmeshError("NOT_LINKED", `cannot ${what} ${address}: there is no link with it, or the link is ending`);
  }

  #addressOfName(name: string): Address {
    const named = this.#machine.entries.filter((entry) => entry.name === name);
    const [first] = named;
    if (first === undefined) {
      throw new FullmeshError("UNKNOWN_PEER", `no member is called ${JSON.stringify(name)}, and it is no address`);
    }
    if (named.length === 1) return first.address;
    const addresses = named.map(({ address }) => address).join(", ");
    throw new FullmeshError(
      "AMBIGUOUS_PEER",
      `${named.length} members are called ${JSON.stringify(name)}: ${addresses}`,
    );
  }

  #listed(address: Address): Member | undefined {
    return this.#machine.entries.find((entry) => entry.address === address);
  }

  #find(address: Address): Peer | undefined {
    const index = this.#machine.members.indexOf(address);
    const linked = this.#machine.nativeLink(address)?.peer;
    const classic = this.#machine.classicLink(address) === undefined ? undefined : "classic";
    const member = linked ?? this.#listed(address);
    if (member !== undefined) return this.#peer(member, index > this.#machine.rank);
    const isKnown = classic !== undefined || index >= 0;
    return isKnown ? this.#peer({ address, dialect: "classic" }, index > this.#machine.rank) : undefined;
  }

  /** A peer as it is now. `isLater`: it has joined after this node, which dials it. */
  #peer(member: Member, isLater: boolean): Peer {
    const kept = this.#kept.get(member.address);
    const link = this.#linkWith(member, kept);
    if (kept?.id === member.id && kept?.state === link.state && kept.cipher === link.cipher) return kept;
    const direction: Direction = isLater ? "dialed" : "accepted";
    return this.#keep({ ...member, direction, ...link });
  }

  #linkWith(
    { address, id, dialect }: Member,
    kept: Peer | undefined,
  ): Partial<Peer> & { readonly state: Peer["state"] } {
    if (dialect === "classic") {
      const direction = this.#machine.classicLink(address)?.direction;
      if (direction !== undefined) return { state: "up", direction };
      return { state: kept === undefined || kept.state === "waiting" ? "waiting" : "broken" };
    }
    const link = this.#machine.nativeLink(address);
    if (link === undefined || link.peer.id !== id) return { state: "broken" };
    const { direction, reachability: state } = link;
    const cipher = link.connection?.cipher;
    return { state, direction, ...(cipher === undefined ? {} : { cipher }) };
  }

  #keep(peer: Peer): Peer {
    this.#kept.set(peer.address, peer);
    return peer;
  }
}
