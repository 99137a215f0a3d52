import { badOption } from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import { type Address, parseAddress } from "../protocol/address.js";
import type { Id } from "../protocol/directory.js";
import type { Peer } from "./events.js";

/**
 * The address of the peer that a caller names: by a `Peer`, which stands for one incarnation, by an address, or by a name.
 *
 * @throws {FullmeshError} `PEER_GONE` for a `Peer` whose incarnation is not listed any more, `AMBIGUOUS_PEER` for a name of
 *   several members, `UNKNOWN_PEER` for a name of none, `BAD_OPTION` for anything else
 */
export function peerAddress(peer: unknown, machine: MemberMachine<unknown>): Address {
  if (typeof peer === "string") return parseAddress(peer) ?? addressOfName(peer, machine);
  const { address, id, name } = (peer ?? {}) as Partial<Peer>;
  if (typeof address !== "string") {
    return badOption("peer", "an address, a name, or a peer as `peers` has it", peer);
  }
  if (id !== undefined && !isListed(id, machine)) {
    const who = name === undefined ? address : `${name} at ${address}`;
    const isTaken = machine.members.includes(address);
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
export function refuseUnlinked(address: Address, machine: MemberMachine<unknown>, what: string): never {
  if (address === machine.own) {
    throw new FullmeshError("UNKNOWN_PEER", `cannot ${what} ${address}: that is this node itself`);
  }
  if (!machine.members.includes(address)) {
    throw new FullmeshError("UNKNOWN_PEER", `cannot ${what} ${address}: the directory lists no member at this address`);
  }
  throw new FullmeshError("NOT_LINKED", `cannot ${what} ${address}: there is no link with it, or the link is ending`);
}

function addressOfName(name: string, machine: MemberMachine<unknown>): Address {
  const named = machine.entries.filter((entry) => entry.name === name);
  const [first] = named;
  if (first === undefined) {
    throw new FullmeshError("UNKNOWN_PEER", `no member is called ${JSON.stringify(name)}, and it is no address`);
  }
  if (named.length === 1) return first.address;
  const addresses = named.map(({ address }) => address).join(", ");
  throw new FullmeshError("AMBIGUOUS_PEER", `${named.length} members are called ${JSON.stringify(name)}: ${addresses}`);
}

/** In a classic node nobody has an id, and none of its peers. */
function isListed(id: Id, machine: MemberMachine<unknown>): boolean {
  return machine.entries.some((entry) => entry.id === id);
}
