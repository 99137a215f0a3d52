import type { ClassicLink } from "../mesh/classic/links.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import type { Link as NativeLink } from "../mesh/native/link.js";
import type { Address } from "../protocol/address.js";
import type { Peer } from "./events.js";

/**
 * The peers of a node, as people are shown them. One of them comes with every message, so each is made once, and anew when
 * the state of its link changes.
 */
export class PeerObjects {
  readonly #machine: MemberMachine<unknown>;
  readonly #kept = new Map<Address, Peer>();

  constructor(machine: MemberMachine<unknown>) {
    this.#machine = machine;
  }

  /** Those with which there is a link, in join order where that is known. */
  get all(): Peer[] {
    const native = this.#machine.nativeLinks.map((link) => this.#native(link));
    const classic = Array.from(this.#machine.classicLinks, (link) => this.#classic(link));
    return [...native, ...classic].sort((a, b) => (a.order ?? 0) - (b.order ?? 0));
  }

  /** One of them, as it was last told; undefined if there is no such link. */
  at(address: Address): Peer | undefined {
    return this.#kept.get(address) ?? this.#make(address);
  }

  /** Something has happened to the link with this peer. */
  forget(address: Address): void {
    this.#kept.delete(address);
  }

  #make(address: Address): Peer | undefined {
    const native = this.#machine.nativeLink(address);
    if (native?.hasBeenUp === true) return this.#native(native);
    const classic = this.#machine.classicLink(address);
    return classic === undefined ? undefined : this.#classic(classic);
  }

  #native(link: NativeLink): Peer {
    const { address, id } = link.peer;
    const kept = this.#kept.get(address);
    const isSame = kept?.id === id && kept.state === stateOf(link) && kept.cipher === link.channel?.cipher;
    return kept !== undefined && isSame ? kept : this.#keep(nativePeer(link));
  }

  #classic({ peer, direction }: ClassicLink): Peer {
    const kept = this.#kept.get(peer);
    if (kept?.dialect === "classic") return kept;
    const entry = this.#machine.entries.find(({ address }) => address === peer);
    const known = entry === undefined ? {} : { id: entry.id, order: entry.order };
    const made: Peer = { address: peer, dialect: "classic", direction, state: "up", ...known };
    // A link may be up before the directory names its peer; what is known then is not all.
    return entry === undefined ? made : this.#keep(made);
  }

  #keep(peer: Peer): Peer {
    this.#kept.set(peer.address, peer);
    return peer;
  }
}

function nativePeer(link: NativeLink): Peer {
  const { address, id, order, name, meta } = link.peer;
  const cipher = link.channel?.cipher;
  return {
    address,
    dialect: "native",
    direction: link.direction,
    state: stateOf(link),
    id,
    order,
    ...(name === undefined ? {} : { name }),
    ...(meta === undefined ? {} : { meta }),
    ...(cipher === undefined ? {} : { cipher }),
  };
}

function stateOf(link: NativeLink): Peer["state"] {
  return link.state === "up" ? "up" : "broken";
}
