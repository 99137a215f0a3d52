import type { Link as ClassicLink } from "./mesh/classic/links.js";
import type { Member } from "./mesh/member.js";
import type { Link as NativeLink } from "./mesh/native/link.js";
import type { Peer } from "./node-events.js";
import { badOption } from "./options.js";
import type { Address } from "./protocol/address.js";

/** The peer at the other end of a native link, as people are shown it. */
export function nativePeer({ peer, direction, state, channel }: NativeLink): Peer {
  const { address, id, order, name, meta } = peer;
  return {
    address,
    dialect: "native",
    direction,
    state: state === "up" ? "up" : "broken",
    id,
    order,
    ...(name === undefined ? {} : { name }),
    ...(meta === undefined ? {} : { meta }),
    ...(channel?.cipher === undefined ? {} : { cipher: channel.cipher }),
  };
}

function classicPeer({ peer, direction }: ClassicLink, machine: Member): Peer {
  const entry = machine.entries.find(({ address }) => address === peer);
  const known = entry === undefined ? {} : { id: entry.id, order: entry.order };
  return { address: peer, dialect: "classic", direction, state: "up", ...known };
}

/** The peers with which there is a link, in join order where that is known. */
export function peersOf(machine: Member): Peer[] {
  const classic = Array.from(machine.classicLinks, (link) => classicPeer(link, machine));
  return [...machine.nativeLinks.map(nativePeer), ...classic].sort((a, b) => (a.order ?? 0) - (b.order ?? 0));
}

/** One of them; undefined if there is no such link. */
export function peerAt(machine: Member, address: Address): Peer | undefined {
  const native = machine.nativeLink(address);
  if (native !== undefined) return nativePeer(native);
  const classic = machine.classicLink(address);
  return classic === undefined ? undefined : classicPeer(classic, machine);
}

/** The address of a peer that is given by it, or as `peers` has it. */
export function addressOf(peer: string | Peer): Address {
  const address: unknown = typeof peer === "string" ? peer : (peer as Peer | undefined)?.address;
  if (typeof address === "string") return address as Address;
  return badOption("peer", "an address, or a peer as `peers` has it", peer);
}
