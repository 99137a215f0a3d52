import type { Address } from "../protocol/address.js";
import type { Dialect, Id } from "../protocol/directory.js";

/** The holder of an address. */
export interface AddressHolder {
  readonly mesh: string;
  readonly id: Id;
  readonly dialect: Dialect;
  /**
   * A member with a session, one without, a registration whose append is under way, or one in the waiting line; or somebody
   * who has gone, and whose append or removal the log has not answered; or a member of an earlier log that has not come back. A session that has not proved its address holds none.
   */
  readonly standing: "member" | "absent" | "joining" | "waiting" | "unanswered" | "expected";
}

/**
 * The addresses in use on the whole server. A process listens for one member, so one address in two meshes would be two
 * members behind one listener.
 */
export class AddressRegistry {
  readonly #holders = new Map<Address, AddressHolder>();

  get size(): number {
    return this.#holders.size;
  }

  of(address: Address): AddressHolder | undefined {
    return this.#holders.get(address);
  }

  take(address: Address, holder: AddressHolder): void {
    this.#holders.set(address, holder);
  }

  /** Frees the address, unless another id holds it by now. */
  free(address: Address, id: Id): void {
    if (this.#holders.get(address)?.id === id) this.#holders.delete(address);
  }
}
