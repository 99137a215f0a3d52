import type { Address } from "../../protocol/address.js";

/** What another address is to this node: who joined earlier dials who joined later. */
export type JoinPosition = "self" | "earlier" | "later" | "unknown";

/**
 * What the lists say: who is in the mesh, and on which side of this node.
 *
 * A list arrives in pieces, and every beginning of a list looks like a list. An unsettled one therefore only adds; what it
 * lacks counts as gone only when it has settled. One thing is known at once: who stood before this node and is not before
 * it in a list that has already reached this node's own address is gone, for lists are in join order.
 */
export class MemberList {
  #own: Address | undefined;
  #newest: readonly Address[] = [];
  #earlier = new Set<Address>();
  #later = new Set<Address>();
  #isListed = false;

  /** This node's address; undefined until it registers. */
  get own(): Address | undefined {
    return this.#own;
  }

  /** This node registers under this address. */
  registeredAs(own: Address): void {
    this.#own = own;
  }

  /** The newest list as far as it has been read, each address once, in join order. The same array while it is the same. */
  get newest(): readonly Address[] {
    return this.#newest;
  }

  /** True while the newest list, or the one before it while that is unsettled, names this node. */
  get isListed(): boolean {
    return this.#isListed;
  }

  /** The addresses that this node is to be linked with and must dial itself. */
  get toDial(): ReadonlySet<Address> {
    return this.#later;
  }

  positionOf(address: Address): JoinPosition {
    if (address === this.#own) return "self";
    if (!this.#isListed) return "unknown";
    if (this.#earlier.has(address)) return "earlier";
    return this.#later.has(address) ? "later" : "unknown";
  }

  /** Takes a list, or the beginning of one. The first mention of an address counts. */
  read(list: readonly Address[], isSettled: boolean): void {
    const members = [...new Set(list)];
    const at = this.#own === undefined ? -1 : members.indexOf(this.#own);
    const before = at < 0 ? members : members.slice(0, at);
    const after = at < 0 ? [] : members.slice(at + 1);
    if (!isSame(members, this.#newest)) this.#newest = members;
    if (isSettled) {
      this.#isListed = at >= 0;
      this.#earlier = new Set(before);
      this.#later = new Set(after);
      return;
    }
    const named = new Set(members);
    const stillLater = [...this.#later].filter((address) => !named.has(address));
    this.#earlier = new Set(at < 0 ? [...this.#earlier, ...before] : before);
    this.#later = new Set([...after, ...stillLater]);
    this.#isListed ||= at >= 0;
  }
}

function isSame(a: readonly Address[], b: readonly Address[]): boolean {
  return a.length === b.length && a.every((address, index) => address === b[index]);
}
